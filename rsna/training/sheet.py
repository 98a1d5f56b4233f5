"""Training batches as the network gets them, augmented and labelled, on one PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsna.config.schema import Config
from rsna.pictures.sheet import Group, Tile, draw_sheet
from rsna.pictures.style import PAPER, rgb
from rsna.pictures.words import Pixels, write_png
from rsna.training.data.batch import plan_batch
from rsna.training.data.module import Batch, FoldData, MammogramData

HEIGHT = 300
"""Rows that an image is shown with."""


def augmented_sheet(config: Config, data: FoldData, out: Path, batches: int = 4, epoch: int = 0) -> Path:
    """Draws the first batches of an epoch, one below the other: the images that training of one device sees.

    They are what the network gets but for one thing: augmentation may brighten the air around a breast, and what is
    darkest in an image is drawn black all the same; how bright it is stands over the image.

    Args:
        config: The experiment.
        data: A fold of it, prepared.
        out: The PNG.
        batches: How many.
        epoch: Counted from 0; augmentation and order differ from epoch to epoch.

    Raises:
        CacheError: An image is not prepared.
    """
    plan = plan_batch(config.global_batch_size, config.batch_size_per_device, 1)
    loader = MammogramData(config, data, plan)
    loader.sampler.set_epoch(epoch)
    drawn = []
    for number, batch in zip(range(batches), loader.train_dataloader(), strict=False):
        title = f"epoch {epoch + 1}, batch {number + 1} · as the network gets it, but that the darkest value is black"
        drawn.append(draw_sheet(title, groups_of(batch, data)).pixels)
    width = max(pixels.shape[1] for pixels in drawn)
    return write_png(np.concatenate([_widened(pixels, width) for pixels in drawn]), out)


def groups_of(batch: Batch, data: FoldData) -> list[Group]:
    """Images by themselves as one group; of breasts each one's images."""
    names = [target.name for target in data.targets]
    tiles: list[list[Tile]] = [[] for _ in batch["index"]]
    images, examples, others = batch["images"].numpy(), batch["example"].tolist(), batch["other"].tolist()
    for image, e, other in zip(images, examples, others, strict=True):
        index = int(batch["index"][e])
        label = "the other breast" if other else labels_of(names, data, batch["labels"][e].tolist())
        shown, floor = on_black(image[0])
        if data.spec.unit == "image":
            row = data.training.images.iloc[data.training.rows[index][0]]
            about = [str(row.get("laterality", "")), str(row.get("view", "")) if "view" not in names else "", label]
            caption = [data.training.ids[index], " ".join(word for word in about if word)]
        else:
            caption = [label or "no cancer"]
        tiles[e].append(Tile((_fitted(shown),), (*caption, *[f"air at {floor:.0%}"] * (floor >= 0.005))))
    if data.spec.unit == "image":
        return [Group("", tuple(tile for own in tiles for tile in own))]
    ids = [data.training.ids[index] for index in batch["index"].tolist()]
    return [Group(f"breast {name}", tuple(own)) for name, own in zip(ids, tiles, strict=True)]


def labels_of(names: Sequence[str], data: FoldData, labels: Sequence[float]) -> str:
    """What an example is labelled with, unknown targets and absent findings left out."""
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


def on_black(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], float]:
    """(H, W) uint8, or float32 in [0, 1] → uint8 with what is darkest at 0, and what it was, 0 to 1."""
    grey = image if image.dtype == np.uint8 else (image * 255).astype(np.uint8)
    floor = grey.min()
    return np.where(grey == floor, np.uint8(0), grey), float(floor) / 255


def _fitted(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    width = max(round(grey.shape[1] * HEIGHT / grey.shape[0]), 1)
    return np.asarray(cv2.resize(grey, (width, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _widened(pixels: Pixels, width: int) -> Pixels:
    more = width - pixels.shape[1]
    return np.asarray(cv2.copyMakeBorder(pixels, 0, 0, 0, more, cv2.BORDER_CONSTANT, value=rgb(PAPER)), dtype=np.uint8)
