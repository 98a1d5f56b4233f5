"""Training batches as the network gets them, augmented and labelled, on one PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsna.config.schema import Config
from rsna.files import write_atomic
from rsna.training.data.batch import plan_batch
from rsna.training.data.module import FoldData, MammogramData

_HEIGHT = 320
"""Pixels that an image is shown with."""
_CAPTION = 34


def augmented_sheet(config: Config, data: FoldData, out: Path, batches: int = 4, epoch: int = 0) -> Path:
    """Draws the first batches of an epoch, a row each: exactly the images that training of one device sees.

    Args:
        config: The experiment.
        data: A fold of it, prepared.
        out: The PNG.
        batches: Rows of the sheet.
        epoch: Counted from 0; augmentation and order differ from epoch to epoch.

    Raises:
        CacheError: An image is not prepared.
    """
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    loader = MammogramData(config, data, plan)
    loader.sampler.set_epoch(epoch)
    rows = []
    names = [target.name for target in data.targets]
    for _, batch in zip(range(batches), loader.train_dataloader(), strict=False):
        tiles = [
            _tile(image[0], data.training.ids[batch["index"][e]], _labels(names, data, batch["labels"][e].tolist()))
            for image, e in zip(batch["images"].numpy(), batch["example"].tolist(), strict=True)
        ]
        rows.append(np.concatenate(tiles, axis=1))
    encoded, content = cv2.imencode(".png", np.concatenate(rows, axis=0))
    if not encoded:
        raise RuntimeError(f"{out}: OpenCV cannot encode the sheet")
    write_atomic(out, content.tobytes())
    return out


def _labels(names: Sequence[str], data: FoldData, labels: Sequence[float]) -> str:
    words = []
    for name, target, label in zip(names, data.targets, labels, strict=True):
        if np.isnan(label):
            continue
        value = target.classes[int(label)]
        if target.classes == ("0", "1"):
            words += [name] if value == "1" else []
        else:
            words.append(value if name == "view" else f"{name} {value}")
    return ", ".join(words)


def _tile(image: npt.NDArray[Any], image_id: str, label: str) -> npt.NDArray[np.uint8]:
    """(H, W) uint8, or float32 in [0, 1] → a captioned tile, uint8."""
    grey = image if image.dtype == np.uint8 else (image * 255).astype(np.uint8)
    width = max(round(grey.shape[1] * _HEIGHT / grey.shape[0]), 1)
    shown = cv2.resize(grey, (width, _HEIGHT), interpolation=cv2.INTER_AREA)
    tile = np.zeros((_HEIGHT + _CAPTION, width + 4), np.uint8)
    tile[_CAPTION:, :width] = shown
    for line, text in enumerate((image_id, label)):
        cv2.putText(tile, text, (2, 13 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    return tile
