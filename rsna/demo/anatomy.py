"""The outlines of a breast between two plates, by view: breast, nipple, chest muscle, implant.

Drawn with the chest wall at the left edge.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsna.demo import texture
from rsna.demo.plan import Patient, View
from rsna.demo.texture import Image, Points

MARGIN = 24
"""Pixels drawn beyond the chest wall and cut off at the end, so that filters do not see that edge."""


@dataclass(frozen=True)
class Anatomy:
    """Where things are in one image, on the canvas with its margin."""

    coverage: Image
    """(H, W) float32 in [0, 1], share of the pixel that the breast with its skin covers."""
    skin_distance: Image
    """(H, W) float32, millimetres to the skin, 0 outside."""
    muscle_depth: Image
    """(H, W) float32, millimetres inwards from the edge of the chest muscle, negative outside it."""
    implant: Image
    """(H, W) float32 in [0, 1], share of an implant; zeros where there is none."""
    nipple: tuple[float, float]
    """x, y in pixels."""
    half_height: float
    """Half the breast's extent along the chest wall, millimetres."""
    pitch: float
    """Millimetres per pixel."""


def lay_out(patient: Patient, view: View, rng: np.random.Generator) -> Anatomy:
    """Outline, nipple and muscle of one image; the patient's measures with the small changes of each positioning."""
    rows, columns = patient.machine.size
    shape = (rows, columns + MARGIN)
    pitch = patient.machine.pitch
    depth = patient.depth / pitch * rng.uniform(0.95, 1.05)
    half = patient.half_height / pitch * rng.uniform(0.96, 1.04)
    if view == "CC":
        outline, nipple = _outline_cc(rng, rows, depth, half)
        muscle_edge = _sliver(rng, rows, nipple[1], half, depth)
    else:
        outline, nipple = _outline_mlo(rng, rows, depth, half)
        muscle_edge = _triangle(rng, rows, depth, nipple[1], scale=1.0 if view == "MLO" else 0.5)
    outline, nipple = outline + [MARGIN, 0], nipple + [MARGIN, 0]
    breast = texture.fill(shape, outline)
    radius = rng.uniform(3.5, 5.5) / pitch
    # Turned aside, a nipple lies upon the breast; in profile it stands out, without a skin line of its own.
    tip = texture.circle(nipple + [rng.uniform(-0.9, 0.9) * radius, rng.normal(0, 0.2) * radius], radius)
    coverage = np.maximum(breast, texture.smooth_step(texture.blur(texture.fill(shape, tip), 0.5 / pitch), 0.1, 0.9))
    # The chest wall and the image's other borders are no skin: pad with breast there.
    padded = cv2.copyMakeBorder((breast > 0.5).astype(np.uint8), 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    distance = _distance(padded)[8:-8, 8:-8]
    muscle_depth = _muscle_depth(shape, muscle_edge + [MARGIN, 0]) * np.float32(pitch)
    return Anatomy(
        coverage,
        texture.blur(distance * np.float32(pitch), 1.0),
        muscle_depth,
        _implant(shape, depth, half, nipple, rng) * coverage if patient.implant else np.zeros(shape, np.float32),
        (float(nipple[0]), float(nipple[1])),
        half * pitch,
        pitch,
    )


def _muscle_depth(shape: tuple[int, int], edge: Points) -> Image:
    """(H, W) float32, pixels inwards from a polygon's edge, negative outside; coarse, as the muscle's edge is soft."""
    coarse = tuple(-(-side // texture.COARSE) for side in shape)
    muscle = (texture.fill(coarse, edge / texture.COARSE) > 0.5).astype(np.uint8)  # type: ignore[arg-type]
    if not muscle.any():
        return np.full(shape, -1e3, np.float32)
    depth = texture.blur(_distance(muscle) - _distance(1 - muscle), 1.5)
    return texture.enlarged(depth, shape) * np.float32(texture.COARSE)


def _distance(mask: npt.NDArray[np.uint8]) -> Image:
    """(H, W) float32, pixels to the nearest zero."""
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bit depends on where the array lies in memory; a squared distance in pixels is a whole number.
    return np.asarray(np.sqrt(np.round(distance**2)), np.float32)


def _implant(shape: tuple[int, int], depth: float, half: float, nipple: Points, rng: np.random.Generator) -> Image:
    """A silicone implant: a smooth oval against the chest wall that little shines through."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    oval = np.hypot((x - MARGIN) / (depth * rng.uniform(0.5, 0.6)), (y - nipple[1]) / (half * rng.uniform(0.6, 0.7)))
    return texture.smooth_step((1.0 - oval).astype(np.float32), 0.0, 0.04)


def _outline_cc(rng: np.random.Generator, rows: int, depth: float, half: float) -> tuple[Points, Points]:
    """Half an ellipse, lopsided and sometimes pointed, that meets the chest wall at an angle."""
    centre = rows * rng.uniform(0.45, 0.55)
    hidden = depth * rng.uniform(0.0, 0.35)  # part of the ellipse that lies behind the chest wall
    angle = np.linspace(-np.pi / 2, np.pi / 2, 181)
    pointed = rng.uniform(0.68, 1.0)
    skew = rng.normal(0, 0.09)
    x = (depth + hidden) * np.cos(angle) ** pointed - hidden
    y = centre + half * (np.sin(angle) + skew * np.cos(angle) ** 2)
    curve = np.column_stack([x * _wave(rng, angle), y])
    nipple = curve[int(np.argmax(curve[:, 0]))]
    behind = np.array([[-4 * MARGIN, y[-1]], [-4 * MARGIN, y[0]]])
    return np.vstack([curve, behind, curve[:1]]), nipple


def _outline_mlo(rng: np.random.Generator, rows: int, depth: float, half: float) -> tuple[Points, Points]:
    """From the armpit at the top edge over the nipple to the fold under the breast, sometimes with the belly below."""
    nipple_y = rows * rng.uniform(0.50, 0.64)
    fold_y = min(nipple_y + half * rng.uniform(0.75, 1.05), rows * 0.95)
    armpit = depth * rng.uniform(0.45, 0.92)
    waist = depth * (rng.uniform(0.03, 0.14) if rng.random() < 0.6 else -0.15)
    fullness, roundness = rng.uniform(0.75, 1.35), rng.uniform(0.55, 0.95)
    up = np.linspace(1.08, 0, 60)
    above = np.column_stack([
        armpit + (depth - armpit) * (1 + np.cos(np.pi * np.minimum(up, 1.0) ** fullness)) / 2, nipple_y * (1 - up)
    ])  # fmt: skip
    turn = np.linspace(0, 0.46 * np.pi, 40)[1:]
    below = np.column_stack([
        waist + (depth - waist) * np.cos(turn) ** roundness, nipple_y + (fold_y - nipple_y) * np.sin(turn)
    ])  # fmt: skip
    curve = np.vstack([above, below])
    curve[:, 0] *= _wave(rng, np.linspace(-np.pi / 2, np.pi / 2, len(curve)))
    nipple = curve[int(np.argmax(curve[:, 0]))]
    corner = min(waist, 0.3 * below[-1, 0])
    belly = np.array([
        curve[-3], curve[-1], [corner, fold_y + 0.015 * half], [corner, fold_y + 0.09 * half],
        [corner + depth * rng.uniform(0.0, 0.06), fold_y + 0.22 * half],
        [corner + depth * rng.uniform(0.04, 0.16), max(1.06 * rows, fold_y + 0.4 * half)],
    ])  # fmt: skip
    curve = np.vstack([curve[:-3], texture.smooth_curve(belly)])
    behind = np.array([[-4 * MARGIN, curve[-1, 1]], [-4 * MARGIN, curve[0, 1]]])
    return np.vstack([curve, behind]), nipple


def _wave(rng: np.random.Generator, angle: Points) -> Points:
    """The small ups and downs of an outline, 1 on average."""
    waves = [amount * rng.normal() * np.sin(k * angle + rng.uniform(0, 6.28)) for k, amount in ((4, 0.012), (9, 0.005))]
    return np.asarray(1 + np.sum(waves, axis=0))


def _triangle(rng: np.random.Generator, rows: int, depth: float, nipple_y: float, scale: float) -> Points:
    """The chest muscle in MLO: a triangle at the upper chest wall, its edge slightly bowed."""
    top = depth * rng.uniform(0.38, 0.68) * scale
    bottom = nipple_y * rng.uniform(0.75, 1.40) * scale
    bow = rng.uniform(-0.03, 0.14) * top
    edge = np.array([[1.04 * top, -0.05 * rows], [0.72 * top + bow, 0.3 * bottom], [0.38 * top + bow, 0.65 * bottom],
                     [0.0, bottom], [-MARGIN, 1.1 * bottom]])  # fmt: skip
    corner = np.array([[-4 * MARGIN, bottom], [-4 * MARGIN, -0.05 * rows]])
    return np.vstack([texture.smooth_curve(edge), corner])


def _sliver(rng: np.random.Generator, rows: int, centre: float, half: float, depth: float) -> Points:
    """The chest muscle in CC: often absent, else a strip along the chest wall."""
    reach = depth * rng.uniform(0.03, 0.14) if rng.random() < 0.35 else -2.0 * MARGIN
    length = half * rng.uniform(0.4, 0.7)
    edge = np.array([[-MARGIN, centre - length], [0.5 * reach, centre - 0.6 * length], [reach, centre],
                     [0.5 * reach, centre + 0.6 * length], [-MARGIN, centre + length]])  # fmt: skip
    return np.vstack([texture.smooth_curve(edge), [[-4 * MARGIN, centre]]])
