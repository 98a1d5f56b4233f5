"""A CSV of labels joined to images that were found: it fills in what their headers leave out."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Self

import pandas as pd

from rsna.archive.patients import name_patients
from rsna.dataset.exams import EXAM, exams_of, iso_dates, order_exams
from rsna.dataset.table import LABELS, TableError, read_rows, refuse_rows
from rsna.dataset.table_inputs import read_years
from rsna.dataset.targets import as_answer
from rsna.files import first_few
from rsna.table_file import map_distinct

_EXAM = ("exam_id", "exam_date", "exam_number")
"""The exam, by what two sources agree on best: each numbers the exams that it knows."""

_KEYS = (
    ["image_id"],
    *(["patient_id", exam, *side] for exam in _EXAM for side in (["laterality"], [])),
    ["patient_id", "laterality"],
    ["patient_id"],
    ["exam_id", "laterality"],
    ["exam_id"],
)
"""What labels may be joined on: the first that the CSV has, and of those with an exam the first that meets an image."""

_GIVEN = "\0given"
"""Behind the name of a column that headers and CSV both have, while they are compared."""

_SHOWN = 3
"""Examples that a note lists."""

INTERNAL = ("exam_time", "issuer", "institution", "birth_date", "sex", "uid", "intent")
"""What is read of a header and stands in no table."""

_OWN = "\0own "
"""Ahead of the name of a column of the CSV that is called as one of these, until they are gone."""


def _answer(value: Any) -> float:
    """Yes or no in any words → 1, 0; NaN for anything else."""
    said = as_answer(value)
    return float("nan") if said is None else float(said)


def _whole(value: Any) -> float:
    """A whole number, NaN for anything else."""
    number = float(pd.to_numeric(value, errors="coerce"))
    return number if number.is_integer() else float("nan")


_NUMBERS: dict[str, Callable[[Any], float]] = {"age": read_years, "implant": _answer, "exam_number": _whole}
"""Columns of numbers, and how a cell is read."""


def name_exams(
    images: pd.DataFrame, root: str, trusted: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, list[str]]:
    """:func:`rsna.archive.patients.name_patients`, and exam_date and exam_number of every image."""
    images, notes = name_patients(images, root, trusted)
    order = order_exams(images, images["exam_time"]).fillna(images["exam_number"])
    return images.assign(exam_date=iso_dates(images["exam_time"].str[:8]), exam_number=order), notes


@dataclass(frozen=True, eq=False)
class Labels:
    """A CSV of labels, as it was read."""

    file: Path
    table: pd.DataFrame
    """Its rows, of images, exams or patients."""
    notes: list[str]
    """What was guessed where it was read."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads the CSV.

        Raises:
            TableError: See :func:`rsna.dataset.table.read_rows`; a label that is none, no column to be joined on.
        """
        notes: list[str] = []
        # Where the images are is known better from having found them.
        table = read_rows(file, notes).drop(columns="path", errors="ignore")
        for label in (one for one in LABELS if one in table.columns):
            refuse_rows(table[label].eq(-1), None, file, f"rows have a {label} outside {{0, 1}}; empty is unknown")
        if not any(set(keys) <= set(table.columns) for keys in _KEYS):
            raise TableError(f"{file}: needs a column image_id, patient_id or exam_id to be joined on")
        return cls(file, table, notes)

    @property
    def image_ids(self) -> frozenset[str]:
        """Images that it has rows of; none where it is of exams or patients."""
        return frozenset(self.table["image_id"].dropna()) if "image_id" in self.table else frozenset()


def join_labels(images: pd.DataFrame, given: Labels, root: str) -> tuple[pd.DataFrame, list[str]]:
    """Adds the columns of labels; where header and CSV both have a value, the header's stands.

    Only whom an image is of is better known to labels of images than to headers whose ids were to be guessed.

    Args:
        images: What :func:`name_exams` takes, and image_id.
        given: Labels as :func:`rsna.archive.archive.scan_archive` takes them.
        root: As in :func:`rsna.archive.patients.name_patients`.

    Returns:
        The images in their own order, reindexed, and notes on what was guessed and what did not fit.
    """
    labels, table, notes = given.file, given.table.copy(), [*given.notes]
    if "exam_date" in table.columns:
        table["exam_date"] = iso_dates(table["exam_date"])
    table = table.rename(columns={name: _OWN + name for name in INTERNAL})
    notes += _read_numbers(table, labels)
    trusted = frozenset(table["patient_id"].dropna()) if "patient_id" in table.columns else frozenset()
    images = images.assign(exam_date=iso_dates(images["exam_time"].str[:8]))
    by_image = "image_id" in table.columns
    said = images["patient_id"]
    if by_image:
        images = images.assign(patient_id=said.mask(name_patients(images, root)[0]["patient_id"].ne(said), ""))
    else:
        images, lines = name_exams(_in_named_folders(images, trusted), root, trusted)
        notes += lines
    keys = _choose_keys(images, table, labels)
    if "exam_number" in keys:
        table, lines = _numbered_alike(images, table, labels)
        notes += lines
    if "laterality" in keys:
        images, lines = _sides(images, table, keys, labels)
        notes += lines
    joined, lines = _merge(images, table, keys, labels)
    notes += lines
    if by_image:
        number = joined["exam_number"].astype("string").fillna("")
        joined["exam_id"] = joined["exam_id"].mask(joined["exam_id"].eq(""), number)
        joined["exam_time"] = joined["exam_time"].mask(
            joined["exam_time"].eq(""), joined["exam_date"].str.replace("-", "")
        )
        joined["patient_id"] = joined["patient_id"].mask(joined["patient_id"].eq(""), said)
        joined, lines = name_exams(_in_named_folders(joined, trusted), root, trusted)
        notes += lines
    else:
        notes += _several_exams(joined, table, keys, labels)
    return joined, notes + _unit_notes(joined, keys, labels)


def without_internal(images: pd.DataFrame) -> pd.DataFrame:
    """Images without what is read of headers and stands in no table, and with the CSV's columns of these names."""
    return images.drop(columns=[*INTERNAL]).rename(columns=lambda name: str(name).removeprefix(_OWN))


