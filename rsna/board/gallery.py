"""The error gallery: the most confident misses and false alarms, every view of the breast side by side."""

import base64
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.board.pixels import UNREADABLE, Pixels, Shown
from rsna.collector import collector_off
from rsna.config.settings import ConfigError
from rsna.dataset.exams import exams_of
from rsna.dataset.table_inputs import read_inputs
from rsna.dataset.targets import as_answer
from rsna.evaluation.evaluate import Evaluation
from rsna.inference.batch import ImageFacts
from rsna.parallel.progress import Progress
from rsna.pictures.heat import Heat, heat_colours, stops
from rsna.prepare.image import Prepared
from rsna.runs.errors import RunError
from rsna.runs.run import Run
from rsna.runs.trained_model import load_trained
from rsna.table_file import value_name

if TYPE_CHECKING:
    from rsna.model.network import MammogramNet

HEIGHT = 520
"""Rows of a picture on the page, at most."""

_HEAT_STEP = 2
"""Heat is drawn at half the picture's size: it is far coarser than that, but the skin at which it ends is not."""

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
    """L CC, R MLO, …, as far as it is known."""
    probability: float
    """The image's, or that of the breast where it is predicted at once."""
    weight: float | None = None
    """The image's share in a breast that is predicted at once."""
    picture: str = ""
    """JPEG as a data URI; empty where the image is not at hand."""
    heat: str = ""
    """Transparent PNG, half as high and wide, as a data URI; empty without a network."""
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

    @property
    def pictured(self) -> bool:
        """Whether any of its images is at hand."""
        return any(view.picture for view in self.views)


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

    @property
    def cases(self) -> tuple[Case, ...]:
        """All that are shown."""
        return self.misses + self.false_alarms

    @property
    def pictured(self) -> bool:
        """Whether any of them has a picture."""
        return any(case.pictured for case in self.cases)

    @property
    def heated(self) -> bool:
        """Whether any picture has heat."""
        return any(view.heat for case in self.cases for view in case.views)

    @property
    def scale(self) -> str:
        """Colours of the scale, from nothing to the highest, as stops of a gradient in CSS."""
        return ", ".join(f"rgb({red} {green} {blue} / {opacity:g})" for red, green, blue, opacity in stops())

    @property
    def unpictured(self) -> int:
        """How many have no picture at all."""
        return sum(not case.pictured for case in self.cases)

    @property
    def missing(self) -> str:
        """Why the first image without a picture has none."""
        return next((view.missing for case in self.cases for view in case.views if view.missing), "")


def gallery(run: Run, evaluation: Evaluation, pixels: Pixels, most: int) -> Gallery:
    """Misses and false alarms at nested thresholds, at most ``most`` of either, furthest on the wrong side first."""
    breasts = evaluation.cut_breasts
    missed = breasts[(breasts["cancer"] == 1) & ~breasts["recalled"]].sort_values("probability", kind="stable")
    alarms = breasts[(breasts["cancer"] == 0) & breasts["recalled"]]
    alarms = alarms.sort_values("probability", ascending=False, kind="stable")
    images = images_of(run.oof())
    painter = _Painter(run, pixels)
    first, then = missed.head(most).to_dict("records"), alarms.head(most).to_dict("records")
    with Progress(f"pictures of {run.name}", len(first) + len(then), "breasts") as progress:
        misses = tuple(_case("miss", row, images, painter) for row in progress.over(first))
        raised = tuple(_case("false alarm", row, images, painter) for row in progress.over(then))
    return Gallery(misses, raised, len(missed), len(alarms), painter.note)


