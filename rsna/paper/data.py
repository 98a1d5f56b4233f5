"""Who was looked at: the set, its labels, and how patients were split."""

from collections.abc import Sequence

import pandas as pd

from rsna.paper.blocks import Section, Table, Words
from rsna.paper.subject import Subject
from rsna.runs.run import Run
from rsna.runs.set_schema import LabelOrigin
from rsna.table_file import map_distinct, value_name

_MOST = 6
"""Values of a column that are listed with their counts."""


def data(subject: Subject) -> Section:
    """The set, what counts as cancer in it, and what is known of the patients."""
    run, record, pooled, oof = subject.run, subject.run.record.data, subject.metrics.pooled, subject.oof()
    labels = list(dict.fromkeys(label for one in subject.runs for label in one.record.data.labels))
    missing = run.pooled.missing if run.pooled else ()
    rows = [
        ("set", record.name),
        ("simulated", "yes" if subject.simulated else "no"),
        ("images", f"{record.images:,}"),
        ("patients", f"{run.folds['patient_id'].nunique():,}"),
        ("breasts in these folds", f"{pooled.breasts:,}, of which {pooled.positives:,} with cancer "
                                   f"({pooled.prevalence:.2%})"),
        ("sampling", "enriched with positives" if subject.enriched else "as they came (population)"),
        ("cancer means", "; ".join(map(meaning, labels)) or "unknown"),
        ("licence of the images", "; ".join(f"{set_name(one)}: {one.licence}" for one in labels) or "unknown"),
        ("age", _age(oof)),
        *((title, _counts(oof, column)) for column, title in (("view", "views"), ("site_id", "sites"),
                                                              ("machine_id", "machines"), ("density", "density"))),
        ("without a prediction", f"{len(missing):,}: no image of them could be prepared" if missing else "none"),
        ("country, ethnicity, years of acquisition, readers", "unknown"),
    ]  # fmt: skip
    blocks: list[Words | Table] = [Table(("", ""), tuple(rows), "The set")]
    if any(label.is_proxy for label in labels):
        blocks.append(Words("BI-RADS stands in for pathology here: it is no diagnosis.", remark=True))
    blocks.append(Words(" ".join(dict.fromkeys(map(_split, subject.runs)))))
    if subject.metrics.folds:
        parts = tuple(
            (one.name, f"{one.patients:,}", f"{one.breasts:,}", f"{one.positives:,}", f"{one.prevalence:.2%}")
            for one in (*subject.metrics.folds, pooled)
        )
        blocks.append(Table(("", "patients", "breasts", "with cancer", "share"), parts, "Folds"))
    known = bool(labels)  # what counts as cancer
    claim, stard = (7, 13, *((14,) if known else ()), 20, 21), (*(("10b",) if known else ()), "16", "20")
    return Section("Data", tuple(blocks), "data", claim=claim, stard=stard)


def _split(run: Run) -> str:
    folds = run.config.folds
    how = "by chance, alike in their share of positives"
    if folds.by != "chance":
        how = f"by {folds.by}, so that each is predicted by networks that have seen none of it"
    elif folds.file:
        how = "by a given table"
    return (
        f"Patients are split into {run.record.n_folds} folds {how} (folds hash {run.record.hashes.folds}); no patient "
        "is on both sides of one, and each is predicted by the network that was not trained on it."
    )


def _age(oof: pd.DataFrame) -> str:
    ages = pd.to_numeric(oof["age"], errors="coerce") if "age" in oof else pd.Series(dtype=float)
    if not ages.any():
        return "unknown"
    low, high = ages.quantile([0.25, 0.75])
    return f"{ages.min():g} to {ages.max():g} years, median {ages.median():g} (quartiles {low:g} and {high:g})"


def _counts(oof: pd.DataFrame, column: str) -> str:
    """Values with their share of the rows, the most frequent first; how many there are where they are many."""
    if column not in oof or not (known := oof[column].dropna()).size:
        return "unknown"
    shares = map_distinct(known, value_name)
    shares = shares[shares != ""].value_counts(normalize=True)
    if shares.empty:
        return "unknown"
    listed = ", ".join(f"{value} {share:.0%}" for value, share in shares.head(_MOST).items())
    return f"{len(shares)}: {listed}" + (" …" if len(shares) > _MOST else "")


def set_name(label: LabelOrigin) -> str:
    """What a set is called, of several with its public name and weight."""
    name = label.set or label.dataset or "a table"
    public = f" ({label.dataset})" if label.set and label.dataset else ""
    return name + public + (f", weight {label.weight:g}" if label.weight != 1 else "")


def meaning(label: LabelOrigin) -> str:
    """What counts as cancer in a set."""
    return f"{set_name(label)}: {label.cancer_from or 'as labelled'}" + (f", {label.meaning}" if label.meaning else "")


def licence_notes(labels: Sequence[LabelOrigin]) -> list[str]:
    """A line on every public set whose licence does not let what was trained on it be released without more."""
    said = {
        "no": "forbids to release what is trained on it",
        "ask": "lets what is trained on it be released only as far as its publisher agrees",
    }
    known = [one for one in labels if one.dataset and one.release in said]
    return [f"{set_name(one)}: the licence {said[one.release]}: {one.licence}" for one in known]
