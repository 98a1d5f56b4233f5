"""What adapters of public sets share: files below a folder, headers, ids of repeating names, codes, BI-RADS."""

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rsna.dataset.identities import age_in_years
from rsna.dataset.table import SUFFIXES, refuse_rows
from rsna.dataset.walk import walk_files
from rsna.dicom import DicomError, open_mammogram
from rsna.files import first_few, first_line
from rsna.parallel.progress import Progress


@dataclass(frozen=True)
class Files:
    """Images below a folder."""

    paths: dict[str, str]
    """Path below the folder, with / between its parts → the whole path; in order."""
    unreadable: tuple[OSError, ...]
    """What could not be looked at, as :attr:`rsna.dataset.adapters.Listing.unreadable` has it."""

    def besides(self, paths: Iterable[str]) -> list[str]:
        """Those, below the folder, that are not among these whole paths."""
        known = set(paths)
        return [below for below, path in self.paths.items() if path not in known]

    def by_name(self) -> dict[str, str]:
        """Name without its ending → path: for sets in which no name repeats; of several the first counts."""
        names: dict[str, str] = {}
        for path in self.paths.values():
            names.setdefault(os.path.splitext(os.path.basename(path))[0], path)  # noqa: PTH119
        return names


def find_images(folder: Path, suffixes: Iterable[str] = (*SUFFIXES, ".dicom")) -> Files:
    """Every file below a folder whose name ends so, in capitals or not; links are followed, what is hidden is not.

    Raises:
        TableError: See :func:`rsna.dataset.walk.require_text`.
    """
    wanted = {suffix.lower() for suffix in suffixes}
    if not folder.is_dir():
        return Files({}, ())
    tree = walk_files(folder)
    images = [path for path in tree.files if path.suffix.lower() in wanted]
    failures = tuple(OSError(errno.EIO, reason, str(folder / path)) for path, reason in tree.failures)
    return Files({path.relative_to(folder).as_posix(): str(path) for path in images}, failures)


def paths_of(names: pd.Series, paths: Mapping[str, str]) -> pd.Series:
    """The path of each name, "" where there is none."""
    return names.map(lambda name: paths.get(name, "")).astype(object)


def rowless(names: Iterable[str], source: str | Path) -> list[str]:
    """A line on images that are there and in no row of a table, as where that was cut off; none where all have one."""
    rest = list(names)
    return [f"{len(rest):,} images have no row in {source}: left out (first: {first_few(rest)})"] if rest else []


def find_table(root: Path, *names: str) -> Path | None:
    """The first of these files that a folder has, its name in capitals or not: an .xlsx, or the .csv saved of it."""
    if not root.is_dir():
        return None
    wanted = {name.casefold() for name in names}
    # By names alone first: a folder of 100,000 images is asked for the tables of every set.
    alike = [name for name in os.listdir(root) if name.casefold() in wanted]  # noqa: PTH208
    there = {name.casefold(): root / name for name in sorted(alike, reverse=True) if (root / name).is_file()}
    return next((there[name.casefold()] for name in names if name.casefold() in there), None)


def path_id(path: str) -> str:
    """A path below a folder as an image_id, for sets whose file names repeat: its parts joined by _, no ending.

    Unlike a running number, it does not depend on which other files were downloaded.
    """
    return os.path.splitext(path)[0].replace("/", "_")


