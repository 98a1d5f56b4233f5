"""Folds: patients split evenly by chance, or by a column of which one value is left out; none stands on both sides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rsna.config.data import FoldSettings, SplitBy
from rsna.dataset.hashing import digest_of, joined, text_of
from rsna.dataset.table import TableError, read_rows, refuse_rows
from rsna.files import atomic_path, first_few
from rsna.table_file import map_distinct, value_name

COLUMNS = ("patient_id", "image_id", "fold")

OTHERS = "others"
"""Name of the part that small ones are joined to."""

UNKNOWN = "not given"
"""Name of the part whose column is empty."""


def make_folds(frame: pd.DataFrame, n_folds: int = 4, seed: int = 0) -> pd.DataFrame:
    """Splits the patients of an image table, stratified by cancer × site × machine.

    Patients are sorted by stratum, shuffled within it and dealt to the folds in turn. So the number of patients
    differs by one at most between folds in every stratum, and, because strata with cancer lie side by side, the
    number of positive patients does too. The result depends on the set of rows, not on their order.

    Args:
        frame: Image table with patient_id, image_id; cancer, site_id, machine_id where there are any.

    Returns:
        patient_id, image_id (str), fold (int, 0 to n_folds − 1), in the order of ``frame``.

    Raises:
        TableError: Fewer patients than folds.
    """
    patients = pd.DataFrame({"patient_id": sorted(frame["patient_id"].unique())})
    if len(patients) < n_folds:
        raise TableError(f"folds.n_folds: {n_folds} folds need as many patients, the table has {len(patients)}")
    strata = [column for column in ("cancer", "site_id", "machine_id") if column in frame.columns]
    # A patient with cancer in one breast is positive; one seen on two machines counts under the first by number.
    by_patient = frame.groupby("patient_id")[strata].agg({c: "max" if c == "cancer" else "min" for c in strata})
    patients = patients.join(by_patient, on="patient_id")
    patients["shuffle"] = np.random.default_rng(seed).permutation(len(patients))
    dealt = patients.sort_values([*strata, "shuffle"])["patient_id"]
    fold_of = {patient: i % n_folds for i, patient in enumerate(dealt)}
    folds = frame[["patient_id", "image_id"]].copy()
    folds["fold"] = folds["patient_id"].map(fold_of).astype(np.int64)
    return folds.reset_index(drop=True)


def name_parts(values: pd.Series) -> pd.Series:
    """A column's values as names of parts: `49` for 49 and 49.0, UNKNOWN where there is none."""

    def name(value: Any) -> str:
        if pd.isna(value) or value == "":
            return UNKNOWN
        return value_name(value)

    return map_distinct(values, name).astype(object)


def join_small(names: pd.Series, small: Callable[[str], bool]) -> tuple[pd.Series, list[str]]:
    """Names of parts with the small ones under OTHERS, and which these are."""
    few = sorted(name for name in names.unique() if small(name))
    return names.where(~names.isin(few), OTHERS), few


def folds_by(frame: pd.DataFrame, column: SplitBy, smallest: int, notes: list[str]) -> pd.DataFrame:
    """Folds that are the values of a column, so that each is validated by a network of the others.

    Folds are numbered in the order of the parts' names. Parts of fewer patients than ``smallest`` are one together. A
    patient of two parts is whole in the first of them.

    Args:
        frame: patient_id, image_id and the column.
        notes: Gets a line on what was joined, and on patients of two parts.

    Returns:
        patient_id, image_id, fold, part (its name), in the order of ``frame``.

    Raises:
        TableError: There is no such column, or it makes fewer than two parts.
    """
    # Sets that were joined for this have names that tell them apart.
    source = "source_set" if column == "dataset" and "source_set" in frame else column
    if source not in frame:
        hint = "; name further sets with data.extra" if column == "dataset" else ""
        raise TableError(f"folds.by: the table has no column {column}{hint}")
    names = name_parts(frame[source])
    patients = frame.groupby(names)["patient_id"].nunique()
    names, few = join_small(names, lambda name: int(patients[name]) < smallest)
    parts = sorted(names.unique())
    if len(parts) < 2:
        joined = f", and parts of fewer than {smallest} patients are joined: lower folds.smallest" if few else ""
        raise TableError(f"folds.by: column {column} makes one part alone ({parts[0]}){joined}; two are needed")
    if few:
        notes.append(
            f"folds.by={column}: {len(few)} of fewer than {smallest} patients are one part together, {OTHERS}: "
            f"{first_few(few, 12)}"
        )
    number = names.map({name: i for i, name in enumerate(parts)}).astype(np.int64)
    of_patient = number.groupby(frame["patient_id"])
    first = of_patient.transform("min")
    if several := int(frame.loc[of_patient.transform("nunique") > 1, "patient_id"].nunique()):
        notes.append(
            f"folds.by={column}: {several:,} patients are of several parts; each is whole in the first of them"
        )
    folds = frame[["patient_id", "image_id"]].assign(fold=first, part=first.map(dict(enumerate(parts))))
    return folds.reset_index(drop=True)


