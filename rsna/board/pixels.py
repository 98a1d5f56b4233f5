"""Images of a run, wherever they are at hand: the files as they came, and what the network sees of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.dicom.errors import DicomError
from rsna.files import read_json
from rsna.inference.explain import Grey, Heat, grey_original
from rsna.prepare.cache import Cache, CacheError
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import prepare_image
from rsna.prepare.source import PictureError, open_image
from rsna.runs.errors import RunError
from rsna.runs.run import Run

UNREADABLE = (DicomError, PictureError, CacheError, OSError, ValueError)
"""What a file that cannot be shown raises."""


@dataclass(frozen=True)
class Shown:
    """An image to show, and how heat is put on it."""

    pixels: Grey
    """(h, w) uint8: the crop of the file as stored, not mirrored; the prepared image where that is all there is."""
    prepared: npt.NDArray[Any]
    """(H, W) uint8 or uint16, what the network sees."""
    geometry: Geometry
    original: bool
    """Whether ``pixels`` come from the file as stored."""

    def heat(self, heat: Heat) -> Heat:
        """(H, W) heat on the prepared image → (h, w) on ``pixels``."""
        part = heat[self.geometry.content]
        if not self.original:
            return part
        # Both show the crop alone, so that undoing mirror and scale is all there is to do.
        part = part[:, ::-1] if self.geometry.flipped else part
        return np.asarray(cv2.resize(part, self.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR))


class Pixels:
    """The images of a run."""

    def __init__(self, run: Run, data: str = "") -> None:
        """Looks for originals in ``data``, or else where the run had them, and for prepared images in its cache."""
        self._run = run
        self._data = data or run.config.data.root

    @cached_property
    def originals(self) -> dict[str, Path]:
        """image_id → file; empty where the set is not at hand."""
        try:
            frame = load_table(Path(self._data)).frame
        except (TableError, OSError):
            return {}
        return {str(i): Path(path) for i, path in zip(frame["image_id"], frame["path"], strict=True)}

    @cached_property
    def cache(self) -> Cache | None:
        """Prepared images under the run's preprocessing hash; None where there are none."""
        name, digest = self._run.record.data.name, self._run.record.hashes.preprocessing
        for file in Path(self._run.config.cache_dir).expanduser().glob(f"*/{digest}/settings.json"):
            if read_json(file)["dataset"] == name:
                return Cache(file.parent)
        return None

    def show(self, image_id: str, height: int) -> Shown:
        """An image, its crop at most ``height`` rows.

        Raises:
            One of UNREADABLE: Neither file nor prepared image is at hand, or they cannot be read.
        """
        file = self.originals.get(image_id)
        prepared, geometry = self._prepared(image_id, file)
        if file is None or not file.is_file():
            content = prepared[geometry.content]
            grey = content if content.dtype == np.uint8 else (content >> 8).astype(np.uint8)
            return Shown(grey, prepared, geometry, original=False)
        x0, y0, x1, y1 = geometry.box
        rows = min(geometry.source[0], round(height * geometry.source[0] / (y1 - y0)))
        whole = grey_original(open_image(file), self._run.config.preprocess.window, rows)
        # Cropped as for the network: more of the breast to see, and no words burnt into a corner.
        scale = whole.shape[0] / geometry.source[0], whole.shape[1] / geometry.source[1]
        part = whole[round(y0 * scale[0]) : round(y1 * scale[0]), round(x0 * scale[1]) : round(x1 * scale[1])]
        return Shown(part, prepared, geometry, original=True)

    def _prepared(self, image_id: str, file: Path | None) -> tuple[npt.NDArray[Any], Geometry]:
        if self.cache is not None and image_id in self.cache:
            return self.cache.read(image_id), self.cache.geometry(image_id)
        if file is None:
            raise FileNotFoundError(f"{image_id}: neither in {self._data} nor in a cache of prepared images")
        return prepare_image(file, self._run.config.preprocess)


def find_image(run: Run | None, image: str, data: str = "") -> tuple[Path, tuple[int, ...]]:
    """A file by its path or by its image_id in the run's set, and the fold, if any, that has not seen its patient.

    A bundle, for which ``run`` is None, knows no ids. ``data`` is the set's folder where it has moved.

    Raises:
        RunError: It is neither.
    """
    file = Path(image)
    if not file.is_file():
        found = Pixels(run, data).originals.get(image) if run else None
        if found is None:
            raise RunError(f"image={image}: neither a file nor an id of the run's set; data=FOLDER says where that is")
        file = found
    rows = run.folds.loc[run.folds["image_id"] == file.stem, "fold"].tolist() if run else []
    return file, tuple(rows[:1])
