"""One model on several labelled sets: a table of what it is worth on each, within each, and against home."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.data import ScoredUnit
from rsna.config.external import ValidateOptions
from rsna.dataset.adapters import is_proxy
from rsna.dataset.exams import exams_of
from rsna.dataset.folds import OTHERS, UNKNOWN, join_small, name_parts
from rsna.dataset.table import ImageTable
from rsna.evaluation.bootstrap import LEVEL, Interval
from rsna.evaluation.breasts import to_exams
from rsna.evaluation.external import (
    FEWEST,
    AtOwn,
    Drop,
    auroc_drop,
    drop_of_intervals,
    score_own,
    too_few,
)
from rsna.evaluation.tables import Plain, Rows, Tables, interval_text, number, percent
from rsna.external.home import Chosen, Home, JudgedSet, home_of, judged_as_new
from rsna.external.picture import draw_sets
from rsna.files import write_atomic, write_json
from rsna.inference.backends.choice import check_networks
from rsna.inference.validate import describe, load_labelled, predict_tables
from rsna.parallel.progress import Progress
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import folds_not_trained_on
from rsna.table_file.write import write_frame

PARTS = {"machine_id": "machine", "site_id": "site", "view": "view"}
"""Column of the images → what its parts are called. Machine and site of a breast, or an exam, are its first image's; by
view, breasts are made of the images of one view alone."""

_VALUES = ("auroc", "sensitivity", "specificity", "recalled", "observed_expected")


@dataclass(frozen=True)
class SetRow(Plain):
    """One line of the table: a set, or a part of it."""

    set: str
    part: str
    """`machine 49`, `view CC`, `machine others`; "" of the whole set."""
    at: AtOwn
    drop: Drop | None = None
    """AUROC at home less that here; None of home itself, and where there are too few breasts."""
    home: bool = False
    """Whether it is the set that was trained on, out of fold."""
    unit: ScoredUnit = "breast"

    def flat(self) -> dict[str, object]:
        """A row of sets.csv."""
        row: dict[str, object] = {"set": self.set, "part": self.part, "home": self.home, "unit": self.unit}
        row |= {"n": self.at.breasts, "positives": self.at.positives, "patients": self.at.patients}
        for name in _VALUES:
            row[name] = self.at.values.get(name)
            ends = self.at.intervals.get(name)
            row |= {f"{name}_low": ends.low if ends else None, f"{name}_high": ends.high if ends else None}
        gap = self.drop.difference if self.drop else None
        row |= {"drop": gap.value if gap else None, "drop_low": gap.interval.low if gap else None}
        row |= {"drop_high": gap.interval.high if gap else None, "pairing": self.drop.pairing if self.drop else ""}
        return row


@dataclass(frozen=True)
class SetsTable(Plain, Tables):
    """A model on several sets."""

    run: str
    threshold: float
    """The run's own, chosen on its out-of-fold breasts."""
    rows: tuple[SetRow, ...]
    resamples: int
    remarks: tuple[str, ...] = ()

    def parts(self) -> list[Rows | str]:
        """The table, what is to be said of it, and how to read it."""
        header = ["", "", "unit", "n", "positive", "AUROC", f"{LEVEL:.0%} interval", "sensitivity", "recalled"]
        rows = [[*header, "observed ÷ expected", f"{LEVEL:.0%} interval", "drop", f"{LEVEL:.0%} interval"]]
        for row in self.rows:
            own = row.at
            cells = [row.set if not row.part else "", row.part, row.unit, f"{own.breasts:,}", f"{own.positives:,}"]
            if own.too_few:
                rows.append([*cells, "too few", *[""] * 7])
                continue
            share = [percent(own.values[name]) for name in ("sensitivity", "recalled")]
            cells += [number(own.values["auroc"]), interval_text(own.intervals["auroc"]), *share]
            cells += [f"{own.values['observed_expected']:.2f}", _short(own.intervals["observed_expected"])]
            gap = row.drop.difference if row.drop else None
            cells += [number(gap.value, sign=True), interval_text(gap.interval)] if gap else ["", ""]
            rows.append(cells)
        return [rows, "\n".join(self.remarks)]

    def frame(self) -> pd.DataFrame:
        """sets.csv: a row a line of the table, without rounding."""
        return pd.DataFrame([row.flat() for row in self.rows])

    def write(self, folder: Path) -> None:
        """sets.csv, sets.json and sets.svg."""
        write_atomic(folder / "sets.csv", self.frame().to_csv(index=False))
        write_json(folder / "sets.json", self.to_dict())
        write_atomic(folder / "sets.svg", draw_sets(self.frame(), self.run))


def validate_sets(options: ValidateOptions) -> SetsTable:
    """Predicts some labelled sets and prints the table over all of them and home.

    Raises:
        RunError: Nothing to predict with.
        TableError: A folder or its labels cannot be used, or no image of it can be read.
    """
    trained = load_ensemble(options.run, options.folds, options.method, options.weights)
    check_networks(trained.members, options.backend, options.precision)
    wanted = options.cancer_from or ("auto",) * len(options.input)
    tables = [load_labelled(root, options.sampling, by) for root, by in zip(options.input, wanted, strict=True)]
    home, folds = home_of(options, trained), folds_not_trained_on(options.run)
    describe(trained, tables, folds)
    predicted = predict_tables(options, trained, tables, folds)
    names = _names(tables)
    if options.out:
        both = [found.images.assign(set=name) for name, found in zip(names, predicted, strict=True)]
        write_frame(pd.concat(both, ignore_index=True), Path(options.out))
        print(f"predictions: {options.out}")
    # Networks of breasts see all views at once.
    views = all(member.spec.unit == "image" for member in trained.members)
    rows = _rows_of(home.judged, options, views, None) if home.judged else []
    for name, found in zip(names, predicted, strict=True):
        rows += _rows_of(judged_as_new(name, found), options, views, home)
    remarks = _remarks(rows, home, trained.threshold, options)
    remarks += tuple(f"cancer in {name}: {_definition(table)}" for name, table in zip(names, tables, strict=True))
    run = ", ".join(options.run)
    table = SetsTable(run, trained.threshold, tuple(rows), options.resamples, remarks)
    folder = Path(options.report or "validation")
    table.write(folder)
    print(f"{table.table()}\n{folder}: sets.csv, sets.json, sets.svg")
    return table


