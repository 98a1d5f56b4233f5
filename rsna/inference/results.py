"""What a :class:`rsna.Predictor` gives back: plain values for programs, a table for people."""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from rsna.evaluation.tables import html_table, text_table
from rsna.prepare.geometry import Geometry


@dataclass(frozen=True)
class ImageResult:
    """One image: a probability, or the reason why there is none."""

    name: str
    """Path, or place in the list that was given."""
    image_id: str
    prediction_id: str
    """Breast that it shows; "" where the file does not say whose or which."""
    view: str
    probability: float | None
    """Of cancer, over all folds, as predicted for the image or the breast that it belongs to; None where the file
    failed."""
    failure: str = ""
    """Class and message of what went wrong."""
    geometry: Geometry | None = None
    """How the picture that the networks saw lies in the file."""


@dataclass(frozen=True)
class BreastResult:
    """One breast, over its readable images."""

    prediction_id: str
    probability: float
    calibrated: float
    """The probability after Platt scaling fitted out of fold. It means what it says where cancers are as frequent, and
    images alike, as in the set that was trained on, however training repeated its positives."""
    above_threshold: bool
    """Whether the probability reaches the threshold of the submission."""
    views: int
    """Images that it comes from."""
    failures: tuple[str, ...] = ()
    """Reasons of the images that could not be used."""


@dataclass(frozen=True)
class Prediction:
    """Everything about what was asked for."""

    images: tuple[ImageResult, ...]
    breasts: tuple[BreastResult, ...]
    """Breasts with a readable image."""
    threshold: float
    """That of a submission, chosen on the out-of-fold breasts: what ``above_threshold`` is about."""
    notes: tuple[str, ...] = ()
    """What is to be said of the model; files that were left out, and why."""
    networks: str = ""
    """Runtime and arithmetic that predicted."""

    @property
    def failures(self) -> tuple[ImageResult, ...]:
        """Images without a probability."""
        return tuple(image for image in self.images if image.failure)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        images = [asdict(one) | {"geometry": one.geometry.to_json() if one.geometry else None} for one in self.images]
        breasts = [asdict(breast) for breast in self.breasts]
        return {
            "images": images,
            "breasts": breasts,
            "threshold": self.threshold,
            "notes": list(self.notes),
            "networks": self.networks,
        }

    def table(self) -> str:
        """Breasts, then images, as text."""
        return "\n\n".join([*map(text_table, self._rows()), *self.notes])

    def _repr_html_(self) -> str:
        return "\n".join([*map(html_table, self._rows()), *(f"<p>{escape(note)}</p>" for note in self.notes)])

    def _rows(self) -> tuple[list[list[str]], list[list[str]]]:
        breasts = [["breast", "probability", "calibrated", f"above {self.threshold:.4f}", "views"]]
        breasts += [
            [b.prediction_id, f"{b.probability:.4f}", f"{b.calibrated:.4f}", "yes" if b.above_threshold else "no",
             str(b.views)]
            for b in self.breasts
        ]  # fmt: skip
        images = [["image", "breast", "view", "probability"]]
        images += [
            [i.image_id or i.name, i.prediction_id, i.view, i.failure or f"{i.probability:.4f}"] for i in self.images
        ]
        return breasts, images
