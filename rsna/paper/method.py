"""How it was made, in sentences from the configuration."""

from pathlib import Path

from rsna.config.model import FusionSettings
from rsna.config.schema import Config
from rsna.paper.blocks import Section, Words
from rsna.paper.subject import Subject
from rsna.runs.run import Run


def method(subject: Subject) -> Section:
    """Preprocessing, network, training, prediction and statistics of every member."""
    told = [
        [
            _preprocessing(run.config),
            _network(run),
            _training(run, folds),
            _selection(run),
            _software(run),
            _prediction(run.config),
        ]
        for run, folds in zip(subject.runs, subject.folds, strict=True)
    ]
    blocks = [Words(part) for part in told[0]]
    if len(told) > 1:
        blocks[0] = Words(f"Member {subject.names[0]}. {told[0][0]}")
    for name, parts in zip(subject.names[1:], told[1:], strict=True):
        other = [part for part, first in zip(parts, told[0], strict=True) if part != first]
        blocks.append(Words(" ".join([f"Member {name}, where it is unlike {subject.names[0]}.", *other])))
    blocks += [Words(_out_of_fold(subject)), Words(_statistics(subject))]
    return Section(
        "Method",
        tuple(blocks),
        "method",
        claim=(9, 22, 23, 24, 25, 26, 27, 28, 29),
        stard=("10a", "12a", "14"),
    )


def started_from(run: Run) -> str:
    """The name alone: where a file lay is nobody's business."""
    model = run.config.model
    return Path(model.weights).name or ("ImageNet" if model.pretrained else "random numbers")


def _preprocessing(config: Config) -> str:
    settings = config.preprocess
    crop = {
        "breast": f"cropped to the breast with {_percent(settings.margin)} of its longer side as margin, all else "
                  "blackened",
        "boxes": "cropped to given boxes",
        "none": "not cropped",
    }[settings.crop]  # fmt: skip
    window = "to its full stored range" if settings.window is None else f"by window {settings.window} of its header"
    if settings.value_range != "auto":
        window += ", or where it has none from {} to {}".format(*settings.value_range)
    turned = "kept as it lies" if settings.orientation == "keep" else (
        f"mirrored where needed so that the nipple points {settings.orientation}"
    )  # fmt: skip
    rows, columns = settings.size
    return (
        f"Preprocessing: each image is decoded and shown {window}, {crop}, {turned}, and scaled to {rows}×{columns} "
        f"pixels (rows × columns) of {settings.bits} bits."
    )


def _network(run: Run) -> str:
    config, model = run.config, run.config.model
    pooled = {"avg": "average", "max": "maximum", "gem": "generalised-mean"}[model.pooling]
    parts = [
        f"Network: {model.backbone} (timm) with {model.in_chans} input channel{'s' * (model.in_chans > 1)}, started "
        f"from {started_from(run)}; {pooled} pooling over positions, drop-out {model.drop_rate:g}"
        + (f", stochastic depth {model.drop_path_rate:g}" if model.drop_path_rate else "")
        + f", and one linear layer that predicts {_list(run.record.targets)}."
    ]
    if model.norm != "batch":
        over = "has the statistics it starts with" if model.norm == "frozen" else "is over the batches of all GPUs"
        parts.append(f"Batch normalisation {over}.")
    if config.unit == "breast":
        parts.append(
            f"All images of a breast are looked at at once, in training {config.fusion.max_images} at most, and joined "
            f"by {_fusion(config.fusion)}."
        )
    if config.compare:
        parts.append("The exam's other breast is looked at as well, and enters as a difference.")
    if run.record.table_inputs:
        told = _list(tuple(run.record.table_inputs))
        parts.append(
            f"Beside its pixels it is told of each image: {told}; in training each is hidden at a rate of "
            f"{config.unknown_rate:g}."
        )
    if model.resize:
        parts.append(f"Outside of training the short edge of an image is {model.resize} pixels.")
    if model.crop:
        parts.append(f"It sees a centre crop of {model.crop} pixels.")
    return " ".join(parts)


def _fusion(fusion: FusionSettings) -> str:
    """Its kind, and the sizes that the kind has."""
    if fusion.kind == "transformer":
        layers = f"{fusion.layers} layer{'s' * (fusion.layers > 1)} of {fusion.heads} heads"
        return f"{fusion.kind} ({layers}, width {fusion.width})"
    return f"{fusion.kind} (width {fusion.width})" if fusion.kind == "attention" else fusion.kind


def _training(run: Run, folds: tuple[int, ...]) -> str:
    config, optim, loss, trainer = run.config, run.config.optim, run.config.loss, run.config.trainer
    unit = "breasts" if config.unit == "breast" else "images"
    epochs, rate = f"{trainer.epochs} epoch{'s' * (trainer.epochs > 1)}", optim.peak_lr(config.global_batch_size)
    if trainer.patience:
        epochs += f" at most, fewer after {trainer.patience} without a better one"
    parts = [
        f"Training: {len(folds)} of {run.record.n_folds} folds (fold {', '.join(map(str, folds))}), each for {epochs}, "
        f"{config.global_batch_size} {unit} an optimiser step, with AdamW (learning rate {rate:g}, weight decay "
        f"{optim.weight_decay:g}, β {optim.beta1:g} and {optim.beta2:g}), a linear warm-up from "
        f"{optim.warmup_start:g} of the rate over {optim.warmup_epochs:g} epoch{'s' * (optim.warmup_epochs != 1)} and "
        f"a cosine down to {optim.final:g} of it"
        + (f", gradients clipped to a norm of {optim.clip_norm:g}" if optim.clip_norm else "")
        + f"; seed {config.seed}.",
        f"{_sampler(config)} The loss is cross-entropy"
        + (f" with labels smoothed by {loss.label_smoothing:g}" if loss.label_smoothing else "")
        + (f" and {loss.soft_positive:g} in place of 1 for positives" if loss.soft_positive < 1 else "")
        + (f", further targets weighing {loss.auxiliary_weight:g}" if len(run.record.targets) > 1 else "")
        + (f", images of a breast by themselves {loss.image_weight:g}" if loss.image_weight else "")
        + ".",
        f"Random changes to training images: {_augmentation(config)}.",
    ]
    return " ".join(parts)