def _definition(table: ImageTable) -> str:
    """What counts as cancer in a set, as its table says."""
    known = sorted(set(table.frame.get("cancer_from", pd.Series(dtype=object)).dropna()) - {""})
    return ", ".join(f"{one} (a proxy: no diagnosis)" if is_proxy(one) else one for one in known) or "as labelled"


def _names(tables: Sequence[ImageTable]) -> list[str]:
    """The names of the sets; the whole path of one whose name another has, too."""
    names = [table.name for table in tables]
    return [name if names.count(name) == 1 else str(table.root) for name, table in zip(names, tables, strict=True)]


def _rows_of(judged: JudgedSet, options: ValidateOptions, views: bool, home: Home | None) -> list[SetRow]:
    """A set's own line, then those of its parts; ``home`` is None of home itself."""
    unit, resamples = options.unit, options.resamples
    parts = [("", _all_of(judged)), *_parts(judged.images, unit, views)]
    at_home = _scored(home.judged, _all_of(home.judged), unit) if home and home.judged else None
    rows = []
    with Progress(f"score {judged.name}", len(parts), "parts") as progress:
        for part, chosen in progress.over(parts):
            scored = _scored(judged, chosen, unit)
            own = score_own(scored, resamples)
            drop = None
            if at_home is not None and not own.too_few:
                drop = auroc_drop(at_home, scored, resamples)
            elif home and not own.too_few and not np.isnan(home.interval.low):
                drop = drop_of_intervals(home.auroc, home.interval, own)
            rows.append(SetRow(judged.name, part, own, drop, home is None, unit))
    return rows


def _all_of(judged: JudgedSet) -> Chosen:
    return np.ones(len(judged.images), dtype=np.bool_)


def _scored(judged: JudgedSet, chosen: Chosen, unit: ScoredUnit) -> pd.DataFrame:
    """What is scored of some images: their breasts, or the exams of these."""
    breasts = judged.breasts(chosen)
    return to_exams(breasts, judged.images[chosen]) if unit == "exam" else breasts


def _parts(images: pd.DataFrame, unit: ScoredUnit, views: bool) -> Iterator[tuple[str, Chosen]]:
    """(name, images) by machine, site and view, where there are two at least; small ones together."""
    scored = images["patient_id"] + " " + exams_of(images) if unit == "exam" else images["prediction_id"]
    for column, title in PARTS.items():
        if column not in images or (column == "view" and not views):
            continue
        names = name_parts(images[column])
        if column != "view":  # one of a breast, or an exam, so that none stands in two parts
            names = names.groupby(scored).transform("first")
        if names.nunique() < 2:
            continue
        labels = images["cancer"].groupby([names, scored]).max().groupby(level=0)
        few = {str(part) for part, cancer in labels if too_few(int(cancer.sum()), len(cancer))}
        if len(few) > 1:
            names, _ = join_small(names, few.__contains__)
        if names.nunique() < 2:  # all are small: together they are the whole set
            continue
        for part in sorted(names.unique(), key=lambda one: (one in (OTHERS, UNKNOWN), one)):
            yield f"{title} {part}", names.eq(part).to_numpy()


def _remarks(rows: Sequence[SetRow], home: Home, threshold: float, options: ValidateOptions) -> tuple[str, ...]:
    nested = "home's is out of fold, each fold at the threshold and by the line of the others"
    kept = f"AUROC at home, {number(home.auroc)} ({interval_text(home.interval)}), and no predictions"
    kept = kept if options.unit == "breast" else "metrics of breasts and no predictions, so nothing of exams at home"
    lines = [
        f"sensitivity and recalled at the run's own threshold {threshold:.4f}; {nested}"
        if home.judged is not None
        else f"sensitivity and recalled at the threshold of the bundle, {threshold:.4f}; it keeps {kept}",
        "observed ÷ expected: cancers that there are for each that the calibrated probabilities promise; 1 where they "
        "mean what they say, and elsewhere it follows the share of positives, too",
        "drop: AUROC at home less that here",
    ]
    if options.unit == "exam":
        lines.insert(
            0,
            "an exam is the maximum of its breasts: recalled where one of them is, at the threshold of breasts; it "
            "promises that either has cancer, 1 less the product of what each promises to be without",
        )
    pairings = {row.drop.pairing for row in rows if row.drop}
    if pairings - {"independent"}:
        lines[-1] += "; where patients stand in both sets they are drawn into both at once (paired)"
    if any(row.at.too_few for row in rows):
        lines.append(f"too few: less than {FEWEST} positives or negatives; parts as small stand together as others")
    return (*lines, f"intervals from {options.resamples:,} resamples of patients; they hold no noise of training")


def _short(interval: Interval) -> str:
    return "–" if np.isnan(interval.low) else f"{interval.low:.2f} to {interval.high:.2f}"
