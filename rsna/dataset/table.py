"""The table of images: one row an image, the checks that each passes, the *dataset* hash, and a part for a try."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from rsna.config.data import Sampling
from rsna.dataset.exams import EXAM, exams_of, name_breasts, names_exams
from rsna.dataset.hashing import digest_of, rows_with_sizes

# Most rooms know tables by this module.
from rsna.table_file import TableError as TableError
from rsna.table_file import one_line, read_table
from rsna.table_file import refuse_rows as refuse_rows
from rsna.table_file import require_columns as require_columns

if TYPE_CHECKING:
    from rsna.prepare.value_range import RangeFound

LabelUnit = Literal["image", "breast", "patient"]
"""What one label is of."""

SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg", ".pgm")
"""Endings of images; of several files of one name the first wins."""

LABELS = ("cancer", "biopsy", "invasive", "difficult_negative_case")
"""Columns whose values are 0, 1 or missing."""

REQUIRED = ("patient_id", "image_id", "laterality")
"""Columns without which nothing can be done."""

HASHED = (
    "patient_id", *EXAM, "image_id", "laterality", "view", *LABELS, "cancer_from", "BIRADS", "density", "age",
    "implant", "site_id", "machine_id",
)  # fmt: skip
"""What training learns from, or writes beside its predictions to be scored by: where it is another, so is the set."""

_POSITIVES = 8
"""Positive patients that a part has where the set has them: two in each of four folds, so that each can be scored."""


@dataclass(frozen=True)
class ImageTable:
    """A set of images with the folder it came from."""

    name: str
    """Short name of the set; caches and runs carry it, so that results of two sets never mix."""
    root: Path
    """Folder that holds the table and the images."""
    frame: pd.DataFrame = field(repr=False)
    """One row an image: patient_id, image_id, laterality, view (str), path (str), prediction_id, exam_id where exams
    are known, and other columns of the source; labels are float with NaN for missing."""
    sampling: Sampling = "population"
    """Whether prevalence in this set means anything."""
    extra: pd.DataFrame | None = field(default=None, repr=False)
    """Images that are only ever trained on, in the columns of ``frame``."""
    notes: tuple[str, ...] = ()
    """Lines for a person: what was interpreted while the set was read, and what part of it this is."""

    range_found: "RangeFound | None" = field(default=None, repr=False)
    """What its files without a window need, as measured, for the cache to remember."""

    @cached_property
    def hash(self) -> str:
        """12 hexadecimal characters over ``HASHED`` and file sizes: the *dataset* hash. Looks at every file, once.

        Where sets that are only trained on weigh differently, also over which image weighs what: the configuration
        gives weights by the place of a set, and folders may move.
        """
        frames = [self.frame] if self.extra is None else [self.frame, self.extra]
        weights = frames[-1].get("loss_weight", pd.Series())
        columns = (*HASHED, "loss_weight") if weights.nunique() > 1 else HASHED
        return digest_of([rows_with_sizes(frame, columns) for frame in frames], nested=True)

    def as_one(self) -> "ImageTable":
        """The table with the sets that are only trained on as parts of it, to be validated, too.

        Their patients and breasts are called after their set, since equal numbers are other people there.
        """
        if self.extra is None:
            return self
        extra = self.extra.assign(patient_id=self.extra["source_set"] + ":" + self.extra["patient_id"])
        extra["prediction_id"] = name_breasts(extra)
        return replace(self, frame=pd.concat([self.frame, extra], ignore_index=True), extra=None)

    @property
    def images(self) -> pd.DataFrame:
        """Every image, those only trained on behind the others."""
        if self.extra is None:
            return self.frame
        return pd.concat([self.frame, self.extra], ignore_index=True)


def read_rows(
    file: str | Path,
    notes: list[str],
    columns: tuple[str, ...] = (),
    as_is: tuple[str, ...] = (),
    sheet: str = "",
    ids: tuple[str, ...] = (),
) -> pd.DataFrame:
    """:func:`rsna.table_file.read_table` with labels as 0, 1 and NaN; −1 stands for what is none of them.

    Raises:
        TableError: See there.
    """
    frame = read_table(file, notes, columns, as_is, sheet, ids)
    return frame.assign(**{label: _read_label(frame[label]) for label in LABELS if label in frame.columns})


def check_frame(frame: pd.DataFrame, source: str | Path, labels: Mapping[str, LabelUnit] | None = None) -> pd.DataFrame:
    """Checks ids and labels, adds ``prediction_id`` and fills ``view``; returns the frame in its own order, reindexed.

    Args:
        frame: Columns of :mod:`rsna.dataset.adapters`.
        source: The table's file, for messages.
        labels: What one label is of, by column; cancer is a breast's.

    Raises:
        TableError: A missing id or side, an image_id or a file in two rows, a label outside {0, 1}, two labels for one
            breast.
    """
    ids = frame["image_id"]
    for column in REQUIRED:
        refuse_rows(frame[column].isna(), ids, source, f"rows have no {column}; fill it in")
    refuse_rows(ids.duplicated(), ids, source, "image_ids stand in more than one row; keep one of each")
    if "path" in frame.columns:
        again = frame["path"].duplicated() & frame["path"].notna() & frame["path"].ne("")
        refuse_rows(again, ids, source, "rows name a file that an earlier row names, too; keep one row of each file")
    refuse_rows(~frame["laterality"].isin(["L", "R"]), ids, source, "rows have a laterality other than L and R")
    for label in LABELS:
        if label in frame.columns:
            wrong = frame[label].notna() & ~frame[label].isin([0, 1])
            refuse_rows(wrong, ids, source, f"rows have a {label} outside {{0, 1}}")
    refuse_half_exams(frame, source)
    frame["prediction_id"] = name_breasts(frame)
    for label, unit in ({"cancer": "breast"} if labels is None else labels).items():
        if label not in frame.columns or unit == "image":
            continue
        owners = frame["prediction_id"] if unit == "breast" else frame["patient_id"]
        groups = frame.groupby(owners)[label]
        # Of 0 and 1 these two differ where there are both; to count values takes five times as long.
        several = groups.transform("min") < groups.transform("max")
        refuse_rows(several & ~owners.duplicated(), owners, source,
                    f"{unit}s carry two labels; every image of a {unit} has the {unit}'s {label}")  # fmt: skip
    frame["view"] = frame["view"].fillna("") if "view" in frame.columns else ""
    return frame.reset_index(drop=True)


def refuse_half_exams(frame: pd.DataFrame, source: str | Path) -> None:
    """Raises a TableError where of a patient's rows some have an exam and others none: theirs is not known."""
    if not names_exams(frame):
        return
    exam = exams_of(frame)
    several = exam.groupby(frame["patient_id"]).transform("nunique") > 1
    what = f"rows have no {EXAM[0]}, where other rows of their patients have one; fill it in"
    refuse_rows(several & exam.eq(""), frame["image_id"], source, what)