def _read_numbers(table: pd.DataFrame, labels: Path) -> list[str]:
    """Reads columns of numbers, in place; lines on values that are none."""
    lines = []
    for column, read in _NUMBERS.items():
        if column not in table.columns:
            continue
        given = table[column]
        table[column] = numbers = map_distinct(given, read).astype("Float64")
        if (odd := given.notna() & numbers.isna()).any():
            shown = first_few(given[odd].drop_duplicates())
            lines.append(f"{int(odd.sum()):,} rows of {labels} have {shown} as {column}, which says nothing")
        if column == "exam_number":
            table[column] = numbers.astype("Int64")
    return lines


def _several_exams(joined: pd.DataFrame, table: pd.DataFrame, keys: list[str], labels: Path) -> list[str]:
    """A line where one row of labels is of several exams of the folder: of a patient, or of a day."""
    owner = [key for key in keys if key != "laterality"]
    if {"exam_id", "exam_number"} & {*owner}:
        return []
    exams = exams_of(joined).groupby(_rows(joined, owner)).nunique()
    several = exams.index[exams.gt(1) & exams.index.isin(_rows(table, owner))]
    if several.empty:
        return []
    dated = "exam_date" in owner
    what = "patients have several exams of one day, or without one" if dated else "patients have several exams"
    mend = "exam_id" if dated else "exam_id, exam_date or exam_number"
    shown = first_few(several.str.replace("\0", " ").str.strip())
    return [
        f"{len(several):,} {what}, and {labels} does not say which it means: each has its labels (first: {shown}); "
        f"add a column {mend} to it"
    ]


def _unit_notes(joined: pd.DataFrame, keys: list[str], labels: Path) -> list[str]:
    """What one label is of; and that a label of a patient does not say in which breast."""
    told = [label for label in LABELS if label in joined.columns]
    if not told:
        return []
    owner = "an exam" if set(EXAM) & set(keys) else "a patient"
    unit = "an image" if "image_id" in keys else f"a breast of {owner}" if "laterality" in keys else owner
    notes = [f"{labels}: {', '.join(told)} is the label of {unit} (joined on {' and '.join(keys)})"]
    sides = joined[joined[told[0]].eq(1).fillna(False)].groupby(_rows(joined, keys))["laterality"].nunique()
    if unit == owner and (both := int(sides.gt(1).sum())):
        notes.append(
            f"{labels}: does not say in which breast, so {both:,} of {len(sides):,} with {told[0]} have it in both, "
            "one of them mostly wrong; add a column laterality"
        )
    return notes


def _in_named_folders(images: pd.DataFrame, trusted: frozenset[str]) -> pd.DataFrame:
    """Images without a patient, in a folder that is called as one patient of the labels is, are of this patient."""
    found = [
        {*PurePath(path).parts[:-1]} & trusted if not patient else set()
        for path, patient in zip(images["path"], images["patient_id"], strict=True)
    ]
    names = pd.Series([next(iter(one)) if len(one) == 1 else "" for one in found], index=images.index, dtype=object)
    return images.assign(patient_id=images["patient_id"].mask(names.ne(""), names))


def _numbered_alike(images: pd.DataFrame, table: pd.DataFrame, labels: Path) -> tuple[pd.DataFrame, list[str]]:
    """Rows but those of patients whose exams have other numbers in the labels than in the folder.

    One counts from 0, or exams that the other lacks: exam 1 of the one may be any of the other.
    """
    given, found = (
        {str(one): {*of_one.astype("string").fillna("")} for one, of_one in rows.groupby("patient_id")["exam_number"]}
        for rows in (table, images)
    )
    unlike = [one for one in given if one in found and (given[one] != found[one] or "" in given[one])]
    if not unlike:
        return table, []
    theirs, ours = (first_few(sorted(numbers[unlike[0]] - {""})) or "unknown" for numbers in (given, found))
    line = (
        f"{labels}: numbers the exams of {len(unlike):,} patients otherwise than those that are in the folder, so none "
        f"of these has a label (first: {unlike[0]}: {theirs}, in the folder {ours}); add a column exam_date or exam_id"
    )
    if not {*given} & {*found} - {*unlike}:
        raise TableError(line)
    return table[~table["patient_id"].isin(unlike)], [line]


