"""Whether probabilities mean at each site and machine what they say, before and after a line of its own.

    python benchmarks/calibration.py [--out FOLDER] [--set rsna256] [--arms c g_site] [--seed 0] [--json FILE]

Nothing is trained: FOLDER is where `benchmarks/accuracy.py` keeps the out-of-fold predictions of its folds, of which
those are taken that are there. Scored are breasts of the patients that options are not chosen on. For each site and
each machine: cancers that there are for each that is promised, and log loss, of probabilities as predicted, by the line
that the other folds give (Platt's, over all sites; what a run brings), and by a line fitted on the part's own breasts,
each breast by lines of other patients. `saved`: log loss by the run's line less that by the part's own, with an
interval over patients. Of arms whose folds are the sites, the run's line is that of the other site. Parts with less
than 10 positives or negatives are one together, and left out where that is as small.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy_recipe import same_recipe
from accuracy_tables import chooses
from common import at_least, write_result

from rsna.dataset.folds import OTHERS, join_small, name_parts
from rsna.evaluation.bootstrap import RESAMPLES, Interval
from rsna.evaluation.calibration import CLIP, nested_platt
from rsna.evaluation.checks import Floats
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.external import mean_difference, out_of_fold, score_own, too_few

PARTS = {"site_id": "site", "machine_id": "machine"}
WAYS = {"as_predicted": "as predicted", "home": "by the run's line", "own": "by its own, on other patients"}


def main() -> None:
    """Scores every part, prints the table, and writes the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"), help="of benchmarks/accuracy.py")
    parser.add_argument("--set", default="rsna256")
    parser.add_argument("--arms", nargs="+", default=["c", "g_site"])
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--resamples", type=at_least(1), default=RESAMPLES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    options = parser.parse_args()
    found = [score_arm(options, arm) for arm in options.arms]
    shared = {"set": options.set, "seed": options.seed, "resamples": options.resamples}
    write_result(options.json, shared | {"arms": found})


def score_arm(options: argparse.Namespace, arm: str) -> dict[str, Any]:
    """The figures of every part, by one arm; they are printed as well."""
    images, aggregate, n_folds = read_folds(options.out / "results" / options.set / arm / f"seed{options.seed}")
    evaluation = evaluate(images, aggregate, sampling="enriched", resamples=0)
    breasts = out_of_fold(evaluation)
    breasts = breasts[~breasts["patient_id"].astype(str).map(chooses)].reset_index(drop=True)
    rows = [score_part(by, part, of_part, options.resamples) for by, part, of_part in parts_of(breasts)]
    folds = sorted(int(fold) for fold in images["fold"].unique())
    print(f"{options.set}, arm {arm}, seed {options.seed}, folds {folds} of {n_folds}\n\n{table(rows)}\n")
    return {"arm": arm, "folds": folds, "of_folds": n_folds, "rows": rows}


def read_folds(folder: Path) -> tuple[pd.DataFrame, Any, int]:
    """Out-of-fold predictions of the folds that are finished, how breasts are made of them, and of how many folds.

    Raises:
        SystemExit: There are fewer than two, of which each needs the other's line; or they are of several recipes.
    """
    records = sorted(folder.glob("fold*.json"))
    if len(records) < 2:
        raise SystemExit(f"{folder} holds {len(records)} finished folds, and two are needed: benchmarks/accuracy.py")
    about, *others = (json.loads(record.read_text(encoding="utf-8")) for record in records)
    if not all(same_recipe(other.get("recipe", {}), about.get("recipe", {})) for other in others):
        raise SystemExit(
            f"{folder}: its folds are of several recipes; benchmarks/accuracy.py trains the old ones again"
        )
    parts = [pd.read_parquet(record.with_suffix(".parquet")) for record in records]
    return pd.concat(parts, ignore_index=True), about["aggregate"], about["n_folds"]


def parts_of(breasts: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(what parts are, name, breasts): all of them, then sites and machines, small ones together."""
    yield "all", "", breasts
    for column, title in PARTS.items():
        if column not in breasts:
            continue
        names = name_parts(breasts[column])
        few = {part for part, own in breasts.groupby(names) if too_few(int(own["cancer"].sum()), len(own))}
        names, _ = join_small(names, few.__contains__)
        for part in sorted(names.unique(), key=lambda name: (name == OTHERS, name)):
            own = breasts[names == part]
            if not too_few(int(own["cancer"].sum()), len(own)):
                yield title, str(part), own


def score_part(by: str, part: str, breasts: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """The figures of some breasts, of whom both classes are there."""
    cancer, p = breasts["cancer"].to_numpy(), breasts["probability"].to_numpy(np.float64)
    ways = {"as_predicted": p, "home": breasts["calibrated"].to_numpy(np.float64),
            "own": nested_platt(cancer, p, breasts["patient_id"])}  # fmt: skip
    row: dict[str, Any] = {"by": by, "part": part, "breasts": len(breasts), "positives": int(cancer.sum()),
                           "patients": breasts["patient_id"].nunique()}  # fmt: skip
    for name, way in ways.items():
        own = score_own(breasts.assign(calibrated=way), resamples)
        row["auroc"] = triple(own.values["auroc"], own.intervals["auroc"])
        row[name] = {"observed_expected": triple(own.values["observed_expected"], own.intervals["observed_expected"]),
                     "log_loss": round(float(log_losses(cancer, way).mean()), 4)}  # fmt: skip
    saved = mean_difference(
        *(log_losses(cancer, ways[name]) for name in ("home", "own")), breasts["patient_id"], resamples
    )
    return row | {"saved": triple(saved.value, saved.interval)}


def log_losses(cancer: Floats, p: Floats) -> Floats:
    """(n,) −log of what was given to the label."""
    kept = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-np.log(np.where(cancer == 1, kept, 1 - kept)))


def triple(value: float, interval: Interval) -> list[float]:
    """[value, low, high], rounded for the JSON."""
    return [round(float(x), 4) for x in (value, interval.low, interval.high)]


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown: observed ÷ expected by each way with its interval, and what the own line saves."""
    titles = ["", "breasts", "with cancer", "AUROC", *WAYS.values(), "log loss saved"]
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        name = f"{row['by']} {row['part']}".strip()
        ratios = [text(row[way]["observed_expected"], 2) for way in WAYS]
        counts = [name, str(row["breasts"]), str(row["positives"]), text(row["auroc"], 2)]
        lines.append([*counts, *ratios, text(row["saved"], 3, sign=True)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def text(values: list[float], digits: int, sign: bool = False) -> str:
    """`0.98 (0.91 to 1.05)`."""
    mark = "+" if sign else ""
    value, low, high = (f"{one:{mark}.{digits}f}" for one in values)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