def read_headers(paths: Iterable[str]) -> tuple[pd.DataFrame, tuple[OSError, ...]]:
    """What headers say, a row a path in the given order, "" where they do not; and the files that cannot be read.

    Returns:
        patient_id, study_uid, laterality (L, R), view, exam_time and machine_id as text, age in whole years, missing
        where unknown, indexed by path; and an OSError for each such file.
    """
    rows: dict[str, dict[str, object]] = {}
    unreadable: list[OSError] = []
    paths = list(paths)
    unsaid = dict.fromkeys(("patient_id", "study_uid", "laterality", "view", "exam_time", "machine_id"), "")
    with Progress("read headers", len(paths), "files") as progress:
        for path in progress.over(paths):
            rows[path] = {**unsaid, "age": None}
            try:
                tags = open_mammogram(path).tags
            except (DicomError, OSError) as error:
                unreadable.append(OSError(errno.EIO, first_line(error), path))
                continue
            rows[path] = {
                "patient_id": tags.patient_id,
                "study_uid": tags.study_instance_uid,
                "laterality": tags.laterality if tags.laterality in ("L", "R") else "",
                "view": tags.view,
                "exam_time": tags.exam_time,
                "machine_id": tags.machine,
                "age": age_in_years(tags.patient_age),
            }
    frame = pd.DataFrame(list(rows.values()), index=list(rows), columns=[*unsaid, "age"])
    return frame.astype({"age": "Int64"}), tuple(unreadable)


def values_of(codes: pd.Series, known: Mapping[str, float], names: pd.Series, source: str | Path) -> pd.Series:
    """What a publisher's codes stand for, in capitals or not, as `1` or `1.0`; NaN for an empty cell.

    Args:
        codes: A column of the table, whose name is that of the column.
        known: Code → what it stands for.
        names: Of the rows, for messages.
        source: The table's file, for messages.

    Raises:
        TableError: Another code. Of what nobody has heard of, nobody knows that it is free of cancer.
    """
    text = codes.astype("string").str.strip().str.casefold().str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    meaning = {code.casefold(): value for code, value in known.items()}
    strange = text.notna() & ~text.isin([*meaning])
    what = f"rows have a {codes.name} other than {', '.join(known)}: {first_few(sorted(text[strange].unique()))}"
    refuse_rows(strange, names, source, what)
    return text.map(meaning).astype(float)


def birads_category(values: pd.Series) -> pd.Series:
    """`BI-RADS 4`, `4a`, `5.0` → 4, 4, 5 as Int64; missing where there is no category from 0 to 6."""
    text = values.astype("string").str.extract(r"(?i)^\s*(?:bi-?rads)?[\s:]*([0-6])\s*(?:[abc]|\.0+)?\s*$")[0]
    return text.astype("Int64")


def birads_cancer(category: pd.Series, cancer_from: str) -> pd.Series:
    """0, 1, NaN: birads5 is category 5 and 6, birads45 category 4, too; 0 (incomplete) and missing ones are unknown.

    Raises:
        ValueError: Another definition.
    """
    least = {"birads5": 5, "birads45": 4}.get(cancer_from)
    if least is None:
        raise ValueError(f"{cancer_from} is no definition by BI-RADS")
    known = category.where(category.ge(1))
    return known.ge(least).astype("Float64").astype(float)


def breast_maximum(frame: pd.DataFrame, label: str, keys: list[str], notes: list[str], what: str) -> pd.Series:
    """The label of a breast from its rows: 1 where any is 1, NaN where none is known; a note on what it changed.

    Args:
        frame: One row an image, or a lesion.
        label: Column of 0, 1, NaN.
        keys: Columns that tell breasts apart.
        notes: A line is added where rows of a breast differ.
        what: What a row's own label is of: lesion, image.
    """
    highest = frame.groupby(keys, dropna=False)[label].transform("max")
    changed = highest.eq(1) & frame[label].ne(1)
    if changed.any():
        breasts = frame.loc[changed, keys].drop_duplicates()
        first = "_".join(breasts.iloc[0].astype(str))
        notes.append(
            f"{len(breasts):,} breasts have {label} 1 from another {what} than some of theirs, which have it, too "
            f"(first: {first})"
        )
    return highest


def density_letter(values: pd.Series) -> pd.Series:
    """`DENSITY B`, `2`, `2.0`, `b` → B; NaN for anything else."""
    found = values.astype("string").str.extract(r"(?i)^\s*(?:density)?\s*([a-d1-4])(?:\.0+)?\s*$")
    letter = found[0].str.upper().replace({"1": "A", "2": "B", "3": "C", "4": "D"})
    return letter.astype(object).where(letter.notna(), None)