def _choose_keys(images: pd.DataFrame, table: pd.DataFrame, labels: Path) -> list[str]:
    having = [keys for keys in _KEYS if set(keys) <= set(table.columns)]
    keys = having[0]
    if set(keys) & set(EXAM):
        # Without its side, which headers may lack and labels supply.
        keyed = ((one, [key for key in one if key != "laterality"]) for one in having if set(one) & set(EXAM))
        meeting = (one for one, key in keyed if _rows(table, key).isin(_rows(images, key)).any())
        # A day may have two exams.
        keys = next((one for one in meeting if not table.duplicated(one).any()), keys)
    names = _rows(table, keys, "_")
    refuse_rows(table.duplicated(keys), names, labels, f"rows repeat an earlier {' and '.join(keys)}; keep one of each")
    return keys


def _rows(frame: pd.DataFrame, keys: list[str], between: str = "\0") -> pd.Series:
    return frame[keys].astype("string").fillna("").agg(between.join, axis=1)


def _sides(images: pd.DataFrame, table: pd.DataFrame, keys: list[str], labels: Path) -> tuple[pd.DataFrame, list[str]]:
    """Sides that headers lack, of patients (or exams) of which the labels name one alone.

    Not where these images show a view twice: they may well be of both breasts.
    """
    others = [key for key in keys if key != "laterality"]
    sides = table["laterality"].where(table["laterality"].isin(["L", "R"])).groupby(_rows(table, others))
    lacks = images["laterality"].eq("")
    views = images[lacks].groupby(["patient_id", "exam_id", "view"])["path"].transform("size")
    twice = views.gt(1) & images["view"].ne("")
    of_exam = [images["patient_id"], images["exam_id"]]
    clear = lacks & ~(lacks & twice.reindex(images.index, fill_value=False)).groupby(of_exam).transform("any")
    given = _rows(images, others).map(sides.first()[sides.nunique() == 1])
    filled = clear & given.notna()
    images = images.assign(laterality=images["laterality"].mask(filled, given))
    return images, _side_notes(images.loc[filled, "path"], labels)


def _side_notes(paths: pd.Series, labels: Path) -> list[str]:
    if paths.empty:
        return []
    return [f"{len(paths):,} images say no side, and have that of their row in {labels} (first: {first_few(paths)})"]


def _merge(images: pd.DataFrame, table: pd.DataFrame, keys: list[str], labels: Path) -> tuple[pd.DataFrame, list[str]]:
    key, names = " and ".join(keys), _rows(table, keys, "_")
    joined = images.merge(table, on=keys, how="left", suffixes=("", _GIVEN), indicator="\0side")
    bare = joined.pop("\0side").eq("left_only")
    if bare.all():
        found = first_few(_rows(images, keys, "_").unique())
        raise TableError(
            f"{labels}: no {key} of it is in the folder (first: {first_few(names)}; in the folder: {found})"
        )
    notes = []
    if bare.any():
        first = first_few(joined["path"][bare])
        notes.append(f"{int(bare.sum()):,} images have no row in {labels} (first: {first})")
    idle = ~table.set_index(keys).index.isin(images.set_index(keys).index)
    if idle.any():
        notes.append(f"{int(idle.sum()):,} rows of {labels} have no image (first: {first_few(names[idle])})")
    for column in [c for c in images.columns if c + _GIVEN in joined.columns]:
        header, given = joined[column], joined[column + _GIVEN]
        joined[column], differs = _fill(header, given)
        if column == "laterality":
            notes += _side_notes(joined.loc[header.eq("") & joined[column].ne(""), "path"], labels)
        if differs.any():
            sides = zip(joined["image_id"][differs], _text(header[differs]), _text(given[differs]), strict=True)
            shown = "; ".join(f"{image_id}: {ours}, not {theirs}" for image_id, ours, theirs in islice(sides, _SHOWN))
            notes.append(
                f"{int(differs.sum()):,} images have another {column} in {labels} than in their header, which stands "
                f"({shown})"
            )
    added = [c for c in table.columns if c not in images.columns]
    # Whole numbers stay such where some images have no label.
    return joined[[*images.columns, *added]].assign(**joined[added].convert_dtypes()), notes


def _fill(header: pd.Series, given: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The header's value, or the given one where there is none; and where the two differ."""
    if pd.api.types.is_numeric_dtype(header):
        given = pd.to_numeric(given, errors="coerce").astype("Float64")
        differs = header.ne(given).fillna(False)
        return header.astype("Float64").fillna(given).astype(float).convert_dtypes(), differs.astype(bool)
    text, said = _text(given), header.ne("")
    return header.where(said, text).astype(str), said & text.ne("") & header.ne(text)


def _text(values: pd.Series) -> pd.Series:
    """Values as a person writes them: a whole number has no decimals, a missing value is ""."""
    text = values.astype("string").str.strip().fillna("")
    return text.str.removesuffix(".0") if pd.api.types.is_numeric_dtype(values) else text
