"""Public data sets as they are published, one module each: its folder → the rows of the one image table.

To add a data set, write ``adapters/<name>.py`` with the members of :class:`Adapter`; nothing else needs to know of it.
``vindr.py`` is the example, and :mod:`rsna.dataset.downloads` has what several need. What :func:`read` returns is
checked by :mod:`rsna.dataset.source`, so an adapter refuses only what it cannot translate, by a
:class:`rsna.dataset.table.TableError` that names file, row and value. Its tables are read by
:func:`rsna.dataset.table.read_rows`, which gives columns the names that they have here, whatever their spelling:
``side`` comes as ``laterality``, ``study_id`` as ``exam_id``.

Columns of a row, which is one image:

    patient_id, image_id, laterality   text; image_id unlike any other in the set, laterality L or R. A missing
                                       value is NaN and refused later with its row: never guess a side.
    path                               text; the whole path of the file, "" where there is none
    view                               text, CC or MLO where it is one of them; "" where the source does not say
    cancer                             train alone: 0, 1, NaN where unknown; by the definition ``cancer_from``, one of
                                       those in ``FACTS.cancer``. What a reader suspected, and no diagnosis, is a
                                       proxy, which a user has to name: its name begins with ``birads``
    exam_id, exam_date, exam_number    where a patient may have several exams; :func:`rsna.dataset.exams.order_exams`
                                       numbers them in time. A placeholder of a date is no date: leave it out.
    biopsy, invasive, difficult_negative_case         0, 1, NaN
    BIRADS, density                    0, 1, 2 as in the competition; A, B, C, D
    age, site_id, machine_id           years; names or numbers, by which folds are spread evenly
    breast_birads                      BI-RADS as the source has it: 4a, 5
    split                              the publisher's own part: train, dev, test

``dataset`` and ``cancer_from`` are added by :func:`read_set`. Other columns are carried along. What had to be
interpreted (a view spelt otherwise, a label of a lesion that became its breast's) is a line of ``Listing.notes``, with
how many rows it was.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

import pandas as pd

from rsna.config.data import Split
from rsna.dataset.table import REQUIRED, LabelUnit, TableError, require_columns

OWN = "competition"
"""The layout that ``rsna table`` and the sample write, too: where it is there, somebody wants it read."""


Release = Literal["yes", "no", "ask"]
"""Whether a licence lets what was trained on a set be released; ask: it does not say, or asks for a consent."""


@dataclass(frozen=True)
class Facts:
    """What a person has to know of a set before training on it; `rsna datasets` and docs/data-sets.md show it."""

    title: str
    """As its publisher calls it."""
    source: str
    """Address of the publisher's page."""
    images: int | None
    """Mammograms; None where it is a format, and no one's set."""
    patients: int | None
    """None where the publisher does not tell patients apart."""
    licence: str
    """In one line."""
    release: Release
    """Whether what was trained on it may be released."""
    unit: Literal["lesion", "image", "breast", "exam", "patient"]
    """What a label of the publisher is of; every image of a breast gets the breast's."""
    cancer: Mapping[str, str]
    """``cancer_from`` → what counts as cancer by it, in one line."""
    default: str = ""
    """The one of them that is meant where none is named; "" where all are proxies, and one has to be named."""
    defects: tuple[str, ...] = ()
    """What is known to be wrong or missing in the set, and what is done about it, a line each."""


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
    """Folders that could not be listed, and files that could not be looked at."""
    notes: tuple[str, ...] = ()
    """Lines on what had to be interpreted."""


class Adapter(Protocol):
    """The members of a module of this package. Its name is that of the layout."""

    __name__: str
    FACTS: Facts
    LAYOUT: str
    """The files by which a person knows the set's folder, in one line."""
    LABELS: Mapping[str, LabelUnit]
    """Label columns that the train split always has, and what one label is of: two labels of one breast (or patient)
    that differ are refused."""

    def matches(self, root: Path, split: Split) -> bool:
        """Whether a folder holds this split in this layout, told from names of files that no other set has."""

    def read(self, root: Path, split: Split, cancer_from: str) -> Listing:
        """Reads a split.

        Args:
            root: Folder of the set.
            split: A part that the folder has.
            cancer_from: A key of ``FACTS.cancer``.

        Raises:
            TableError: Rows that cannot be translated.
        """


def find_adapter(root: Path, split: Split) -> Adapter | None:
    """The adapter whose layout a folder has; None where it has no known one.

    Raises:
        TableError: It has several public sets' layouts at once.
    """
    own = cast(Adapter, import_module(f"{__name__}.{OWN}"))
    if own.matches(root, split):
        return own
    found = {name: adapter for name, adapter in adapters().items() if adapter.matches(root, split)}
    # A table in a format of somebody else's beside the files of a set was made of it.
    found = {name: adapter for name, adapter in found.items() if adapter.FACTS.images is not None} or found
    if len(found) > 1:
        raise TableError(
            f"{root}: holds the files of {' and '.join(found)}; give each a folder of its own, or write a table of "
            f"each with rsna table dataset={next(iter(found))}"
        )
    return next(iter(found.values()), None)


