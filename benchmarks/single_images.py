"""How arms rank breasts of which they see one image: how many there are tells them nothing then.

    python benchmarks/single_images.py --data FOLDER [--out FOLDER] [--arms c d e] [--seeds 0 1 2] [--json FILE]

Nothing is trained: `--out` is where `benchmarks/accuracy.py --keep` left its runs. Each image is predicted by the
network of its own fold as a breast by itself, as `rsna infer` does; what is predicted is kept there, and the same
command goes on. Scored are breasts of the patients that options are not chosen on: by one of their images (that with
the lowest SHA-1 of its id, the same for every arm and seed), and by the mean over each image by itself. Beside it
stands what the number of images alone says of the label.
"""

import argparse
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from accuracy import SETS
from accuracy_tables import Result, chooses, score
from common import at_least, write_result
from sklearn.metrics import roc_auc_score

from rsna.config.verbs import InferOptions
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.inference.infer import infer
from rsna.runs.run import open_run

TOLD = ("site_id", "patient_id", "image_id", "laterality", "view", "age", "implant", "machine_id", "path")
"""Columns of test.csv."""


def main() -> None:
    """Predicts what is missing, prints the table, and writes the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds the set")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"), help="of benchmarks/accuracy.py")
    parser.add_argument("--set", default="rsna256", choices=SETS)
    parser.add_argument("--arms", nargs="+", default=["c", "d", "e"])
    parser.add_argument("--seeds", nargs="+", type=at_least(0), default=[0, 1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    options = parser.parse_args()
    try:
        images = load_table(options.data / options.set).frame.set_index("image_id", drop=False)
    except TableError as error:
        raise SystemExit(f"--data: {error}") from error
    results = [predict_arm(options, images, arm, seed) for arm in options.arms for seed in options.seeds]
    result = {"set": options.set, "seeds": options.seeds, "number_of_images_auroc": number_of_images(images)}
    print(f"\nnumber of a breast's images alone: AUROC {result['number_of_images_auroc']:.3f}")
    for name, kept in (("one image", [one_image(found) for found in results]), ("mean of images", results)):
        result[name.replace(" ", "_")] = print_scores(name, kept)
    write_result(options.json, result)


def predict_arm(options: argparse.Namespace, images: pd.DataFrame, arm: str, seed: int) -> Result:
    """Every image by itself, by the network that did not learn from its patient.

    Raises:
        SystemExit: The arm's runs are not there.
    """
    folder = options.out / "runs" / options.set / f"{arm}-{seed}"
    if not (folder / "run.json").exists():
        raise SystemExit(f"{folder} is no run: benchmarks/accuracy.py --keep --arms {arm} --seeds {seed} trains it")
    run = open_run(folder)
    parts = []
    for fold in sorted(run.folds["fold"].unique()):
        own = images.loc[run.folds.loc[run.folds["fold"] == fold, "image_id"]]
        out = options.out / "single_images" / options.set / f"{arm}-{seed}-{fold}.csv"
        if not out.exists():
            predict(folder, int(fold), own, out)
        found = pd.read_csv(out, dtype={"prediction_id": str}).set_index("prediction_id")["cancer"]
        columns = own[["image_id", "patient_id", "prediction_id", "cancer"]]
        parts.append(columns.assign(probability=found.loc[own["image_id"]].to_numpy(), fold=fold))
    return Result(options.set, arm, seed, pd.concat(parts, ignore_index=True), "mean", set(), "", 0.0)


def predict(run: Path, fold: int, images: pd.DataFrame, out: Path) -> None:
    """Writes the probability of each image as a breast by itself; a breast's name is the image's."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        table = images[[column for column in TOLD if column in images]].assign(prediction_id=images["image_id"])
        table.to_csv(Path(folder, "test.csv"), index=False)
        done = Path(folder, "done.csv")
        infer(InferOptions(run=(str(run),), folds=(fold,), input=folder, out=str(done), submit="probability",
                           backend="torch", threshold=0.5, strict=True))  # fmt: skip
        out.write_bytes(done.read_bytes())


def one_image(result: Result) -> Result:
    """The same of one image a breast."""
    order = result.predictions["image_id"].map(lambda name: hashlib.sha1(name.encode()).hexdigest())
    first = result.predictions.loc[order.sort_values().index].drop_duplicates("prediction_id").sort_index()
    return Result(result.dataset, result.arm, result.seed, first, "mean", set(), "", 0.0)


def number_of_images(images: pd.DataFrame) -> float:
    """AUROC of how many images a breast has, on the patients that are reported."""
    reported = images[~images["patient_id"].astype(str).map(chooses)]
    breasts = reported.groupby("prediction_id")["cancer"].agg(["size", "max"])
    return round(float(roc_auc_score(breasts["max"], breasts["size"])), 4)


def print_scores(name: str, results: Sequence[Result]) -> dict[str, Any]:
    """AUROC of each arm, and the paired differences, printed and for the JSON."""
    found = score(results)
    gaps = found.differences["breast_auroc"]
    print(f"\n{name}: {found.breasts} breasts, {found.positives} with cancer\n\n| | AUROC |\n|---|---|")
    for arm, row in found.rows.items():
        print(f"| {arm} | {row['breast_auroc'].text()} |")
    for pair, gap in gaps.items():
        print(f"| {pair.replace('-', ' − ')} | {gap.text(sign=True)} |")
    return {
        "rows": {arm: row["breast_auroc"].triple for arm, row in found.rows.items()},
        "differences": {pair: gap.triple for pair, gap in gaps.items()},
    }


if __name__ == "__main__":
    main()
