"""What `benchmarks/accuracy.py` found, as tables: means over seeds, with intervals and paired differences.

In each of 2,000 resamples of the patients every arm and seed is scored on the same patients; a mean over seeds, or a
difference of two such means, then has the interval of its resamples. How far apart the seeds lie stands beside it: that
is in no such interval.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from accuracy_picture import draw

from rsna.config.data import Aggregate
from rsna.evaluation.bootstrap import RESAMPLES, Resamples, percentile_interval, resample
from rsna.evaluation.breasts import to_breasts
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.evaluate import sorted_breasts

PREVALENCE = 0.021
"""Share of breasts with cancer in the competition's set."""

COLUMNS = {
    "breast_auroc": ("auroc", None, "AUROC"),
    "breast_auprc": ("auprc", None, "AUPRC"),
    "pf1_raw": ("pf1_raw", None, "pF1 raw"),
    "pf1_nested": ("pf1_nested", None, "pF1 nested"),
    "pf1_raw_at_prevalence": ("pf1_raw", PREVALENCE, f"pF1 raw at {PREVALENCE}"),
    "pf1_nested_at_prevalence": ("pf1_nested", PREVALENCE, f"pF1 nested at {PREVALENCE}"),
}
"""Key in the JSON → metric, prevalence that negatives are reweighted to, title."""

PAIRS = (("c", "b"), ("d", "c"), ("d", "d_one"), ("e", "a"), ("e_images", "a"), ("e_images", "c"), ("c", "a"),
         ("c", "f"), ("c", "g_site"), ("c", "g_machine"), ("c", "h_half"), ("h_most", "c"))  # fmt: skip
"""First less second, where both are there."""

DIFFERENCES = ("breast_auroc", "pf1_raw")
"""Of COLUMNS, those that pairs are held against each other by: ranks, and the competition's metric."""

TWO_VIEWS = "c"
"""Whose breasts of two images are scored by one of them, too: what the second brings where their mean is taken."""

ENOUGH = 100
"""Breasts of two images with cancer, and without: fewer say nothing of a second view."""

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
"""What stands between them in docs/accuracy.md is written here, and the rest by people."""


class Titled(Protocol):
    """An arm, as far as tables go."""

    title: str


@dataclass(frozen=True)
class Result:
    """Out-of-fold predictions of one arm with one seed, of every fold."""

    dataset: str
    arm: str
    seed: int
    predictions: pd.DataFrame
    aggregate: Aggregate
    hardware: set[str]
    weights: str
    seconds: float
    recipe: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Option → value that it was trained by."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    value: float
    low: float
    high: float
    spread: float | None
    """Standard deviation over the seeds; None where there is one."""
    seeds: int = 1
    """How many; of a difference those that both arms have."""

    @property
    def triple(self) -> list[float | None]:
        """[value, low, high], rounded for the JSON."""
        return [None if np.isnan(x) else round(float(x), 4) for x in (self.value, self.low, self.high)]

    def text(self, sign: bool = False) -> str:
        """`0.798 (0.747–0.843), seeds ±0.006`."""
        mark = "+" if sign else ""
        spread = "" if self.spread is None else f", seeds ±{self.spread:.3f}"
        return f"{self.value:{mark}.3f} ({self.low:{mark}.3f} to {self.high:{mark}.3f}){spread}"


@dataclass(frozen=True)
class Scores:
    """Every arm of a set, scored on the same patients."""

    breasts: int
    positives: int
    patients: int
    rows: dict[str, dict[str, Estimate]]
    """Arm → key of COLUMNS → mean over its seeds."""
    differences: dict[str, dict[str, Estimate]]
    """Key of DIFFERENCES → `c-b` → that of c less that of b."""
    views: dict[str, Estimate]
    """AUROC of TWO_VIEWS on breasts of two images: `one` of them, `both`, and what both are better by (`second`)."""


def chooses(patient_id: str) -> bool:
    """Whether a patient is one of those that options may be chosen on; the others are reported."""
    return int(hashlib.sha1(patient_id.encode()).hexdigest(), 16) % 10 < 3


