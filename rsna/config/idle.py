"""Keys that were set and that others make nothing of: they are allowed, as groups leave them behind, and said."""

from collections.abc import Iterator

from rsna.config.schema import Config
from rsna.config.settings import flatten, to_mapping


def idle_keys(config: Config) -> list[str]:
    """A line on keys that differ from their defaults and have no effect beside the others, and why."""
    given, default = flatten(to_mapping(config)), flatten(to_mapping(Config()))
    lines = []
    for keys, idle, why in _cases(config):
        if idle and (named := [key for key in keys.split() if given[key] != default[key]]):
            lines.append(f"{', '.join(named)}: without effect, {why}")
    return lines


def _cases(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Keys, whether others make nothing of them, and why."""
    breast, kind, augment = config.unit == "breast", config.fusion.kind, config.augment
    yield (
        "fusion.max_images fusion.width fusion.heads fusion.layers", not breast,
        "as unit=image predicts each image by itself; add unit=breast",
    )  # fmt: skip
    learnt = kind in ("attention", "transformer")
    yield "fusion.width", breast and not learnt, f"as fusion.kind={kind} learns nothing"
    yield "fusion.heads fusion.layers", breast and kind != "transformer", "but for fusion.kind=transformer"
    yield "evaluation.aggregate", breast, "as unit=breast predicts whole breasts"
    yield "unknown_rate", not config.input_names, "as the network is told nothing beside pixels; name table_inputs"
    larger = config.batch_size_per_device > config.global_batch_size
    yield "batch_size_per_device", larger, f"as a step has {config.global_batch_size} examples (global_batch_size)"

    yield "sampler.positives", config.sampler.kind != "balanced", "but for sampler.kind=balanced"
    yield "sampler.repeats", config.sampler.kind != "repeated", "but for sampler.kind=repeated"
    affine = "augment.shift augment.scale augment.rotate augment.shear"
    yield affine, not augment.affine, "as their probability is 0 (augment.affine)"
    grey = "augment.brightness augment.contrast"
    yield grey, not augment.brightness_contrast, "as their probability is 0 (augment.brightness_contrast)"
    yield "augment.noise_std", not augment.noise, "as the probability of noise is 0 (augment.noise)"
    yield "augment.cutout_size", not augment.cutout, "as the probability of rectangles is 0 (augment.cutout)"
    yield "augment.crop_area augment.crop_aspect", not augment.crop, "as no crop is drawn; set augment.crop"

    yield "loss.auxiliary_weight", len(config.targets) == 1, f"as {config.targets[0]} is the only target"
    several = {"BIRADS", "density", *(["view"] if breast else [])}
    yield "loss.soft_positive", several.issuperset(config.targets), "as no target has two classes"
    optim = config.optim
    yield "optim.base_batch_size", optim.scale_lr == "none", "as optim.scale_lr=none takes optim.lr as it stands"
    yield "optim.warmup_start", not optim.warmup_epochs, "as there is no warm-up (optim.warmup_epochs)"
    endless = optim.warmup_epochs >= config.trainer.epochs
    yield "optim.final", endless, f"as the warm-up takes all of {config.trainer.epochs} epochs (optim.warmup_epochs)"

    folds = config.folds
    found = folds.file or (folds.by if folds.by != "chance" else "")
    yield "folds.n_folds folds.seed", bool(found), f"as folds come from {found}"
    yield "folds.smallest", folds.by == "chance", "as no column makes the folds (folds.by)"
    yield "data.films data.scale", not config.data.demo, "as they make the embedded sample; add data.demo=true"
    yield "preprocess.margin", config.preprocess.crop != "breast", "but for preprocess.crop=breast"
    filled = "prepare.workers prepare.file_timeout cache_dir"
    yield filled, bool(config.pack), f"as prepared images are read from {config.pack}"
