"""Cells of a column → ids, sides, numbers: what people and spreadsheets write, with a line on what was guessed."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rsna.files import first_few
from rsna.table_file.errors import EXACT, refuse_rows

IDS = ("patient_id", "image_id", "prediction_id", "exam_id")
"""Columns of names. `010006` and `10006` are two, and `NA` is one: only an empty cell is missing."""

TEXT = ("path", "exam_date", "description")
"""Columns of text that is kept as it is, whatever it looks like."""

PLACES = ("site_id", "machine_id")
"""Columns of names that are numbers where no two would become one: machine 49 of one table is 49.0 of another."""

_MISSING = {"", "na", "n/a", "nan", "-nan", "none", "null", "<na>", "#n/a", "#na", "#n/a n/a"}
"""What stands for no value where a value is no name."""

_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}


def one_line(name: str) -> str:
    """An id as it is compared: one blank for any between its words, line ends included; without what has no width; and
    a letter with its accent as one, where a Mac's disk has two."""
    if name.isascii() and name.isalnum():
        return name
    return unicodedata.normalize("NFC", " ".join(re.sub("[\ufeff\u200b-\u200f\u2060]", "", name).split()))


def names(column: pd.Series, file: str | Path, said: list[str]) -> pd.Series:
    """Ids: text without what a number's type, a spreadsheet or a hand added to it."""
    name = column.name
    if pd.api.types.is_float_dtype(column.dtype) and bool((column.dropna() % 1 == 0).all()):
        exact = bool(column.dropna().abs().le(EXACT).all())
        column = column.astype("Int64") if exact else column.map("{:E}".format, na_action="ignore")
    given = column.astype("string").str.strip()
    plain = not given.str.contains(r"[^!-~]", na=False).any()  # for which nothing is to be done
    text = (given if plain else given.map(one_line, na_action="ignore")).astype("str")
    text = text.mask(text.eq(""))
    if not plain and text.nunique() < given[text.notna()].nunique():
        once = given[text.notna()].drop_duplicates()
        alike = [repr(one) for one in once[text[once.index].duplicated(keep=False)]]
        said.append(f"{name} {first_few(alike)} differ in blanks or accents alone, and are one")
    formula = text.str.fullmatch(r'="[^"]*"', na=False)  # how a spreadsheet is kept from taking 007 for a number
    if formula.any():
        said.append(f"{name} {text[formula].iloc[0]} is what stands between the quotes")
        text = text.mask(formula, text.str[2:-1])
    rounded = text.str.fullmatch(r"\d(\.\d+)?[eE]\+\d+", na=False)
    refuse_rows(
        rounded, None, file, f"rows have a {name} that a spreadsheet rounded, such as 1.7E+18; export it as text"
    )
    present = text.dropna()
    if name == "prediction_id":
        # {patient_id}_{laterality}
        side = r"_(l|left|r|right)$"
        mended = present.str.replace(
            side, lambda match: f"_{_SIDES[match[1].lower()]}", regex=True, flags=re.IGNORECASE
        )
        if _are_whole(mended, r"_[LR]"):
            mended = _whole(mended, r"\.0+(?=_)", said)
    else:
        mended = _whole(present, r"\.0+$", said) if _are_whole(present) else present
    changed = np.flatnonzero(mended.ne(present))
    if len(changed):
        given, taken = present.iloc[changed[0]], mended.iloc[changed[0]]
        said.append(f"{name} {given} is read as {taken} (in {len(changed):,} rows alike)")
    odd = present[present.str.lower().isin(_MISSING)]
    if len(odd):
        said.append(f"{name} {first_few(odd.unique())} is an id, not a missing one (in {len(odd):,} rows)")
    return mended.reindex(text.index)


def _are_whole(ids: pd.Series, behind: str = "") -> bool:
    """Whether ids are whole numbers, but for what programs write for none, for which they make the others 10006.0."""
    plain = ids[~ids.str.replace(f"{behind}$", "", regex=True).str.lower().isin(_MISSING)]
    return bool(plain.str.fullmatch(rf"\d+(\.0+)?{behind}").all())


