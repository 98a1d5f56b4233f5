"""Targets: what the network learns, and how each is read from the columns of a table."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.settings import ConfigError
from rsna.dataset.table import ImageTable, TableError
from rsna.files import first_few
from rsna.table_file import map_distinct


@dataclass(frozen=True)
class Target:
    """One thing to predict for an image."""

    name: str
    """Name of the head, and of the column that it is read from."""
    classes: tuple[str, ...]
    """Values in the order of the outputs; two classes are one output, the probability of the second."""

    @property
    def outputs(self) -> int:
        """Logits that the head gives: 1 for two classes, else one a class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    def read(self, table: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Class indices, (N,) float32; NaN where the table has no value, or one that is not among the classes.

        A view other than MLO and CC (AT, LM, ML, …) is such a value: it counts as missing.
        """
        if self.name not in table.columns:
            return np.full(len(table), np.nan, dtype=np.float32)
        index = {name: float(i) for i, name in enumerate(self.classes)}
        places = map_distinct(table[self.name], lambda value: index.get(as_class(value) or "", np.nan))
        return places.to_numpy(dtype=np.float32, na_value=np.nan)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("cancer", ("0", "1")),
        Target("biopsy", ("0", "1")),
        Target("invasive", ("0", "1")),
        Target("difficult_negative_case", ("0", "1")),
        Target("BIRADS", ("0", "1", "2")),
        Target("density", ("A", "B", "C", "D")),
        Target("view", ("CC", "MLO")),
    )
}
"""Every target by name. BIRADS 0 asks for a recall, 1 is negative, 2 benign; densities are those of BI-RADS."""


def get_targets(names: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets of these names, in this order; a ConfigError where one is unknown."""
    if unknown := [name for name in names if name not in TARGETS]:
        raise ConfigError(f"targets: {unknown[0]!r} is not one of {', '.join(TARGETS)}")
    return tuple(TARGETS[name] for name in names)


def kept_targets(names: tuple[str, ...], table: ImageTable) -> tuple[Target, ...]:
    """The targets of ``names``, in this order, that any image has a label for, those only trained on included.

    Raises:
        TableError: No image has a label for any of them, or images that are scored lack cancer's.
    """
    images = table.images
    kept = tuple(target for target in get_targets(names) if not np.isnan(target.read(images)).all())
    if not kept:
        raise TableError(
            f"targets: the table has no labels for {', '.join(names)}: in columns of these names none of the "
            f"{len(images):,} images of {table.root} has a value that is known; name others with targets=[…]"
        )
    if any(target.name == "cancer" for target in kept):
        frame = table.frame
        unknown = frame.loc[np.isnan(TARGETS["cancer"].read(frame)), "image_id"]
        if len(unknown):
            raise TableError(
                f"{table.root}: {len(unknown):,} of {len(frame):,} images have no label in column cancer "
                f"({first_few(unknown, 5)}), so their breasts cannot be scored out of fold; take these rows out "
                "of the table, or into a set of their own that data.extra names"
            )
    return kept


def unread_values(targets: tuple[Target, ...], images: pd.DataFrame) -> list[str]:
    """A line on every target with values that are none of its classes, and count as missing; of views that is usual."""
    lines = []
    for target in targets:
        if target.name == "view" or target.name not in images:
            continue
        found = map_distinct(images[target.name], lambda value: as_class(value) or "").astype(object)
        if (odd := found.ne("") & ~found.isin(target.classes)).any():
            lines.append(
                f"target {target.name}: {odd.sum():,} images have {first_few(found[odd].unique())}, none of "
                f"{', '.join(target.classes)}, and count as unlabelled"
            )
    return lines


_ANSWERS = {"1": True, "yes": True, "y": True, "true": True, "0": False, "no": False, "n": False, "false": False}


def as_class(value: Any) -> str | None:
    """``1.0``, ``True``, ``"1"`` and ``"1.0"``, of a column that text elsewhere made text, are the same class."""
    if pd.isna(value):
        return None
    if isinstance(value, str):
        return value.partition(".")[0] if re.fullmatch(r"\d+\.0+", value) else value
    if isinstance(value, (bool, np.bool_, float, int, np.integer)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def as_answer(value: Any) -> bool | None:
    """Yes and no in whatever words, numbers or kind a table has them; None for anything else."""
    return _ANSWERS.get((as_class(value) or "").lower())