def adapters() -> dict[str, Adapter]:
    """Every module of this package by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: cast(Adapter, import_module(f"{__name__}.{name}")) for name in names}


def name_of(adapter: Adapter) -> str:
    """What ``dataset=`` calls it."""
    return adapter.__name__.rpartition(".")[2]


def choose_cancer(adapter: Adapter, wanted: str, key: str = "cancer_from") -> str:
    """The definition of cancer that a set is read by: the one wanted, or its default where none is.

    Args:
        adapter: Of the set.
        wanted: Key of its ``FACTS.cancer``, or "".
        key: What the user types it behind.

    Raises:
        TableError: None is wanted where every one is a proxy, or there is no such one.
    """
    facts = adapter.FACTS
    if not wanted and facts.default:
        return facts.default
    if wanted in facts.cancer:
        return wanted
    choices = "; ".join(f"{key}={name} ({meaning})" for name, meaning in facts.cancer.items())
    if wanted:
        raise TableError(f"{key}: {facts.title} has no {wanted}; what counts as cancer in it: {choices}")
    raise TableError(
        f"{key}: {facts.title} has no label of cancer, only stand-ins for it, of which you have to choose one: "
        f"{choices}. Table, run and report will say which"
    )


def read_set(root: Path, split: Split, adapter: Adapter, cancer_from: str = "", key: str = "cancer_from") -> Listing:
    """A split as an adapter reads it, with columns ``dataset`` and ``cancer_from``, and notes that say what both mean.

    A table in this project's own layout has these columns, or its labels are what its writer says they are.

    Args:
        root: Folder of the set.
        split: A part that it has.
        adapter: Whose layout it has.
        cancer_from: See :func:`choose_cancer`; of one's own table, what its column says.
        key: What the user types it behind.

    Raises:
        TableError: See :func:`choose_cancer` and :meth:`Adapter.read`.
    """
    name, facts = name_of(adapter), adapter.FACTS
    if name == OWN:
        return adapter.read(root, split, cancer_from)
    chosen = choose_cancer(adapter, cancer_from, key)
    listing = adapter.read(root, split, chosen)
    # Of the adapter, not of the set: whoever writes one reads which column it owes.
    require_columns(listing.frame, (*REQUIRED, "path"), f"rsna/dataset/adapters/{name}.py, read()")
    proxy = ", which stands in for it: no pathology is known" if is_proxy(chosen) else ""
    notes = (
        f"{root}: is read as {facts.title} (dataset={name}), by {adapter.LAYOUT}",
        f"{name}: cancer is {chosen}: {facts.cancer[chosen]}{proxy}",
    )
    frame = listing.frame.assign(dataset=name, cancer_from=chosen)
    return replace(listing, frame=frame, notes=(*notes, *listing.notes))


def read_unlabelled(root: Path, split: Split, adapter: Adapter) -> Listing:
    """:func:`read_set` by the set's default; where it has none, without a column of cancer."""
    default = adapter.FACTS.default
    if default or name_of(adapter) == OWN:
        return read_set(root, split, adapter)
    listing = read_set(root, split, adapter, next(iter(adapter.FACTS.cancer)))
    return replace(listing, frame=listing.frame.drop(columns=["cancer", "cancer_from"]), notes=listing.notes[:1])


@dataclass(frozen=True)
class Origin:
    """What the labels of a part of a table are, and on what terms."""

    dataset: str
    """Name of the public set; "" where the table does not say."""
    cancer_from: str
    """What counts as cancer; "" where the table does not say."""
    meaning: str
    """The same in a line."""
    licence: str
    release: Release
    """Whether what was trained on it may be released; ask where the set is not known."""
    images: int
    set: str = ""
    """Name of the set, where several are trained on."""
    weight: float = 1.0
    """Of its examples in the loss."""

    def __str__(self) -> str:
        meaning = f", {self.meaning}" if self.meaning else ""
        proxy = "; a stand-in for pathology" if is_proxy(self.cancer_from) else ""
        return f"{self.dataset or 'a table'}: cancer is {self.cancer_from or 'not explained'}{meaning}{proxy}"


def label_origins(images: pd.DataFrame) -> list[Origin]:
    """Where the labels of images come from, by their columns ``dataset`` and ``cancer_from``; none where neither is.

    Of several sets each is told by itself, by ``source_set``, with its ``loss_weight``.
    """
    if not {"dataset", "cancer_from", "source_set"} & {*images.columns}:
        return []
    said = images.reindex(columns=["dataset", "cancer_from", "source_set"]).astype("string").fillna("")
    said["weight"] = images["loss_weight"].fillna(1.0) if "loss_weight" in images else 1.0
    known = adapters()
    origins = []
    for (name, cancer_from, of, _), rows in said.groupby([*said]):
        facts = known[name].FACTS if name in known else None
        meaning, licence = (facts.cancer.get(str(cancer_from), ""), facts.licence) if facts else ("", "unknown")
        release: Release = facts.release if facts else "ask"
        about = (meaning, licence, release, len(rows), str(of), float(rows["weight"].iloc[0]))
        origins.append(Origin(str(name), str(cancer_from), *about))
    return origins


def is_proxy(cancer_from: str) -> bool:
    """Whether a definition of cancer is a reader's suspicion, and no diagnosis."""
    return cancer_from.startswith("birads")
