"""Public data sets as they are published, one module each: its folder → the rows of the one image table.

To add a data set, write ``adapters/<name>.py`` with the members of :class:`Adapter`; nothing else needs to know of it.
``competition.py`` is the example. What :func:`read` returns is checked by :mod:`rsna.dataset.source`, so an adapter
refuses only what it cannot translate, by a :class:`rsna.dataset.table.TableError` that names file, row and value.

Columns of a row, which is one image:

    patient_id, image_id, laterality   text; image_id unlike any other in the set, laterality L or R. A missing
                                       value is NaN and refused later with its row: never guess a side.
    path                               text; the whole path of the file, "" where there is none
    view                               text, CC or MLO where it is one of them; "" where the source does not say
    cancer                             train alone: 0, 1, NaN where unknown. Whatever the source calls malignant is
                                       proven malignant: a BI-RADS assessment is no cancer label.
    biopsy, invasive, difficult_negative_case         0, 1, NaN
    BIRADS, density                    0, 1, 2 as in the competition; A, B, C, D
    age, site_id, machine_id           years; names or numbers, by which folds are spread evenly

Other columns are carried along. What had to be interpreted (a view spelt otherwise, a label of a lesion that became
its breast's) is a line of ``Listing.notes``, with how many rows it was.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.table import LabelUnit, TableError

OWN = "competition"
"""The layout that ``rsna table`` and the sample write, too: where it is there, somebody wants it read."""


@dataclass(frozen=True)
class Listing:
    """A split as it lies in its folder. Rows without files and files without rows are no errors here."""

    frame: pd.DataFrame
    """One row an image; see the module for its columns."""
    source: Path
    """The file that rows and labels were read from, for messages."""
    no_file: str = "rows have no file"
    """What is said of rows whose path is ""."""
    rowless: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["patient_id", "image_id", "path"]))
    """Files where images belong that no row names: patient_id, image_id, path."""
    unreadable: tuple[OSError, ...] = ()
    """Folders that could not be listed."""
    notes: tuple[str, ...] = ()
    """Lines on what had to be interpreted."""


class Adapter(Protocol):
    """The members of a module of this package. Its name is that of the layout."""

    LAYOUT: str
    """The files by which a person knows the set's folder, in one line."""
    LABELS: Mapping[str, LabelUnit]
    """Label columns that the train split always has, and what one label is of: two labels of one breast (or patient)
    that differ are refused."""

    def matches(self, root: Path, split: Split) -> bool:
        """Whether a folder holds this split in this layout, told from names of files that no other set has."""

    def read(self, root: Path, split: Split) -> Listing:
        """Reads a split.

        Raises:
            TableError: Rows that cannot be translated.
        """


def find_adapter(root: Path, split: Split) -> Adapter | None:
    """The adapter whose layout a folder has; None where it has no known one.

    Raises:
        TableError: It has several public sets' layouts at once.
    """
    found = {name: adapter for name, adapter in adapters().items() if adapter.matches(root, split)}
    if len(found) > 1 and OWN not in found:
        raise TableError(
            f"{root}: holds the files of {' and '.join(found)}; give each a folder of its own, or write one table over "
            "both with rsna table"
        )
    return found.get(OWN) or next(iter(found.values()), None)


def adapters() -> dict[str, Adapter]:
    """Every module of this package by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: cast(Adapter, import_module(f"{__name__}.{name}")) for name in names}
