"""Images of a run, wherever they are at hand: the files as they came, and what the network sees of them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from rsna.dicom.errors import DicomError
from rsna.evaluation.checks import shown
from rsna.files import file_name, first_line
from rsna.inference.heat import Inside, breast_on_file, breast_on_prepared, grey_original
from rsna.pictures.heat import Grey, Heat
from rsna.prepare.cache import CacheError
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared, prepare_image
from rsna.prepare.packs.prepared import PreparedImages, find_prepared
from rsna.prepare.source import PictureError, open_image
from rsna.runs.errors import RunError
from rsna.runs.run import Run

UNREADABLE = (DicomError, PictureError, CacheError, OSError, ValueError)
"""What a file that cannot be shown raises."""

_FOLDERS = re.compile(r"(?<!\S)(?:(?:\w+:/)?/[^:]*/|(?:[^\s/:]+/){2,})")
"""Folders before a file's name, in the words of an error."""

_OF_A_WOMAN = ("patient_id", "laterality", "age", "density", "implant", "site_id", "machine_id")
"""Columns in which two sets that number their images alike differ, and no choice of labels does."""


@dataclass(frozen=True)
class Shown:
    """An image to show, and how heat is put on it."""

    pixels: Grey
    """(h, w) uint8: the crop of the file as stored, not mirrored; the prepared image where that is all there is."""
    prepared: Prepared
    """(H, W) uint8 or uint16, what the network sees."""
    geometry: Geometry
    original: bool
    """Whether ``pixels`` come from the file as stored."""
    breast: Callable[[], Inside]
    """(h, w) bool, where on ``pixels`` the breast is; looked for when heat is drawn."""

    def heat(self, heat: Heat) -> Heat:
        """(H, W) heat on the prepared image → (h, w) on ``pixels``, 0 outside of the breast."""
        part = heat[self.geometry.content]
        if self.original:
            # Both show the crop alone, so that undoing mirror and scale is all there is to do.
            part = part[:, ::-1] if self.geometry.flipped else part
            part = cv2.resize(part, self.pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.where(self.breast(), part, 0), dtype=np.float32)


class Pixels:
    """The images of a run."""

    def __init__(self, run: Run, data: str = "") -> None:
        """Looks for originals in ``data``, and for prepared images; both else where the run had them."""
        self._run = run
        self._data = data or run.config.data.root

    @cached_property
    def table(self) -> pd.DataFrame:
        """The set, a row an image; without any where it is not at hand."""
        return self._loaded[0]

    @property
    def absent(self) -> str:
        """Why the set is not at hand; empty where it is."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[pd.DataFrame, str]:
        try:
            return load_table(Path(self._data)).frame, ""
        except (TableError, OSError) as error:
            return pd.DataFrame({"image_id": [], "patient_id": [], "path": []}, dtype=str), first_line(error)

    @cached_property
    def originals(self) -> dict[str, Path]:
        """image_id → file; empty where the set is not at hand."""
        return {str(i): Path(path) for i, path in zip(self.table["image_id"], self.table["path"], strict=True)}

    @cached_property
    def images(self) -> PreparedImages | None:
        """Prepared images under the run's preprocessing hash; None where there are none."""
        record = self._run.record
        return find_prepared(self._run.config, record.data.name, record.hashes.preprocessing)

    @cached_property
    def stranger(self) -> str:
        """Why the set at hand is not the run's, in which its ids are other women's; empty where nothing says so."""
        try:
            predicted = self._run.oof()
        except RunError:  # is said where predictions are needed
            return ""
        if "image_ids" in predicted:
            predicted = predicted.explode("image_ids").rename(columns={"image_ids": "image_id"})
        shared = [column for column in _OF_A_WOMAN if column in predicted and column in self.table]
        both = predicted[["image_id", *shared]].merge(self.table[["image_id", *shared]], on="image_id")
        for column in shared:
            here, there = both[f"{column}_x"], both[f"{column}_y"]
            if is_numeric_dtype(here) != is_numeric_dtype(there):
                continue  # one of the two was read otherwise
            apart = here.notna() & there.notna() & here.ne(there)
            if apart.any():
                first = int(apart.to_numpy().argmax())
                return (
                    f"the set at hand is another one: {column} of image {both['image_id'].iloc[first]} is "
                    f"{shown(there.iloc[first])} there, and {shown(here.iloc[first])} in the predictions; data=FOLDER "
                    "says where the run's own lies"
                )
        return ""

    def show(self, image_id: str, height: int) -> Shown:
        """An image, its crop at most ``height`` rows.

        Raises:
            One of UNREADABLE: Neither file nor prepared image is at hand, or they cannot be read.
        """
        file, settings = self.originals.get(image_id), self._run.config.preprocess
        prepared, geometry = self.prepared(image_id)
        if file is None or not file.is_file():
            content = prepared[geometry.content]
            grey = (content if content.dtype == np.uint8 else content >> 8).astype(np.uint8)
            breast = partial(breast_on_prepared, content, settings)
            return Shown(grey, prepared, geometry, original=False, breast=breast)
        x0, y0, x1, y1 = geometry.box
        rows = min(geometry.source[0], round(height * geometry.source[0] / (y1 - y0)))
        image = open_image(file)
        whole = grey_original(image, settings, rows)
        # Cropped as for the network: more of the breast to see, and no words burnt into a corner.
        down, across = whole.shape[0] / geometry.source[0], whole.shape[1] / geometry.source[1]
        part = (slice(round(y0 * down), round(y1 * down)), slice(round(x0 * across), round(x1 * across)))
        breast = partial(breast_on_file, image, settings, whole.shape, part)
        return Shown(whole[part], prepared, geometry, original=True, breast=breast)

    def prepared(self, image_id: str) -> tuple[Prepared, Geometry]:
        """(H, W) uint8 or uint16 as the network sees it, and how it lies in its file.

        Raises:
            One of UNREADABLE: See :meth:`show`.
        """
        if self.stranger:
            raise PictureError(self.stranger)
        file = self.originals.get(image_id)
        if self.images is not None and image_id in self.images:
            return self.images.read(image_id), self.images.geometry(image_id)
        if file is None:
            raise FileNotFoundError(f"{image_id}: neither in {self._data} nor in a pack or cache of prepared images")
        return prepare_image(file, self._run.config.preprocess)

    def reason(self, image_id: str, error: Exception) -> str:
        """Why an image has no picture, as a page says it: where files lie is nobody's business."""
        if isinstance(error, FileNotFoundError):
            return "neither files nor prepared images are at hand; data=FOLDER says where the set lies"
        said = str(error)
        if file := self.originals.get(image_id):
            said = said.replace(str(file), file.name)
        return _FOLDERS.sub("", said).rstrip(".")


