"""Folds: patients split so that cancer, site and machine are spread evenly, and no patient stands on both sides."""

from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.data import FoldSettings
from rsna.config.settings import digest
from rsna.dataset.table import TableError, read_csv, refuse_rows
from rsna.files import atomic_path, first_few

COLUMNS = ("patient_id", "image_id", "fold")


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


def load_folds(file: str | Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Reads folds from a CSV and holds them against the image table.

    Returns:
        Folds in the order of ``frame``; see :func:`make_folds`.

    Raises:
        TableError: Missing columns, images without a fold, a patient in two folds, folds not numbered 0, 1, ….
    """
    folds = read_csv(file, COLUMNS)
    numbers = pd.to_numeric(folds["fold"], errors="coerce")
    fractions = numbers.isna() | (numbers % 1 != 0)
    refuse_rows(fractions, None, file, "rows have a fold that is no whole number; number them 0, 1, …")
    folds["fold"] = numbers.astype(np.int64)
    _refuse_leaks(folds, file, "")
    several = folds.groupby("image_id")["fold"].transform("nunique") > 1
    refuse_rows(several, None, file, "rows put one image into several folds; keep one row of each image")
    fold_of = folds.drop_duplicates("image_id").set_index("image_id")["fold"]
    refuse_rows(~frame["image_id"].isin(fold_of.index), frame["image_id"], file, "images have no fold")
    matched = frame[["patient_id", "image_id"]].copy()
    matched["fold"] = matched["image_id"].map(fold_of).astype(np.int64)
    # One patient may stand under two names in the file, and under one in the table.
    _refuse_leaks(matched, file, "by the patient_id of the table, ")
    found = sorted(matched["fold"].unique())
    if found != list(range(len(found))) or len(found) < 2:
        raise TableError(f"{file}: folds are numbered {found}; expected 0, 1, … without a gap, two at least")
    return matched.reset_index(drop=True)


def folds_for(frame: pd.DataFrame, settings: FoldSettings) -> pd.DataFrame:
    """The folds of a table: from ``settings.file`` where one is given, else made."""
    if settings.file:
        return load_folds(settings.file, frame)
    return make_folds(frame, settings.n_folds, settings.seed)


def folds_hash(folds: pd.DataFrame) -> str:
    """12 hexadecimal characters over image and fold: the *folds* hash. It does not depend on the rows' order."""
    return digest(sorted(f"{image}|{fold}" for image, fold in zip(folds["image_id"], folds["fold"], strict=True)))


def write_folds(folds: pd.DataFrame, out: str | Path) -> None:
    """Writes patient_id, image_id, fold as CSV, atomically."""
    with atomic_path(out) as temporary:
        folds[list(COLUMNS)].to_csv(temporary, index=False)


def leaking_patients(splits: pd.DataFrame) -> list[str]:
    """Patients (column patient_id, text) in more than one fold, sorted; `10102`, ` 10102` and `10102.0` are one."""
    patients = splits["patient_id"].str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    counts = splits.groupby(patients)["fold"].nunique()
    return sorted(counts.index[counts > 1])


def check_splits(splits: str | Path = "", train: str | Path = "", valid: str | Path = "") -> list[str]:
    """Patients that leak in anybody's split files: one CSV with patient_id and fold, or two with patient_id.

    Raises:
        TableError: A file without patient_id or fold, or with rows that lack one: they could hide a leak.
    """
    if splits:
        frame = read_csv(splits, ("patient_id", "fold"))
    else:
        sides = [read_csv(train, ("patient_id",)), read_csv(valid, ("patient_id",))]
        frame = pd.concat([side.assign(fold=i) for i, side in enumerate(sides)])
    return leaking_patients(frame)


def summarise(folds: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Per fold: images, patients and, where labels are known, positive images and positive patients."""
    cancer = frame["cancer"].eq(1).to_numpy() if "cancer" in frame else np.zeros(len(frame), dtype=np.bool_)
    by_fold = folds.assign(positive=folds["patient_id"].where(cancer)).groupby("fold")
    table = by_fold.agg({"patient_id": ["size", "nunique"], "positive": ["count", "nunique"]})
    columns = ["images", "patients", "positive images", "positive patients"]
    return table.set_axis(columns, axis=1).reset_index()


def _refuse_leaks(folds: pd.DataFrame, file: str | Path, by: str) -> None:
    leaks = leaking_patients(folds)
    if leaks:
        raise TableError(
            f"{file}: {by}{len(leaks)} patients stand in more than one fold (first: {first_few(leaks, 5)})"
        )
