"""Rows of a table of images → what every member of an ensemble predicts, in groups that share files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.settings import digest
from rsna.dataset.examples import ExampleSpec, examples_of
from rsna.dataset.exams import EXAM
from rsna.inference.batch import ImageFacts
from rsna.inference.stream import Example
from rsna.runs.trained_ensemble import TrainedEnsemble


@dataclass(frozen=True)
class TableExample(Example):
    """An example of images that a table lists; its sources are their paths."""

    example_id: str = ""
    """Of all members' examples alone this one's. What is known of its images is in it: of another age it is another."""
    rows: tuple[Sequence[int], ...] = ()
    """Of each of its own files the rows of the table: several where it stands under several breasts."""
    nth: int = 0
    """Images of its breast that come before its first one."""


def table_examples(trained: TrainedEnsemble, table: pd.DataFrame, usable: npt.NDArray[np.bool_]) -> list[TableExample]:
    """The examples of every member.

    Args:
        trained: Its members say what an example is.
        table: image_id, prediction_id, path, patient_id, columns of sides, exams and table inputs; a row an image and
            breast.
        usable: (n,) rows that have a file.
    """
    members = ((place, member.spec) for place, member in enumerate(trained.members))
    return [example for member, spec in members for example in _of_member(member, spec, table, usable)]


def _of_member(
    member: int, spec: ExampleSpec, table: pd.DataFrame, usable: npt.NDArray[np.bool_]
) -> Iterable[TableExample]:
    places = np.flatnonzero(usable)
    images, rows = table.iloc[places], [[row] for row in places.tolist()]
    if spec.unit == "image":
        same = images.groupby("image_id").indices  # one that stands under two breasts is predicted once
        images = images.drop_duplicates("image_id")
        rows = [places[same[image_id]].tolist() for image_id in images["image_id"]]
    names = ("image_id", "prediction_id", "path", "patient_id", "laterality", *EXAM, *(o.name for o in spec.inputs))
    asked = dict.fromkeys(names)
    found = examples_of(spec.unit, images[[c for c in asked if c in images]], compare=spec.compare)
    facts = ImageFacts.of(spec, found)
    files = found.images["path"].tolist()
    nth = found.images.groupby("prediction_id").cumcount().to_numpy()
    for e, (own, both) in enumerate(zip(found.rows, found.with_others()[0], strict=True)):
        known = f" {_digest(facts[e])}" if facts else ""
        yield TableExample(
            tuple(files[place] for place in both),
            member,
            facts[e] if facts else None,
            f"{member} {found.ids[e]}{known}",
            tuple(rows[place] for place in own),
            int(nth[own[0]]),
        )


def _digest(facts: ImageFacts) -> str:
    left = facts.unsaid.tolist() if facts.unsaid is not None else []
    return digest(facts.table.astype(str).tolist(), left)


def grouped(examples: Sequence[TableExample]) -> list[list[TableExample]]:
    """Examples that share files together; groups with the first image of a breast come before those without."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    number: dict[object, int] = {}
    files = [number.setdefault(source, len(number)) for example in examples for source in example.sources]
    owner = np.repeat(np.arange(len(examples)), [len(example.sources) for example in examples])
    n = len(examples) + len(number)
    links = coo_matrix((np.ones(len(files)), (owner, len(examples) + np.array(files, dtype=np.int64))), shape=(n, n))
    component = connected_components(links, directed=False)[1]
    groups: dict[int, list[TableExample]] = {}
    for place in sorted(range(len(examples)), key=lambda one: examples[one].nth):
        groups.setdefault(int(component[place]), []).append(examples[place])
    return list(groups.values())
