"""One image as its machine took it: the breast, what is in it, and what else a detector shows."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsna.demo import anatomy, lesions, texture
from rsna.demo.anatomy import MARGIN, Anatomy
from rsna.demo.machines import Machine
from rsna.demo.plan import Finding, Patient, Shot
from rsna.demo.texture import Image

_NOISE = 0.006
"""Standard deviation of the detector's noise in the displayed range."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is where in it."""

    picture: Image
    """(H, W) float32 in [0, 1], bright is dense, the breast on its own side."""
    air: npt.NDArray[np.bool_]
    """(H, W) bool, neither breast nor anything else that the detector shows."""
    centres: tuple[tuple[Finding, float, float], ...]
    """Each finding with its x, y in pixels."""


def draw_scene(patient: Patient, shot: Shot, rng: np.random.Generator) -> Scene:
    """Draws one image; ``rng`` makes what differs between two images of the same breast."""
    layout = anatomy.lay_out(patient, shot.view, rng)
    canvas = anatomy.draw_tissue(patient, layout, rng)
    _draw_folds(canvas, layout, rng)
    breast = next(b for b in patient.breasts if b.laterality == shot.laterality)
    positions = [lesions.place(finding, shot.view, layout) for finding in breast.findings]
    for finding, centre in zip(breast.findings, positions, strict=True):
        lesions.draw(canvas, finding, shot.view, centre, layout.pitch)
    canvas += _NOISE * rng.standard_normal(canvas.shape, dtype=np.float32)
    picture = np.where(layout.coverage > 0, np.clip(canvas * rng.uniform(0.94, 1.06), 0, 1), 0)[:, MARGIN:]
    picture = picture.astype(np.float32)
    air = layout.coverage[:, MARGIN:] == 0
    for mark in _marks(patient.machine, picture.shape, rng):
        picture = np.where(air, np.maximum(picture, mark), picture)
    air &= picture == 0
    xs = [x - MARGIN for x, _ in positions]
    if shot.laterality == "R":  # drawn with the chest wall at the left, where a left breast has it
        picture, air = picture[:, ::-1], air[:, ::-1]
        xs = [picture.shape[1] - 1 - x for x in xs]
    picture = np.ascontiguousarray(picture)
    label = _label(patient, shot, picture.shape, rng)
    picture = np.where(air, np.maximum(picture, label), picture)
    centres = tuple((finding, x, y) for finding, x, (_, y) in zip(breast.findings, xs, positions, strict=True))
    return Scene(picture, air & (label == 0), centres)


def _draw_folds(canvas: Image, layout: Anatomy, rng: np.random.Generator) -> None:
    """Skin folds: bright, slightly curved lines from the skin inwards near the armpit or under the breast."""
    for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08]))):
        skin_y, skin_x = np.nonzero((layout.coverage > 0) & (layout.skin_distance < 3.0) & (layout.skin_distance > 0.5))
        upper_or_lower = np.abs(skin_y - layout.nipple[1]) > 40 / layout.pitch
        if not upper_or_lower.any():
            return
        pick = int(rng.choice(np.flatnonzero(upper_or_lower)))
        start = np.array([skin_x[pick], skin_y[pick]], dtype=float)
        inwards = np.array([-0.35, np.sign(layout.nipple[1] - start[1])]) + rng.normal(0, 0.4, 2)
        length = rng.uniform(15, 45) / layout.pitch
        t = np.linspace(0, 1, 12)[:, None]
        points = start + inwards / np.hypot(*inwards) * length * t + rng.normal(0, 0.3 * length, (1, 2)) * t**2
        fold = np.zeros_like(canvas)
        texture.draw_line(fold, points, rng.uniform(0.8, 1.8) / layout.pitch, rng.uniform(0.15, 0.3))
        canvas += texture.blur(fold, 1.2) * layout.coverage


def _marks(machine: Machine, shape: tuple[int, ...], rng: np.random.Generator) -> list[Image]:
    """What the machine shows beside the breast: the paddle's edge, a bright collimator edge."""
    marks = []
    if machine.paddle:
        stripe = np.zeros(shape, np.float32)
        left = int(shape[1] * rng.uniform(0.62, 0.68))
        stripe[:, left : left + 7] = 0.06
        marks.append(stripe)
    if rng.random() < machine.frame:
        border = np.zeros(shape, np.float32)
        side = int(rng.integers(3))
        width = int(rng.integers(2, 6))
        border[(np.s_[:width], np.s_[-width:], np.s_[:, -width:])[side]] = 0.9  # never the chest wall's
        marks.append(border)
    return marks


def _label(patient: Patient, shot: Shot, shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """A burnt-in label such as ``R-MLO`` in the upper corner away from the chest wall; zeros where there is none."""
    canvas = np.zeros(shape, np.uint8)
    if rng.random() < patient.machine.labels:
        separator = "-" if patient.machine.site_id == 2 else " "
        text = f"{shot.laterality}{separator}{shot.view}"
        x = 0.70 if shot.laterality == "L" else 0.12
        origin = (int(shape[1] * (x + rng.uniform(-0.03, 0.03))), int(shape[0] * rng.uniform(0.08, 0.13)))
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 190, 1, cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)
