"""Where a network looks: Grad-CAM of the cancer logit, drawn on the pixels of the file as it came.

Selvaraju et al., Grad-CAM (2017), with captum. It shows which regions raise the logit, as coarse as the feature map
it is read from; it does not say that what lies there is cancer.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from rsna.config.settings import ConfigError
from rsna.dataset.examples import examples_of
from rsna.dicom.box import Box
from rsna.dicom.errors import DicomError
from rsna.dicom.file import Mammogram
from rsna.files import first_line
from rsna.inference.batch import ImageFacts, stack_batch
from rsna.inference.devices import choose_devices, choose_precision
from rsna.inference.heat import breast_on_file, grey_original, heat_on_original
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.submission import join_folds
from rsna.model.network import MammogramNet, listening, to_unit
from rsna.parallel.progress import Progress
from rsna.pictures.heat import Grey, Heat, Panel, heat_figure, overlay
from rsna.pictures.words import Pixels
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import Prepared, prepare_image
from rsna.prepare.source import PictureError, SourceImage, open_image
from rsna.runs.trained_ensemble import TrainedEnsemble
from rsna.runs.trained_model import TrainedModel

STRIDE = 16
"""Pixels of the network's input along a side of one cell of heat. Cells of the very last map, 32 pixels wide, see the
whole breast of small inputs: their heat is everywhere."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """An image and where the networks look."""

    file: Path
    side: str
    """L, R, or "" where neither table nor header says."""
    view: str
    """CC, MLO, …, or ""."""
    original: Grey
    """(h, w) uint8, the whole file as stored, not mirrored."""
    box: Box
    """What of it any network is shown, x0, y0, x1, y1."""
    heat: Heat
    """(h, w) float32, of the same shape; 0 outside of the breast."""
    spread: Heat
    """(h, w) float32, standard deviation of the heat over folds and members; 0 of one network."""
    top: float
    """Largest heat on any image of its breast: all have one scale."""
    outside: float
    """Share of the heat that lay outside of the breast."""
    breast_found: bool
    """By every member; without, heat is shown wherever it is."""
    probability: float
    """Of cancer: of the image, or of its breast where that is predicted at once."""
    weight: float | None
    """What the image weighs in its breast, mean over folds; None where images are predicted by themselves."""
    folds: tuple[int, ...]
    """Folds whose heat is averaged."""
    networks: int
    """How many networks that are."""
    lost: tuple[str, ...] = ()
    """Files of its breast, and of the other one where that is compared, that could not be read, and why: the networks
    see the rest, as in prediction."""

    def picture(self) -> Pixels:
        """(h, w, 3) uint8 red, green, blue: heat on the original."""
        return overlay(self.original, self.heat, self.top)

    def figure(self, model: str, threshold: float) -> Pixels:
        """(rows, columns, 3) uint8 red, green, blue: file, heat and its spread side by side, with all there is to say.

        Args:
            model: Whose heat it is, in words.
            threshold: From which on the model recalls.
        """
        probability = f"probability of cancer {self.probability:.4f}, recalled from {threshold:.4f} on"
        weight = "" if self.weight is None else f"; of the breast, in which this image weighs {self.weight:.2f}"
        where = f"{self.side or 'side unknown'} {self.view or 'view unknown'}"
        lines = [f"{self.file.stem} · {where}", probability + weight, f"Grad-CAM of the cancer logit · {model}"]
        if self.top <= 0:
            lines.append("nothing raises the logit")
        elif not self.breast_found:
            lines.append("no breast found: heat is shown wherever it is")
        elif self.outside >= 0.005:
            lines.append(f"{self.outside:.0%} of the heat on this image lies outside of the breast, and is not shown")
        x0, y0, x1, y1 = self.box
        part = (slice(y0, y1), slice(x0, x1))
        whole = "on this image" if self.weight is None else "in the breast"
        share = self.heat[part] / np.float32(max(self.top, 1e-12))
        panels = [Panel(self.original[part], "the file")]
        panels.append(Panel(self.picture()[part], f"heat: 1 is the highest {whole}; the line is at 0.5", share))
        if self.networks > 1:
            row, column = np.unravel_index(int(np.argmax(self.heat)), self.heat.shape)
            at_most = f"{self.heat[row, column] / max(self.top, 1e-12):.2f}"
            apart = f"{self.spread[row, column] / max(self.top, 1e-12):.2f}"
            said = f"standard deviation over {self.networks} networks: {at_most} ± {apart} where heat is highest"
            panels.append(Panel(overlay(self.original, self.spread, self.top)[part], said))
        return heat_figure(lines, panels)


def explain(trained: TrainedEnsemble, images: pd.DataFrame, file: Path, height: int) -> list[Explanation]:
    """Explains the cancer logit of a file, or of the breast that it shows, where that is predicted at once.

    Of several members it is the mean of their heat, each divided by its highest and weighted as its logit is: feature
    maps have scales of their own. An image of the breast that some members do not look at has the others' alone.

    Args:
        trained: Networks and how they want their images.
        images: Files of a patient, DICOM, PNG, JPEG or PGM, and what is known of them: a row an image with image_id,
            patient_id, prediction_id, path.
        file: One of them.
        height: Rows of the pictures at most; 0 for all of the file's.

    Returns:
        Of every image of the example, that of the other breast aside.

    Raises:
        ConfigError: captum is missing, or the model needs boxes that a single file does not have.
        DicomError, PictureError, OSError: The file cannot become pixels; one beside it is left out.
    """
    if any(member.preprocess.crop == "boxes" for member in trained.members):
        raise ConfigError("preprocess.crop: boxes are known for the training images alone; train with crop=breast")
    members = [_explain_member(member, images, file, height) for member in trained.members]
    weights = trained.member_weights or (1 / len(members),) * len(members)
    shown: dict[Path, list[tuple[Explanation, float]]] = {}
    scores: dict[Path, list[float]] = {}
    for place, (found, weight) in enumerate(zip(members, weights, strict=True)):
        for one in found:
            shown.setdefault(one.file, []).append((one, weight))
            scores.setdefault(one.file, [np.nan] * len(members))[place] = one.probability
    joint = dict(zip(scores, trained.join(np.array([*scores.values()]).T).tolist(), strict=True))
    if len(members) == 1:
        return [replace(one, probability=joint[one.file]) for one in members[0]]
    mean = [replace(_mean_of(parts), probability=joint[file]) for file, parts in shown.items()]
    top = max(float(one.heat.max()) for one in mean)
    return [replace(one, top=top) for one in mean]


def _mean_of(parts: list[tuple[Explanation, float]]) -> Explanation:
    """What members explain of one image, and what they weigh, as one."""
    total = sum(weight for _, weight in parts)
    heat, square = np.zeros_like(parts[0][0].heat), np.zeros_like(parts[0][0].heat)
    for one, weight in parts:
        scale, share = np.float32(1 / max(one.top, 1e-12)), np.float32(weight / total)
        heat += share * scale * one.heat
        square += share * scale**2 * (one.heat**2 + one.spread**2)
    spread = np.sqrt(np.maximum(square - heat**2, 0), dtype=np.float32)
    whole = [(one.weight, weight) for one, weight in parts if one.weight is not None]
    mean = sum(own * weight for own, weight in whole) / sum(weight for _, weight in whole) if whole else None
    outside = sum(one.outside * weight for one, weight in parts) / total
    networks = sum(one.networks for one, _ in parts)
    lefts, tops, rights, bottoms = zip(*(one.box for one, _ in parts), strict=True)
    return replace(
        parts[0][0],
        box=(min(lefts), min(tops), max(rights), max(bottoms)),  # crops of members may be unlike
        heat=heat,
        spread=spread,
        outside=outside,
        breast_found=all(one.breast_found for one, _ in parts),
        weight=mean,
        networks=networks,
        lost=tuple(dict.fromkeys(line for one, _ in parts for line in one.lost)),
    )


def _explain_member(trained: TrainedModel, images: pd.DataFrame, file: Path, height: int) -> list[Explanation]:
    found = examples_of(trained.spec.unit, images, compare=trained.spec.compare)
    paths = [Path(path) for path in found.images["path"]]
    e = next(e for e, rows in enumerate(found.rows) if file in [paths[row] for row in rows])
    every = found.with_others()[0][e]
    facts = ImageFacts.of(trained.spec, found)
    read: list[tuple[int, SourceImage, Prepared, Geometry]] = []  # place in the example
    lost: list[str] = []
    with Progress("prepare the images", len(every)) as progress:
        for place, row in progress.over(list(enumerate(every.tolist()))):
            try:
                image = open_image(paths[row])
                read.append((place, image, *prepare_image(image, trained.preprocess)))
            except (DicomError, PictureError, OSError) as error:
                if paths[row] == file:
                    raise
                why = first_line(error)
                lost.append(why if str(paths[row]) in why else f"{paths[row]}: {why}")
    own = [place for place, *_ in read if place < len(found.rows[e])]  # ahead of images of the other breast
    with Progress("load the networks"):
        networks = trained.networks()
    tags = {place: image.tags for place, image, *_ in read if isinstance(image, Mammogram)}
    known = None
    if facts:
        kept = np.isin(np.arange(len(every)), [place for place, *_ in read])
        known = facts[e].with_headers([tags.get(place) for place in range(len(every))], Counter()).kept(kept)
    pixels = [one for _, _, one, _ in read]
    with Progress("draw heat"), contextlib.ExitStack() as stack:
        probability = _probability(trained, networks, pixels, known)
        heard = [stack.enter_context(listening(network)) for network in networks]
        heats = grad_cam_each(networks, pixels, trained.cancer_column, known)  # (networks, images, H, W)
        shown = [
            _on_file(image, geometry, heats[:, number], trained, height)
            for number, (_, image, _, geometry) in enumerate(read[: len(own)])
        ]
    whole = trained.spec.unit == "breast"
    top = max(float(one.heat.max()) for one in shown)
    return [
        Explanation(
            file=paths[every[place]],
            side=_said(found.images, every[place], "laterality") or (header.laterality if header else ""),
            view=_said(found.images, every[place], "view") or (header.view if header else ""),
            original=one.original,
            box=one.box,
            heat=one.heat,
            spread=one.spread,
            top=top,
            outside=one.outside,
            breast_found=read[number][3].breast_found,
            probability=probability,
            weight=float(torch.stack([weights[0][number] for weights in heard]).detach().mean()) if whole else None,
            folds=trained.folds,
            networks=len(networks),
            lost=tuple(lost),
        )
        for number, (place, one, header) in enumerate(zip(own, shown, map(tags.get, own), strict=True))
    ]


def _said(images: pd.DataFrame, row: int, column: str) -> str:
    return str(images[column].iloc[row]) if column in images else ""


def _probability(
    trained: TrainedModel, networks: list[MammogramNet], pixels: list[Prepared], facts: ImageFacts | None
) -> float:
    """Of an example, as `rsna infer` predicts it with one model."""
    batch = stack_batch([pixels], [facts] if facts else ())
    device = choose_devices()[0]
    on_device = TorchNetworks(networks, device, choose_precision(device, trained.precision))
    logits = on_device.logits(batch, PassPlan.of(trained, None))  # (passes, 1, outputs)
    return float(join_folds(logits[:, :, trained.cancer_column].T, "logits")[0])


@dataclass(frozen=True, eq=False)
class _OnFile:
    original: Grey
    box: Box
    heat: Heat
    spread: Heat
    outside: float


def _on_file(
    image: SourceImage, geometry: Geometry, heats: npt.NDArray[np.float32], trained: TrainedModel, height: int
) -> _OnFile:
    """(networks, H, W) heat on a prepared image → its mean and spread on the breast of the file."""
    original = grey_original(image, trained.preprocess, height)
    mean, square = np.zeros(original.shape, np.float32), np.zeros(original.shape, np.float32)
    for heat in heats:  # one after the other: files may be large
        on_file = heat_on_original(heat, geometry, original.shape) / np.float32(len(heats))
        mean += on_file
        square += on_file**2 * np.float32(len(heats))
    spread = np.sqrt(np.maximum(square - mean**2, 0), dtype=np.float32)
    inside = breast_on_file(image, trained.preprocess, original.shape)
    everything, kept = float(mean.sum()), np.where(inside, mean, np.float32(0))
    outside = 1 - float(kept.sum()) / everything if everything > 0 else 0.0
    (rows, columns), (x0, y0, x1, y1) = original.shape, geometry.box
    down, across = rows / geometry.source[0], columns / geometry.source[1]
    box = (int(x0 * across), int(y0 * down), math.ceil(x1 * across), math.ceil(y1 * down))
    return _OnFile(original, box, kept, np.where(inside, spread, np.float32(0)), max(outside, 0.0))


def grad_cam(networks: Sequence[MammogramNet], prepared: npt.NDArray[Any], column: int) -> Heat:
    """Grad-CAM of a column of the logits: (H, W) uint8 or uint16 prepared pixels → heat on them, the networks' mean.

    To a network of breasts the image is a breast by itself. The networks are left in evaluation mode.

    Raises:
        ConfigError: See :func:`grad_cam_example`.
    """
    return grad_cam_example(networks, [prepared], column)[0]


def grad_cam_example(
    networks: Sequence[MammogramNet], images: Sequence[npt.NDArray[Any]], column: int, facts: ImageFacts | None = None
) -> list[Heat]:
    """Grad-CAM of an example's logit on every one of its images, the networks' mean.

    What an image weighs in its breast is in its heat: it is the gradient of the one logit that all of them have.

    Args:
        networks: They are left in evaluation mode.
        images: (H, W) uint8 or uint16 each.
        column: Of the logits.
        facts: What is known of the images; None for nothing.

    Raises:
        ConfigError: See :func:`grad_cam_each`.
    """
    return list(grad_cam_each(networks, images, column, facts).mean(axis=0))


def grad_cam_each(
    networks: Sequence[MammogramNet], images: Sequence[npt.NDArray[Any]], column: int, facts: ImageFacts | None = None
) -> npt.NDArray[np.float32]:
    """:func:`grad_cam_example` of every network by itself: (networks, images, H, W).

    Raises:
        ConfigError: captum is not installed, or the backbone has no feature maps.
    """
    try:
        from captum.attr import LayerGradCam
    except ModuleNotFoundError as error:
        raise ConfigError("captum is not installed; pip install 'rsna-mammography[train]'") from error
    example = stack_batch([images], [facts] if facts else ())
    heats = np.zeros((len(networks), *example.images.shape), np.float32)
    for place, network in enumerate(networks):
        network.eval()
        method = LayerGradCam(network, _layer(network))
        device = network.classifier.weight.device
        batch = to_unit(torch.from_numpy(example.images)[:, None].to(device))
        known = (example.numbers, example.table, example.other)
        given = [None if one is None else torch.from_numpy(one).to(device) for one in known]
        # Rows of the logits behind the example's are constants, whatever is summed up.
        found = method.attribute(batch, column, additional_forward_args=tuple(given), relu_attributions=True)
        if found.ndim != 4:
            raise ConfigError(f"model.backbone: {network.settings.backbone} has no feature map to draw heat from")
        maps = found[:, 0].detach().float().cpu().numpy()  # (N, h, w)
        heats[place] = [_on_prepared(one, network, example.images.shape[1:]) for one in maps]
    return heats


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