def _sampler(config: Config) -> str:
    sampler = config.sampler
    said = {
        "plain": "Each example comes once an epoch.",
        "balanced": f"Every batch of a device holds at least {sampler.positives} of a breast with cancer.",
        "repeated": f"Examples of breasts with cancer come {sampler.repeats} times an epoch, others once.",
    }[sampler.kind]
    return said + (f" Batches mix {sampler.spread} evenly." if sampler.spread != "none" else "")


def _augmentation(config: Config) -> str:
    """What is on, with its probability."""
    a, area, aspect = config.augment, config.augment.crop_area, config.augment.crop_aspect
    shares = {
        f"crops of {_percent(area[0])} to {_percent(area[1])} of the image, {aspect[0]:.2f} to {aspect[1]:.2f} times "
        f"as wide as high, at {a.crop} pixels square": float(bool(a.crop)),
        "mirroring left and right": a.horizontal_flip,
        "mirroring top and bottom": a.vertical_flip,
        f"shift by {_percent(a.shift)}, scale by {_percent(a.scale)}, rotation by {a.rotate:g}° and shear by "
        f"{a.shear:g}° at most": a.affine,
        f"brightness by {_percent(a.brightness)} and contrast by {_percent(a.contrast)} at most":
            a.brightness_contrast,
        "gamma": a.gamma,
        f"noise of {_percent(a.noise_std)} at most": a.noise,
        "blur": a.blur,
        f"black rectangles of {_percent(a.cutout_size)} of a side at most": a.cutout,
    }  # fmt: skip
    listed = [f"{name} (probability {share:g})" if share < 1 else name for name, share in shares.items() if share]
    listed += [f"mixup (α {a.mixup:g})"] if a.mixup else []
    return "; ".join(listed) or "none"


def _selection(run: Run) -> str:
    config = run.config
    chosen = "of the last epoch"
    if run.selected:
        chosen = "of the best epoch by pF1 on the fold that is reported, which flatters the metrics below"
    parts = [f"Selection: the weights that count are those {chosen}"]
    soup = min(config.soup, config.trainer.epochs)
    parts += [f"averaged over {soup} epochs"] if soup > 1 else []
    parts += [f"as an exponential moving average (decay {config.trainer.ema:g})"] if config.trainer.ema else []
    return ", ".join(parts) + "."


def _software(run: Run) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in run.record.versions.items()) or "unknown versions"
    commit = f", commit {run.commit}" + (" (+: with changes in no commit)" if run.record.commit.dirty else "")
    on = f" on {run.hardware}" if run.hardware else ""
    return f"Software: {versions}{commit if run.commit else ''}{on}, arithmetic {run.config.trainer.precision}."


def _prediction(config: Config) -> str:
    of = "each breast" if config.unit == "breast" else "each image"
    mirrored = f"{of} and its mirror image" if config.evaluation.flip_tta else of
    joined = "" if config.unit == "breast" else (
        f"; a breast's probability is the {_aggregate(config)} of its images' probabilities"
    )  # fmt: skip
    return f"Prediction: the logits of the folds' networks are averaged over {mirrored}{joined}."


def _out_of_fold(subject: Subject) -> str:
    n, several = subject.metrics.pooled.breasts, len(subject.runs) > 1
    joined = f"Each breast is predicted by every member, and joined by {subject.method}. " if several else ""
    networks = "one network a member" if several else f"one network of {subject.run.record.n_folds}"
    return f"{joined}Out of fold each of the {n:,} breasts is predicted by {networks}."


def _aggregate(config: Config) -> str:
    return {"mean": "mean", "max": "maximum", "top2": "mean of the two highest"}[config.evaluation.aggregate]


def _statistics(subject: Subject) -> str:
    metrics, resamples = subject.metrics, subject.run.config.evaluation.resamples
    chosen = "the threshold chosen on the other folds"
    if metrics.crossfitted:
        chosen = "a threshold chosen on other patients of this fold (cross-fitted)"
    return (
        "Statistics: the unit is the breast. pF1 is the competition's probabilistic F1; nested, each fold's breasts "
        f"are cut at {chosen}, which is the metric to report. Intervals are {metrics.level:.0%} intervals over "
        f"{resamples:,} resamples of patients"
        + (f", those of operating points and subgroups over {subject.resamples:,}" if subject.resamples else "")
        + "; they hold no training noise: another seed gives another model. Thresholds were not fixed beforehand."
    )


def _percent(share: float) -> str:
    """`2%`, `1.8%`."""
    return f"{100 * share:.3g}%"


def _list(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
