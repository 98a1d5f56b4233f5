"""The error gallery: the most confident misses and false alarms, every view of the breast side by side."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.board.pixels import UNREADABLE, Pixels, Shown
from rsna.config.settings import ConfigError
from rsna.evaluation.evaluate import Evaluation
from rsna.inference.explain import Heat, grad_cam, heat_colours
from rsna.model.network import MammogramNet
from rsna.runs.errors import RunError
from rsna.runs.run import Run
from rsna.runs.trained_model import load_trained

HEIGHT = 520
"""Rows of a picture on the page, at most."""

_HEAT_STEP = 4
"""Heat is drawn at a quarter of the picture's size: it is far coarser than that."""

_LABELS = {
    "biopsy": "biopsy", "invasive": "invasive", "BIRADS": "BI-RADS", "density": "density",
    "difficult_negative_case": "difficult negative",
}  # fmt: skip
"""Columns shown of a breast: what was found in it, nothing of the person."""
Kind = Literal["miss", "false alarm"]
_FLAGS = ("biopsy", "invasive", "difficult_negative_case")


@dataclass(frozen=True)
class View:
    """One image of a breast."""

    image_id: str
    name: str
    """CC, MLO, …"""
    probability: float
    picture: str = ""
    """JPEG as a data URI; empty where the image is not at hand."""
    heat: str = ""
    """Transparent PNG, a quarter as high and wide, as a data URI; empty without a network."""
    width: int = 0
    height: int = 0
    """Of the picture, in pixels."""
    missing: str = ""
    """Why there is no picture."""


@dataclass(frozen=True)
class Case:
    """A breast on the wrong side of its threshold."""

    prediction_id: str
    kind: Kind
    probability: float
    threshold: float
    """Nested: chosen on the other folds."""
    fold: int | None
    labels: tuple[tuple[str, str], ...]
    views: tuple[View, ...]


@dataclass(frozen=True)
class Gallery:
    """What went wrong in a run."""

    misses: tuple[Case, ...]
    false_alarms: tuple[Case, ...]
    n_misses: int
    """All there are, of which the most confident are shown."""
    n_false_alarms: int
    note: str
    """Why there is no heat; empty where there is."""


def gallery(run: Run, evaluation: Evaluation, pixels: Pixels, most: int) -> Gallery:
    """Misses and false alarms at nested thresholds, at most ``most`` of either, furthest on the wrong side first."""
    breasts = evaluation.breasts
    missed = breasts[(breasts["cancer"] == 1) & ~breasts["recalled"]].sort_values("probability", kind="stable")
    alarms = breasts[(breasts["cancer"] == 0) & breasts["recalled"]]
    alarms = alarms.sort_values("probability", ascending=False, kind="stable")
    images = run.oof()
    painter = _Painter(run, pixels)
    misses = tuple(_case("miss", row, images, painter) for row in missed.head(most).to_dict("records"))
    raised = tuple(_case("false alarm", row, images, painter) for row in alarms.head(most).to_dict("records"))
    return Gallery(misses, raised, len(missed), len(alarms), painter.note)


def data_uri(pixels: npt.NDArray[np.uint8], suffix: Literal[".jpg", ".png"]) -> str:
    """Grey, or red-green-blue-opacity, as an image that stands within the page."""
    turned = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA) if pixels.ndim == 3 else pixels
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    content = base64.b64encode(cv2.imencode(suffix, turned, options)[1].tobytes()).decode()
    return f"data:image/{'jpeg' if suffix == '.jpg' else 'png'};base64,{content}"


class _Painter:
    """Pictures and heat of breasts; loads the network of each fold once."""

    def __init__(self, run: Run, pixels: Pixels) -> None:
        self._run, self._pixels = run, pixels
        self._networks: dict[int, tuple[MammogramNet, int]] = {}
        self.note = ""

    def views(self, rows: Sequence[dict[str, Any]]) -> tuple[View, ...]:
        """Pictures of a breast's images; heat is on one scale over all of them."""
        shown: list[Shown | str] = []
        for row in rows:
            try:
                shown.append(self._pixels.show(str(row["image_id"]), HEIGHT))
            except UNREADABLE as error:
                shown.append(str(error))
        heats = [self._heat(one, row) for one, row in zip(shown, rows, strict=True)]
        top = max((float(heat.max()) for heat in heats if heat is not None), default=0.0)
        return tuple(_view(row, one, heat, top) for row, one, heat in zip(rows, shown, heats, strict=True))

    def _heat(self, shown: Shown | str, row: dict[str, Any]) -> Heat | None:
        fold = row.get("fold")
        if isinstance(shown, str) or self.note or fold is None:
            return None
        try:
            if fold not in self._networks:
                trained = load_trained(self._run, (int(fold),))
                self._networks[fold] = trained.networks()[0], trained.cancer_column
            network, column = self._networks[fold]
            return shown.heat(grad_cam([network], shown.prepared, column))
        except (RunError, ConfigError, OSError) as error:
            self.note = str(error)
            return None


def _case(kind: Kind, breast: dict[Any, Any], images: pd.DataFrame, painter: _Painter) -> Case:
    rows = images[images["prediction_id"] == breast["prediction_id"]]
    rows = rows.sort_values([c for c in ("view", "image_id") if c in rows], kind="stable")
    labels = [(name, _label(column, rows[column])) for column, name in _LABELS.items() if column in rows]
    return Case(
        prediction_id=str(breast["prediction_id"]),
        kind=kind,
        probability=float(breast["probability"]),
        threshold=float(breast["threshold"]),
        fold=int(breast["fold"]) if "fold" in breast else None,
        labels=tuple((name, value) for name, value in labels if value),
        views=painter.views([{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]),
    )


def _label(column: str, values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return ""
    value = known.iloc[0]
    if column in _FLAGS:
        return "yes" if float(value) else "no"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _view(row: dict[str, Any], shown: Shown | str, heat: Heat | None, top: float) -> View:
    image_id, name, probability = str(row["image_id"]), str(row.get("view", "")), float(row["probability"])
    if isinstance(shown, str):
        return View(image_id, name, probability, missing=shown)
    height, width = shown.pixels.shape
    drawn = ""
    if heat is not None:
        size = max(1, width // _HEAT_STEP), max(1, height // _HEAT_STEP)
        drawn = data_uri(heat_colours(cv2.resize(heat, size, interpolation=cv2.INTER_AREA), top), ".png")
    return View(image_id, name, probability, data_uri(shown.pixels, ".jpg"), drawn, width, height)