def image_id_of(path: str | Path) -> str:
    """A file's name without the ending of an image, its blanks as tables give them back; any other name is whole."""
    path = Path(path)
    return one_line(path.stem if path.suffix.lower() in (*SUFFIXES, ".dicom") else path.name)


def limit_table(table: ImageTable, limit: int, seed: int = 0) -> ImageTable:
    """A part of a set for a try: whole patients drawn at random, at most ``limit`` images; likewise of ``extra``.

    Positive patients keep about their share. A part in which that would be fewer than eight has more of them, up to
    every second patient, and counts as enriched. The part depends on the set of rows and the seed, not on their order;
    a larger one holds the smaller ones.

    Raises:
        TableError: The first patient drawn has more images than that.
    """
    frame, said, enriched = _draw(table.frame, limit, seed, "")
    notes, extra = table.notes + said, table.extra
    if extra is not None:
        extra, said, _ = _draw(extra, limit, seed, "of data.extra ")
        notes += said
    return replace(table, frame=frame, extra=extra, notes=notes, sampling="enriched" if enriched else table.sampling)


def _draw(frame: pd.DataFrame, limit: int, seed: int, what: str) -> tuple[pd.DataFrame, tuple[str, ...], bool]:
    """The part, the line that says so unless it is the whole, and whether it has more positives than its share."""
    if len(frame) <= limit:
        return frame, (), False
    labels = frame["cancer"] if "cancer" in frame.columns else pd.Series(np.nan, index=frame.index)
    patients = frame.assign(cancer=labels.eq(1)).groupby("patient_id", sort=True)["cancer"].agg(["size", "any"])
    patients = patients.iloc[np.random.default_rng(seed).permutation(len(patients))]
    positive = patients["any"]
    # Both strata are spread evenly over (0, 1), so every beginning of the order has the shares of the whole.
    number = patients.groupby(positive).cumcount()
    place = (number + 0.5) / positive.map(positive.value_counts())
    # The first positives come no later than the negative of the same number.
    early = (number + 0.5) / max(int((~positive).sum()), 1)
    place = place.mask(positive & (number < _POSITIVES), np.minimum(place, early))
    patients = patients.assign(place=place).sort_values(["place", "any"], ascending=[True, False], kind="stable")
    chosen = patients[patients["size"].cumsum() <= limit]
    if chosen.empty:
        raise TableError(f"data.limit: {limit} images are fewer than one patient has; take more")
    part = frame[frame["patient_id"].isin(chosen.index)].reset_index(drop=True)
    positives = int(chosen["any"].sum())
    line = (
        f"data.limit={limit}: {what}{len(part):,} of {len(frame):,} images, {len(chosen):,} of {len(patients):,} "
        f"patients ({positives:,} of {int(positive.sum()):,} with cancer)"
    )
    return part, (line,), positives > np.ceil(positive.mean() * len(chosen))


def _read_label(column: pd.Series) -> pd.Series:
    """0, 1, false and true in any spelling → 0.0, 1.0; missing → NaN; anything else → −1, which the checks name."""
    if pd.api.types.is_numeric_dtype(column.dtype) and column.isin([0, 1]).all():
        return column.astype(float)
    text = column.astype("string").str.strip().str.lower()
    known = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
    labels = text.map(known).astype(float)
    return labels.mask(labels.isna() & text.notna(), -1.0)