def score(results: Sequence[Result], choosing: bool = False, resamples: int = RESAMPLES) -> Scores:
    """Scores the results of one set, on the patients for choosing or on the others.

    Args:
        results: Several arms and seeds; only breasts that all of them predict are scored.
        choosing: See :func:`chooses`.
        resamples: Of patients.
    """
    tables = [to_breasts(result.predictions, result.aggregate).set_index("prediction_id") for result in results]
    shared = sorted(set.intersection(*(set(table.index) for table in tables)))
    for result, table in zip(results, tables, strict=True):
        if more := len(table) - len(shared):
            print(
                f"{result.dataset}, arm {result.arm}, seed {result.seed}: {more} breasts that not all predict left out"
            )
    patients = tables[0].loc[shared, "patient_id"].astype(str)
    kept = [name for name, patient in zip(shared, patients, strict=True) if chooses(patient) == choosing]
    tables = [table.loc[kept].reset_index() for table in tables]
    for table in tables:
        if not table["cancer"].equals(tables[0]["cancer"]):
            raise ValueError("arms of one set have other labels: train them again on the same files")
    found: list[dict[str, Resamples]] = [{} for _ in results]
    for prevalence in (None, PREVALENCE):
        runs = [sorted_breasts(table, OperatingPoints(), prevalence, table[["fold"]].to_numpy().T) for table in tables]
        names = tuple(metric for metric, share, _ in COLUMNS.values() if share == prevalence)
        for into, one in zip(found, resample(runs, resamples, 0, names), strict=True):
            into |= {key: one for key, (_, share, _) in COLUMNS.items() if share == prevalence}
    by_arm: dict[str, dict[int, dict[str, Resamples]]] = {}
    for result, one in zip(results, found, strict=True):
        by_arm.setdefault(result.arm, {})[result.seed] = one
    rows = {
        arm: {key: _mean([(one[key], None) for one in seeds.values()], COLUMNS[key][0]) for key in COLUMNS}
        for arm, seeds in by_arm.items()
    }
    first = tables[0]
    counts = len(first), int(first["cancer"].sum()), first["patient_id"].nunique()
    views = second_view([result for result in results if result.arm == TWO_VIEWS], choosing, resamples)
    differences = {key: _differences(by_arm, key) for key in DIFFERENCES}
    return Scores(*counts, rows, differences, views)