def part_names(folds: pd.DataFrame) -> dict[int, str]:
    """Fold → the part that it is; empty where folds are no parts."""
    if "part" not in folds:
        return {}
    one = folds.drop_duplicates("fold").sort_values("fold")
    return {int(fold): str(part) for fold, part in zip(one["fold"], one["part"], strict=True)}


def load_folds(file: str | Path, frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Reads folds from a table and holds them against the image table; what is said of it is added to ``notes``.

    An image that the file does not list is in its patient's fold: a run on lesions is split as one on whole images.

    Returns:
        Folds in the order of ``frame``; see :func:`make_folds`.

    Raises:
        TableError: Missing columns, images without a fold, a patient in two folds, folds not numbered 0, 1, ….
    """
    folds = read_rows(file, notes, COLUMNS)
    numbers = pd.to_numeric(folds["fold"], errors="coerce")
    fractions = numbers.isna() | (numbers % 1 != 0)
    refuse_rows(fractions, None, file, "rows have a fold that is no whole number; number them 0, 1, …")
    folds["fold"] = numbers.astype(np.int64)
    _refuse_leaks(folds, file, "")
    several = folds.groupby("image_id")["fold"].transform("nunique") > 1
    refuse_rows(several, None, file, "rows put one image into several folds; keep one row of each image")
    fold_of = folds.drop_duplicates("image_id").set_index("image_id")["fold"]
    matched = frame[["patient_id", "image_id"]].copy()
    listed = matched["image_id"].map(fold_of).astype(np.float64)
    of_patient = folds.drop_duplicates("patient_id").set_index("patient_id")["fold"]
    matched["fold"] = listed.fillna(matched["patient_id"].map(of_patient).astype(np.float64))
    lacking = matched["fold"].isna()
    refuse_rows(lacking, frame["image_id"], file, "images have no fold, and neither has their patient")
    if unlisted := int(listed.isna().sum()):
        notes.append(f"{file}: does not list {unlisted:,} images; each is in the fold of its patient")
    matched["fold"] = matched["fold"].astype(np.int64)
    if parts := part_names(folds):
        if folds.groupby("fold")["part"].nunique(dropna=False).max() == 1:
            matched["part"] = matched["fold"].map(parts)
        else:
            notes.append(f"{file}: its column part has several values in a fold, and names none")
    # One patient may stand under two names in the file, and under one in the table.
    _refuse_leaks(matched, file, "by the patient_id of the table, ")
    found = sorted(matched["fold"].unique())
    if found != list(range(len(found))) or len(found) < 2:
        raise TableError(f"{file}: folds are numbered {found}; expected 0, 1, … without a gap, two at least")
    return matched.reset_index(drop=True)


def folds_for(frame: pd.DataFrame, settings: FoldSettings, notes: list[str]) -> pd.DataFrame:
    """The folds of a table: from ``settings.file``, by a column, or made; adds to ``notes``."""
    if settings.file:
        folds = load_folds(settings.file, frame, notes)
    elif settings.by != "chance":
        folds = folds_by(frame, settings.by, settings.smallest, notes)
    else:
        folds = make_folds(frame, settings.n_folds, settings.seed)
    notes += without_positives(folds, frame)
    return folds


def without_positives(folds: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """A line where a fold has no positive, and what that costs; none where every fold has, or nothing has."""
    cancer = frame["cancer"].eq(1).to_numpy() if "cancer" in frame else np.zeros(len(frame), dtype=np.bool_)
    positive = folds.loc[cancer, "fold"].unique().tolist()
    lacking = sorted(set(folds["fold"]) - set(positive))
    if not positive or not lacking:
        return []
    line = f"no positive in fold {', '.join(map(str, lacking))}: no pF1 and no AUROC of its own"
    if len(positive) == 1:
        line += f"; fold {positive[0]} has them all, so it is trained without any, and there is no nested pF1"
    return [line]


def folds_hash(folds: pd.DataFrame) -> str:
    """12 hexadecimal characters over image and fold: the *folds* hash. It does not depend on the rows' order."""
    return digest_of([joined(text_of(folds["image_id"]), text_of(folds["fold"]), "|")], nested=False)


def write_folds(folds: pd.DataFrame, out: str | Path) -> None:
    """Writes patient_id, image_id, fold, and part where folds are parts, as CSV, atomically."""
    with atomic_path(out) as temporary:
        folds[[*COLUMNS, *(["part"] if "part" in folds else [])]].to_csv(temporary, index=False)


def leaking_patients(splits: pd.DataFrame) -> list[str]:
    """Patients (column patient_id, text) in more than one fold, sorted; `10102`, ` 10102` and `10102.0` are one."""
    patients = splits["patient_id"].str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    counts = splits.groupby(patients)["fold"].nunique()
    return sorted(counts.index[counts > 1])


def check_splits(
    notes: list[str], splits: str | Path = "", train: str | Path = "", valid: str | Path = ""
) -> list[str]:
    """Patients that leak in anybody's split files: one table with patient_id and fold, or two with patient_id.

    What is said of the files is added to ``notes``.

    Raises:
        TableError: A file without patient_id or fold, or with rows that lack one: they could hide a leak.
    """
    if splits:
        frame = read_rows(splits, notes, ("patient_id", "fold"))
    else:
        sides = [read_rows(side, notes, ("patient_id",)) for side in (train, valid)]
        frame = pd.concat([side.assign(fold=i) for i, side in enumerate(sides)])
    return leaking_patients(frame)


def summarise(folds: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Per fold: images, patients and, as far as labels are known, positive images and patients; unlabelled images."""
    cancer = frame["cancer"].to_numpy(np.float64, na_value=np.nan) if "cancer" in frame else np.full(len(frame), np.nan)
    unlabelled = np.isnan(cancer)
    by_fold = folds.assign(positive=folds["patient_id"].where(cancer == 1), unlabelled=unlabelled).groupby("fold")
    table = by_fold.agg({"patient_id": ["size", "nunique"], "positive": ["count", "nunique"], "unlabelled": ["sum"]})
    columns = ["images", "patients", "positive images", "positive patients", "unlabelled images"]
    table = table.set_axis(columns, axis=1).reset_index()
    # Where nothing is known, 0 positives would say something.
    hidden = columns[2:4] if unlabelled.all() else [] if unlabelled.any() else columns[4:]
    if parts := part_names(folds):
        table.insert(1, "part", table["fold"].map(parts))
    return table.drop(columns=hidden)


def _refuse_leaks(folds: pd.DataFrame, file: str | Path, by: str) -> None:
    leaks = leaking_patients(folds)
    if leaks:
        both = sorted(folds.loc[folds["patient_id"].eq(leaks[0]), "fold"].unique().tolist())
        raise TableError(
            f"{file}: {by}{len(leaks)} patients stand in more than one fold (first: {first_few(leaks, 5)}; "
            f"{leaks[0]} is in folds {', '.join(map(str, both))})"
        )
