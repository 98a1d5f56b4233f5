"""What a run and a bundle say of the sets that were trained on, and what every record of theirs has in common."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rsna.config.data import Sampling
from rsna.dataset.adapters import is_proxy


class Record(BaseModel):
    """Values that are of just these types, under just these keys: anything else was torn, or is another's."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class LabelOrigin(Record):
    """Where labels of cancer come from, of a part of the set."""

    dataset: str
    """Public set, see data-sets.md; empty where the table does not say."""
    cancer_from: str
    """What counts as cancer."""
    meaning: str
    """The same in a line."""
    licence: str
    """Of the images."""
    release: Literal["yes", "no", "ask"]
    """Whether its licence lets what was trained on it be released."""
    images: int
    set: str = ""
    """Name of the set, where several were trained on, or of the run whose weights were started from."""
    weight: float = 1.0
    """Of its examples in the loss; 0 of a set that the weights had learnt from before."""

    @property
    def is_proxy(self) -> bool:
        """Whether it is a reader's suspicion, and no diagnosis."""
        return is_proxy(self.cancer_from)


class DataRecord(Record):
    """The set that was trained on."""

    name: str
    sampling: Sampling
    """Whether its share of positives means anything."""
    images: int
    """Images of the folds."""
    simulated: bool
    """Whether its images are the embedded sample's, wherever they lie: no real mammogram was seen."""
    labels: tuple[LabelOrigin, ...] = ()
    """Of its parts, those included that are only trained on, and of what the weights had learnt from before; none where
    neither says."""


def proxies(labels: Iterable[LabelOrigin]) -> list[str]:
    """A line on each definition of cancer that is a reader's suspicion, wherever models of these labels are judged."""
    found = {f"{one.cancer_from} ({one.meaning})": one for one in labels if one.weight and one.is_proxy}
    return [
        f"cancer in {one.set or one.dataset} is {definition}: it stands in for pathology, and is no diagnosis"
        for definition, one in found.items()
    ]


class TrainingSet(Record):
    """training_set.json: how the images that were trained on look, for others to be held against; nobody's image."""

    images: int
    breasts: int
    patients: int
    positives: int
    """Breasts with cancer, as far as labels are known."""
    machines: dict[str, int]
    """Column machine_id → images; empty without the column."""
    headers: dict[str, int]
    """Manufacturer and model in the headers of the looked at → images; empty where none says so."""
    views: dict[str, int]
    """View → images; "" where the table does not say."""
    looked_at: int
    """Images, drawn at random, that headers and quantities are of."""
    quantities: dict[str, tuple[float, ...]]
    """Field of `rsna.prepare.appearance.Appearance` → its quantiles, 0 to 100 % in equal steps."""