def second_view(results: Sequence[Result], choosing: bool = False, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """What a second image of the breast brings where the mean of both is taken, over the breasts that have two.

    Args:
        results: Of one set and arm, a row an image; several seeds.
        choosing: See :func:`chooses`.
        resamples: Of patients.

    Returns:
        `Scores.views`: one image's AUROC is the mean of either's. Empty where fewer than ENOUGH breasts of two images
        have cancer, or have none.
    """
    runs = []
    for result in results:
        images = result.predictions.sort_values(["prediction_id", "image_id"])
        of_two = images.groupby("prediction_id")["image_id"].transform("size") == 2
        kept = images[of_two & (images["patient_id"].astype(str).map(chooses) == choosing)]
        cancers = int(kept["cancer"][::2].sum())
        if min(cancers, len(kept) // 2 - cancers) < ENOUGH:
            return {}
        for part in (kept[::2], kept[1::2], kept):
            table = to_breasts(part, result.aggregate)
            runs.append(sorted_breasts(table, OperatingPoints(), None, table[["fold"]].to_numpy().T))
    if not runs:
        return {}
    found = resample(runs, resamples, 0, ("auroc",))
    singles, both = [one for number, one in enumerate(found) if number % 3 < 2], found[2::3]
    pairs = {
        "one": [(one, None) for one in singles],
        "both": [(one, None) for one in both],
        "second": [(both[number // 2], one) for number, one in enumerate(singles)],
    }
    # Views lie as far apart as seeds do: no spread of seeds can be told from these.
    return {name: replace(_mean(these, "auroc"), spread=None) for name, these in pairs.items()}


def _differences(by_arm: Mapping[str, Mapping[int, Mapping[str, Resamples]]], key: str) -> dict[str, Estimate]:
    """Paired over patients and over the seeds that both arms have; age alone has no seeds."""
    found = {}
    tried = [(arm, arm.partition("+")[0]) for arm in by_arm if "+" in arm]
    for one, other in (*PAIRS, *tried):
        if one not in by_arm or other not in by_arm:
            continue
        theirs = by_arm[other] if other != "a" else dict.fromkeys(by_arm[one], next(iter(by_arm["a"].values())))
        seeds = sorted(by_arm[one].keys() & theirs.keys())
        if seeds:
            pairs = [(by_arm[one][seed][key], theirs[seed][key]) for seed in seeds]
            found[f"{one}-{other}"] = _mean(pairs, COLUMNS[key][0])
    return found


def _mean(pairs: Iterable[tuple[Resamples, Resamples | None]], metric: str) -> Estimate:
    """Mean over seeds of a metric, less that of the second of each pair where there is one."""
    values, data = [], []
    for first, second in pairs:
        values.append(first.values[metric] - (second.values[metric] if second else 0))
        data.append(first.data[metric] - (second.data[metric] if second else 0))
    interval = percentile_interval(np.mean(values, axis=0))
    spread = float(np.std(data, ddof=1)) if len(data) > 1 else None
    return Estimate(float(np.mean(data)), interval.low, interval.high, spread, len(data))


def print_choice(results: Sequence[Result]) -> None:
    """Arms with and without tried options, on the patients for choosing alone."""
    for dataset in sorted({result.dataset for result in results}):
        scores = score([result for result in results if result.dataset == dataset], choosing=True)
        gaps = scores.differences["breast_auroc"]
        print(f"\n{dataset}: {scores.breasts} breasts, {scores.positives} with cancer, of the patients for choosing")
        for arm, row in scores.rows.items():
            gap = gaps.get(f"{arm}-{arm.partition('+')[0]}")
            paired = "" if gap is None else f"; {gap.text(sign=True)} with it, {of_seeds(gap.seeds)} of both"
            print(f"  {arm:16s} AUROC {row['breast_auroc'].text()}, {of_seeds(row['breast_auroc'].seeds)}{paired}")


def of_seeds(number: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} seed{'s' if number > 1 else ''}"


def write_report(
    results: Sequence[Result], arms: Mapping[str, Titled], docs: Path, command: Callable[[Sequence[Result]], str]
) -> None:
    """Writes docs/results/accuracy.json, a picture of each set beside it, and the tables of docs/accuracy.md.

    Nothing is written where nothing is complete, and a set of which there are no results keeps what an earlier report
    says of it: sets are trained on different machines.

    Args:
        results: What is complete.
        arms: Their titles.
        docs: The folder that holds accuracy.md and results/.
        command: The one that gives the results of a set.
    """
    if not results:
        print("no arm has all its folds yet: nothing to report")
        return
    file = docs / "results" / "accuracy.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    page = (docs / "accuracy.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    written, _, after = rest.partition(END)
    tables = {part.split("\n", 1)[0]: part.strip() for part in written.split("### ")[1:]}
    for name in sorted({result.dataset for result in results}):
        of_set = [result for result in results if result.dataset == name]
        scores, trained = score(of_set), [result for result in of_set if result.hardware]
        content[name] = _to_json(scores) | {
            "hardware": sorted(set().union(*(result.hardware for result in trained))),
            "command": command(of_set),
            "seeds": sorted({result.seed for result in trained}),
            "weights": sorted({result.weights for result in trained if result.weights}),
            "hours": round(sum(result.seconds for result in trained) / 3600, 2),
        }
        tables[name] = "\n".join(_table(name, scores, arms, Counter(result.arm for result in of_set)))
        picture = draw(name, content[name], {arm: one.title for arm, one in arms.items()})
        (file.parent / f"accuracy-{name}.svg").write_text(picture, encoding="utf-8")
        print(f"\n### {tables[name]}")
    parts = {name: content[name] for name in sorted(tables)}
    content = parts | {
        key: sorted({one for part in parts.values() for one in part[key]}) for key in ("hardware", "seeds", "weights")
    }
    content["command"] = " && ".join(part["command"] for part in parts.values())
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = "\n\n".join(f"### {tables[name]}" for name in parts)
    (docs / "accuracy.md").write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    print(f"written: {file}, {docs / 'accuracy.md'}")


def _to_json(scores: Scores) -> dict[str, Any]:
    rows = []
    for arm, row in scores.rows.items():
        spread = {key: round(one.spread, 4) for key, one in row.items() if one.spread is not None}
        values = {key: one.triple for key, one in row.items()}
        rows.append({"arm": arm, **values, "spread_of_seeds": spread, "n_seeds": row["breast_auroc"].seeds})
    counts = {"breasts": scores.breasts, "positives": scores.positives, "patients": scores.patients}
    auroc, raw = (scores.differences[key] for key in DIFFERENCES)
    spreads = {name: round(one.spread, 4) for name, one in auroc.items() if one.spread is not None}
    views = {name: one.triple for name, one in scores.views.items()}
    return {
        **counts,
        "rows": rows,
        "differences": {name: one.triple for name, one in auroc.items()},
        "differences_spread_of_seeds": spreads,
        "differences_n_seeds": {name: one.seeds for name, one in auroc.items()},
        "differences_of_pf1_raw": {name: one.triple for name, one in raw.items()},
        "views": views,
    }


def _table(name: str, scores: Scores, arms: Mapping[str, Titled], seeds: Mapping[str, int]) -> list[str]:
    counts = f"{scores.breasts:,} breasts of {scores.patients:,} patients, {scores.positives:,} with cancer"
    titles = [title for _, _, title in COLUMNS.values()]
    picture = f"![{name}: every arm with its interval](results/accuracy-{name}.svg)"
    lines = [name, "", f"{counts}.", "", picture, "", f"| arm | seeds | {' | '.join(titles)} |", "|---" * 8 + "|"]
    for arm, row in scores.rows.items():
        title = arms[arm].title if arm in arms else ""
        lines.append(f"| {arm}: {title} | {seeds[arm]} | {' | '.join(row[key].text() for key in COLUMNS)} |")
    auroc, raw = (scores.differences[key] for key in DIFFERENCES)
    if auroc:
        lines += ["", "| difference | seeds of both | of AUROC | of pF1 raw |", "|---|---|---|---|"]
    for pair, one in auroc.items():
        gaps = " | ".join(gap.text(sign=True) for gap in (one, raw[pair]))
        lines.append(f"| {pair.replace('-', ' − ')} | {one.seeds} | {gaps} |")
    if scores.views:
        one, both, second = (scores.views[name] for name in ("one", "both", "second"))
        lines += [
            "",
            f"Breasts of two images, by ({TWO_VIEWS}): one of them alone has an AUROC of {one.text()}, the mean of "
            f"both {both.text()}; the second view brings {second.text(sign=True)}.",
        ]
    return lines
