"""Keys without effect are said, each with why; what ships has none."""

import pytest

from rsna.config.compose import compose, conf_dir
from rsna.config.idle import idle_keys

EXPERIMENTS = sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSNA_DATA", raising=False)


@pytest.mark.parametrize("arguments", [[], *([f"experiment={name}"] for name in EXPERIMENTS)])
def test_what_ships_sets_nothing_in_vain(arguments):
    assert idle_keys(compose(arguments)) == []


IDLE = [
    ("fusion.max_images=4", "fusion.max_images: without effect, as unit=image predicts each image by itself"),
    ("fusion.heads=2 fusion.layers=3", "fusion.heads, fusion.layers: without effect, as unit=image"),
    ("unit=breast fusion.width=64", "fusion.width: without effect, as fusion.kind=mean learns nothing"),
    ("unit=breast fusion=attention fusion.layers=2", "fusion.layers: without effect, but for fusion.kind=transformer"),
    ("unit=breast evaluation.aggregate=max", "evaluation.aggregate: without effect, as unit=breast"),
    ("unknown_rate=0.5", "unknown_rate: without effect, as the network is told nothing beside pixels"),
    ("global_batch_size=4 batch_size_per_device=32", "batch_size_per_device: without effect, as a step has 4 examples"),
    ("sampler.positives=2", "sampler.positives: without effect, but for sampler.kind=balanced"),
    ("sampler=balanced sampler.repeats=2", "sampler.repeats: without effect, but for sampler.kind=repeated"),
    ("augment=none augment.rotate=90", "augment.rotate: without effect, as their probability is 0 (augment.affine)"),
    ("augment=none augment.contrast=0.5", "augment.contrast: without effect, as their probability is 0"),
    ("augment.noise_std=0.1", "augment.noise_std: without effect, as the probability of noise is 0"),
    ("augment.cutout_size=0.4", "augment.cutout_size: without effect, as the probability of rectangles is 0"),
    ("augment.crop_area=[0.5,1]", "augment.crop_area: without effect, as no crop is drawn; set augment.crop"),
    ("loss.auxiliary_weight=0.3", "loss.auxiliary_weight: without effect, as cancer is the only target"),
    ("targets=[density] loss.soft_positive=0.9", "loss.soft_positive: without effect, as no target has two classes"),
    ("optim.base_batch_size=64", "optim.base_batch_size: without effect, as optim.scale_lr=none"),
    ("optim.warmup_epochs=0 optim.warmup_start=0.5", "optim.warmup_start: without effect, as there is no warm-up"),
    ("optim.warmup_epochs=3 trainer.epochs=2 optim.final=0.5", "optim.final: without effect, as the warm-up takes all"),
    ("folds.by=site_id folds.n_folds=5", "folds.n_folds: without effect, as folds come from site_id"),
    ("folds.file=folds.csv folds.seed=5", "folds.seed: without effect, as folds come from folds.csv"),
    ("folds.smallest=9", "folds.smallest: without effect, as no column makes the folds"),
    ("data.scale=2", "data.scale: without effect, as they make the embedded sample"),
    ("preprocess.crop=none preprocess.margin=0.1", "preprocess.margin: without effect, but for preprocess.crop=breast"),
    ("pack=there prepare.workers=2 cache_dir=c", "prepare.workers, cache_dir: without effect, as prepared images are"),
]


@pytest.mark.parametrize(("arguments", "said"), IDLE, ids=[arguments for arguments, _ in IDLE])
def test_what_others_make_nothing_of_is_said(arguments, said):
    (line,) = idle_keys(compose(["data.root=set", *arguments.split()]))
    assert line.startswith(said)
