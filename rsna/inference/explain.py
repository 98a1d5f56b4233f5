"""Where a network looks: Grad-CAM of the cancer logit, drawn on the pixels of the file as it came.

Selvaraju et al., Grad-CAM (2017), with captum. It shows which regions raise the logit, as coarse as the feature map
it is read from; it does not say that what lies there is cancer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rsna.config.settings import ConfigError
from rsna.model.network import MammogramNet, to_unit
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import prepare_image
from rsna.prepare.source import SourceImage, open_image
from rsna.runs.trained_model import TrainedModel

Heat = npt.NDArray[np.float32]
"""(H, W) float32 ≥ 0, logit per feature map cell up to a factor; 0 where nothing raises the logit."""

Grey = npt.NDArray[np.uint8]

STRIDE = 16
"""Pixels of the network's input along a side of one cell of heat. Cells of the very last map, 32 pixels wide, see the
whole breast of small inputs: their heat is everywhere."""


@dataclass(frozen=True)
class Explanation:
    """An image and where the networks look."""

    original: Grey
    """(h, w) uint8, the whole file as stored, not mirrored."""
    heat: Heat
    """(h, w) float32, of the same shape."""
    folds: tuple[int, ...]
    """Folds whose heat is averaged."""

    def picture(self) -> npt.NDArray[np.uint8]:
        """(h, w, 3) uint8 red, green, blue: heat on the original."""
        return overlay(self.original, self.heat, float(self.heat.max()))


def explain(trained: TrainedModel, file: Path, height: int) -> Explanation:
    """Explains the cancer logit of one file.

    Args:
        trained: Networks and how they want their images.
        file: DICOM, PNG or JPEG.
        height: Rows of the pictures at most; 0 for all of the file's.

    Raises:
        ConfigError: captum is missing, or the model needs boxes that a single file does not have.
        DicomError, PictureError, OSError: The file cannot become pixels.
    """
    if trained.preprocess.crop == "boxes":
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    image = open_image(file)
    prepared, geometry = prepare_image(image, trained.preprocess)
    original = grey_original(image, trained.preprocess.window, height)
    heat = grad_cam(trained.networks(), prepared, trained.cancer_column)
    return Explanation(original, heat_on_original(heat, geometry, original.shape), trained.folds)


def grad_cam(networks: Sequence[MammogramNet], prepared: npt.NDArray[Any], column: int) -> Heat:
    """Grad-CAM of a column of the logits: (H, W) uint8 or uint16 prepared pixels → heat on them, the networks' mean.

    The networks are left in evaluation mode.

    Raises:
        ConfigError: captum is not installed, or the backbone has no feature maps.
    """
    try:
        from captum.attr import LayerGradCam
    except ModuleNotFoundError as error:
        raise ConfigError("captum is not installed; pip install 'rsna-mammography[train]'") from error
    heat = np.zeros(prepared.shape, np.float32)
    for network in networks:
        network.eval()
        method = LayerGradCam(network, _layer(network))
        device = network.classifier.weight.device
        batch = to_unit(torch.from_numpy(np.ascontiguousarray(prepared))[None, None].to(device))
        found = method.attribute(batch, target=column, relu_attributions=True)
        if found.ndim != 4:
            raise ConfigError(f"model.backbone: {network.settings.backbone} has no feature map to draw heat from")
        heat += _on_prepared(found[0, 0].detach().float().cpu().numpy(), network, prepared.shape)
    return heat / np.float32(max(len(networks), 1))


def heat_on_original(heat: Heat, geometry: Geometry, size: tuple[int, ...]) -> Heat:
    """Heat on a prepared image → on the whole file at another size, through the geometry; 0 outside of the crop.

    Args:
        heat: (H, W) of ``geometry.size``.
        geometry: How the prepared image lies in its file.
        size: (rows, columns) of the result, which covers the file as stored.
    """
    rows, columns = size
    x = (np.arange(columns) + 0.5) * geometry.source[1] / columns
    y = (np.arange(rows) + 0.5) * geometry.source[0] / rows
    points = geometry.to_prepared(np.stack(np.meshgrid(x, y), axis=-1)).astype(np.float32)  # (rows, columns, 2)
    across, down = points[..., 0] - 0.5, points[..., 1] - 0.5  # OpenCV's origin is the middle of the first pixel
    moved = cv2.remap(heat, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    x0, y0, x1, y1 = geometry.box
    inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None, :]
    return np.asarray(np.where(inside, moved, 0.0), dtype=np.float32)


def grey_original(image: SourceImage, window: int | str | None, height: int) -> Grey:
    """(h, w) uint8 of a whole file as stored, not mirrored, at most ``height`` rows (0: all of them).

    JPEG 2000 is decoded at the smallest level that has as many rows.
    """
    level = 0
    while height and level < image.levels and image.size_at(level + 1)[0] >= height:
        level += 1
    pixels = image.display(level, window=window)
    if height and pixels.shape[0] > height:
        width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def heat_colours(heat: Heat, top: float) -> npt.NDArray[np.uint8]:
    """(h, w) heat → (h, w, 4) uint8 red, green, blue, opacity: nothing where it is 0, from yellow to red at ``top``."""
    share = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
    red, blue = np.full_like(share, 255.0), 40.0 * (1 - share)
    colours = np.stack([red, 225.0 - 190.0 * share, blue, 150.0 * share], axis=-1)
    return np.asarray(np.rint(colours), dtype=np.uint8)


def overlay(grey: Grey, heat: Heat, top: float) -> npt.NDArray[np.uint8]:
    """(h, w) grey pixels and heat of the same size → (h, w, 3) uint8 red, green, blue."""
    colours = heat_colours(heat, top).astype(np.float32)
    opacity = colours[..., 3:] / 255.0
    return np.asarray(np.rint(grey[..., None] * (1 - opacity) + colours[..., :3] * opacity), dtype=np.uint8)


def _layer(network: MammogramNet) -> nn.Module:
    """What ends in the deepest feature map of STRIDE; the whole backbone where timm does not know of one.

    Of networks that give tokens, or channels last, the map that is made of them.
    """
    if network.feature_map.features.layout != "map":
        return network.feature_map
    stages = [stage for stage in getattr(network.backbone, "feature_info", []) if stage["reduction"] == STRIDE]
    layer: nn.Module = network.backbone.get_submodule(stages[-1]["module"]) if stages else network.backbone
    return layer


def _on_prepared(heat: Heat, network: MammogramNet, size: tuple[int, ...]) -> Heat:
    """A feature map's heat → (H, W): undoes the resizing and the centre crop of evaluation."""
    rows, columns = size
    resize, crop = network.settings.resize, network.settings.crop
    scale = resize / min(rows, columns) if resize else 1.0
    seen = max(round(rows * scale), 1), max(round(columns * scale), 1)
    part = tuple(min(side, crop) if crop else side for side in seen)
    whole = np.zeros(seen, np.float32)
    top, left = (seen[0] - part[0]) // 2, (seen[1] - part[1]) // 2
    whole[top : top + part[0], left : left + part[1]] = cv2.resize(
        heat, (part[1], part[0]), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