def _whole(ids: pd.Series, decimals: str, said: list[str]) -> pd.Series:
    """Ids without the decimals of a number's type; as they are where that makes two of them one."""
    mended = ids.str.replace(decimals, "", regex=True)
    if mended.nunique() == ids.nunique():
        return mended
    once = ids.drop_duplicates()
    alike = once[mended[once.index].duplicated(keep=False)]
    said.append(f"{ids.name} {first_few(alike)} differ in their decimals alone, and are not one")
    return ids


def once_each(read: Callable[[pd.Series, list[str]], pd.Series], column: pd.Series, said: list[str]) -> pd.Series:
    """What ``read`` makes of a column's cells, each spelling read once: 54,706 rows have two sides and 60 ages."""
    if column.dtype != "str":  # beside true, 1 counts as the same
        return read(column, said)
    places, distinct = pd.factorize(column, use_na_sentinel=False)
    found = read(pd.Series(distinct, name=column.name), said)
    return found.take(places).set_axis(column.index)


def map_distinct(values: pd.Series, read: Callable[[Any], Any]) -> pd.Series:
    """``values.map(read)``, each distinct value read once: the rows of a table have two views and 60 ages.

    Objects are read one by one: there 1, 1.0 and True are equal, and may read otherwise.
    """
    if values.dtype == object:
        return values.map(read)
    places, distinct = pd.factorize(values, use_na_sentinel=False)
    found: pd.Series = pd.Series(distinct, name=values.name).map(read)
    return found.take(places).set_axis(values.index)


def value_name(value: object) -> str:
    """`49` for 49, 49.0 and "49": every digit of whole numbers, so that no two of them have one name; text as it is."""
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    return str(int(value)) if float(value).is_integer() else f"{value:.12g}"


def words(column: pd.Series, said: list[str]) -> pd.Series:
    """Sides and views, in capitals."""
    text = column.astype("string").str.strip().astype("str")
    text = text.mask(text.str.lower().isin(_MISSING))
    known = text.str.lower().map(_SIDES) if column.name == "laterality" else text.str.upper()
    mended = known.fillna(text).astype("str")
    changed = text.notna() & mended.ne(text)
    if changed.any():
        said.append(f"{column.name} {first_few(text[changed].unique())} is {first_few(mended[changed].unique())}")
    return mended


def _are_names(present: pd.Series, numbers: pd.Series, said: list[str]) -> bool:
    """Whether names of digits do not survive as numbers: these are not exact, or 007 stands beside 7."""
    if not present.str.isdecimal().all():
        return False
    if numbers.gt(EXACT).any():
        return True
    once = present.drop_duplicates()
    alike = once[numbers[once.index].duplicated(keep=False)]
    if len(alike):
        said.append(f"{present.name} {first_few(alike)} differ in their zeros alone, and are not one")
    return bool(len(alike))


def values(column: pd.Series, said: list[str]) -> pd.Series:
    """Numbers where every value is one, else text; NaN for missing."""
    text = column.astype("string").str.strip().astype("str")
    text = text.mask(text.str.lower().isin(_MISSING))
    present = text.dropna().replace({"true": "1", "false": "0", "True": "1", "False": "0", "TRUE": "1", "FALSE": "0"})
    # 0,73 has one reading, and 1,234 two.
    comma = present.str.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
    decimals = comma.any() and not present[comma].str.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}").all()
    if column.name == "fold":
        numbered = present.str.replace(r"(?i)^f(old)?[ _-]?(?=\d+$)", "", regex=True)
        if numbered.ne(present).any() and numbered.str.isdecimal().all():
            said.append(f"fold {first_few(present.unique())} is {first_few(numbered.unique())}")
            present = numbered
    numbers = pd.to_numeric(present.str.replace(",", ".", regex=False) if decimals else present, errors="coerce")
    if not len(present) or numbers.isna().any() or (column.name in PLACES and _are_names(present, numbers, said)):
        return text
    if decimals:
        said.append(f"the comma in {column.name} is a decimal point")
    return numbers.reindex(text.index)