def find_image(run: Run | None, image: str, data: str = "") -> tuple[Path, tuple[int, ...], str]:
    """A file by its path or by its image_id in the run's set.

    A file of the set is given back as the set spells it. A bundle, for which ``run`` is None, knows no ids. ``data`` is
    the set's folder where it has moved.

    Returns:
        The file, the fold, if any, that has not seen its patient, and what of that was guessed.

    Raises:
        RunError: It is neither.
    """
    file, pixels = Path(image), Pixels(run, data) if run else None
    image_id, guess = file.stem, ""
    if file.is_file():
        row = _row_of(pixels.table, file) if pixels else None
        if pixels and row is not None:
            file, image_id = Path(row["path"]), "" if pixels.stranger else row["image_id"]
        elif pixels and not pixels.absent:
            image_id = ""  # a file of elsewhere that is called as one of the set's
        elif pixels:
            guess = f"by its name the file is taken for image {image_id} of the run's set ({pixels.absent})"
    else:
        if pixels and pixels.stranger:
            raise RunError(f"image={image}: {pixels.stranger}")
        found = pixels.originals.get(image) if pixels else None
        if found is None:
            why = f" ({pixels.absent})" if pixels and pixels.absent else ""
            raise RunError(
                f"image={image}: neither a file nor an id of the run's set; data=FOLDER says where that is{why}"
            )
        file, image_id = found, image
    rows = run.folds.loc[run.folds["image_id"] == image_id, "fold"].tolist() if run else []
    return file, tuple(rows[:1]), guess if rows else ""


def _row_of(table: pd.DataFrame, file: Path) -> pd.Series | None:
    """The row of a set that names this very file, however the two are spelt."""
    here = file.resolve()
    for place in np.flatnonzero(table["path"].str.endswith(file.name)):
        if Path(table["path"].iloc[place]).resolve() == here:
            return table.iloc[place]
    return None


def picture_names(images: pd.DataFrame, files: Sequence[Path]) -> dict[Path, str]:
    """What the pictures of files are called: as these are, or by their image_id where several are called alike.

    Args:
        images: image_id and path, a row an image, those files among them.
        files: Of a breast; archives call the files of every view 1.dcm.
    """
    ids = {Path(path): str(image_id) for path, image_id in zip(images["path"], images["image_id"], strict=True)}
    count = Counter(file.stem for file in files)
    return {file: file.stem if count[file.stem] == 1 else file_name(ids[file]) for file in files}


def images_beside(run: Run | None, file: Path, data: str = "") -> pd.DataFrame:
    """Rows of a run's set: every image of the patient whom a file of it shows; of any other file that file alone."""
    if run is not None:
        table = Pixels(run, data).table
        patient = table.loc[table["path"].eq(str(file)), "patient_id"]
        if len(patient):
            return table[table["patient_id"].eq(patient.iloc[0])]
    return pd.DataFrame([{"image_id": file.stem, "patient_id": "", "prediction_id": "", "path": str(file)}])