def data_uri(pixels: npt.NDArray[np.uint8], suffix: Literal[".jpg", ".png"]) -> str:
    """(H, W) grey, or (H, W, 4) red-green-blue-opacity, as an image that stands within the page."""
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

    def views(self, rows: Sequence[dict[str, Any]], beside: Sequence[dict[str, Any]]) -> tuple[View, ...]:
        """Pictures of a breast's images; heat is on one scale over all of them.

        ``beside`` are images of the exam's other breast, which networks that compare look at, too.
        """
        shown: list[Shown | str] = []
        for row in rows:
            try:
                shown.append(self._pixels.show(str(row["image_id"]), HEIGHT))
            except UNREADABLE as error:
                shown.append(self._pixels.reason(str(row["image_id"]), error))
        heats = self._heats(shown, rows, beside)
        top = max((float(heat.max()) for heat in heats if heat is not None), default=0.0)
        return tuple(_view(row, one, heat, top) for row, one, heat in zip(rows, shown, heats, strict=True))

    def _heats(
        self, shown: Sequence[Shown | str], rows: Sequence[dict[str, Any]], beside: Sequence[dict[str, Any]]
    ) -> list[Heat | None]:
        """Heat on every image that is at hand: of each by itself, or of the breast that they make."""
        heats: list[Heat | None] = [None] * len(shown)
        there = [place for place, one in enumerate(shown) if not isinstance(one, str)]
        fold = rows[0].get("fold") if rows else None
        if self.note or fold is None or not there:
            return heats
        with collector_off():  # not above: a page without pictures does without torch
            from rsna.inference.explain import grad_cam_example

        try:
            if fold not in self._networks:
                trained = load_trained(self._run, (int(fold),))
                self._networks[fold] = trained.networks()[0], trained.cancer_column
            network, column = self._networks[fold]
            groups = [there] if network.spec.unit == "breast" else [[place] for place in there]
            for group in groups:
                pictures = [one for place in group if not isinstance(one := shown[place], str)]
                others = self._prepared(beside) if network.spec.compare else []
                known = pd.DataFrame([rows[place] for place in group] + [row for row, _ in others])
                facts = ImageFacts(read_inputs(network.spec.inputs, known), np.arange(len(known)) >= len(group))
                seen = [one.prepared for one in pictures] + [pixels for _, pixels in others]
                found = grad_cam_example([network], seen, column, facts)
                for place, picture, heat in zip(group, pictures, found, strict=False):  # own ones come first
                    heats[place] = picture.heat(heat)
        except (RunError, ConfigError, OSError) as error:
            self.note = str(error)
        return heats

    def _prepared(self, rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Prepared]]:
        """Images that are at hand, as the network sees them."""
        found = []
        for row in rows:
            with contextlib.suppress(*UNREADABLE):
                found.append((row, self._pixels.prepared(str(row["image_id"]))[0]))
        return found


def images_of(oof: pd.DataFrame) -> pd.DataFrame:
    """A row an image, with its exam: of predictions of breasts each one's images, with their weights."""
    oof = oof.assign(exam=oof["patient_id"] + "\0" + exams_of(oof))
    if "image_ids" not in oof:
        return oof
    lists = {"image_ids": "image_id", "image_views": "view", "image_weights": "weight"}
    return oof.explode(list(lists), ignore_index=True).rename(columns=lists)


def _case(kind: Kind, breast: dict[Any, Any], images: pd.DataFrame, painter: _Painter) -> Case:
    rows = images[images["prediction_id"] == breast["prediction_id"]]
    rows = rows.sort_values([c for c in ("view", "image_id") if c in rows], kind="stable")
    beside = images[images["exam"].isin(rows["exam"]) & images["prediction_id"].ne(breast["prediction_id"])]
    labels = [(name, _label(column, rows[column])) for column, name in _LABELS.items() if column in rows]
    return Case(
        prediction_id=str(breast["prediction_id"]),
        kind=kind,
        probability=float(breast["probability"]),
        threshold=float(breast["threshold"]),
        fold=int(breast["fold"]) if "fold" in breast else None,
        labels=tuple((name, value) for name, value in labels if value),
        views=painter.views(_records(rows), _records(beside)),
    )


def _records(images: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in images.to_dict("records")]


def _label(column: str, values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return ""
    value = known.iloc[0]
    if column in _FLAGS and (answer := as_answer(value)) is not None:
        return "yes" if answer else "no"
    return value_name(value)


def _view(row: dict[str, Any], shown: Shown | str, heat: Heat | None, top: float) -> View:
    image_id, probability = str(row["image_id"]), float(row["probability"])
    side = str(row.get("laterality", "")) or str(row["prediction_id"]).rpartition("_")[2]
    name = f"{side} {row.get('view', '')}".strip()
    weight = float(row["weight"]) if "weight" in row else None
    if isinstance(shown, str):
        return View(image_id, name, probability, weight, missing=shown)
    height, width = shown.pixels.shape
    drawn = ""
    if heat is not None:
        size = max(1, width // _HEAT_STEP), max(1, height // _HEAT_STEP)
        small = cv2.resize(heat, size, interpolation=cv2.INTER_AREA)
        # Cells that lie in part outside of the breast would carry heat over its skin.
        whole = cv2.resize((heat > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
        drawn = data_uri(heat_colours(np.where(whole, small, np.float32(0)), top), ".png")
    return View(image_id, name, probability, weight, data_uri(shown.pixels, ".jpg"), drawn, width, height)
