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
from rsna.demo.tissue import draw_tissue

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
    canvas = draw_tissue(patient, layout, shot.view, rng)
    _draw_folds(canvas, layout, rng)
    breast = next(b for b in patient.breasts if b.laterality == shot.laterality)
    positions = [lesions.place(finding, shot.view, layout) for finding in breast.findings]
    for finding, centre in zip(breast.findings, positions, strict=True):
        lesions.draw(canvas, finding, shot.view, centre, layout.pitch)
    canvas += _NOISE * rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas = _processed(canvas, patient.machine) * np.float32(rng.uniform(0.93, 1.07))
    picture = np.where(layout.coverage > 0, np.clip(canvas, 0.015, 1), 0)[:, MARGIN:].astype(np.float32)
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


def _processed(canvas: Image, machine: Machine) -> Image:
    """What the machine makes of the tissue's brightness: detail amplified, then a curve of its own."""
    if machine.sharpness:
        canvas = canvas + np.float32(machine.sharpness) * (canvas - texture.blur(canvas, 0.8 / machine.pitch))
    curve = np.float32(machine.brightness) * np.maximum(canvas, 0) ** np.float32(machine.contrast)
    return np.asarray(0.95 * np.tanh(curve / 0.95), np.float32)  # what is dense already gains less


def _draw_folds(canvas: Image, layout: Anatomy, rng: np.random.Generator) -> None:
    """Skin folds: bright, slightly curved lines from the skin inwards near the armpit or under the breast."""
    for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08]))):
        skin_y, skin_x = np.nonzero((layout.coverage > 0) & (layout.skin_distance < 3.0) & (layout.skin_distance > 0.5))
        upper_or_lower = np.abs(skin_y - layout.nipple[1]) > 40 / layout.pitch
        if not upper_or_lower.any():
            return
        pick = int(rng.choice(np.flatnonzero(upper_or_lower)))
        start = np.array([skin_x[pick], skin_y[pick]], dtype=float)
        inwards = np.array([-0.8, 0.6 * np.sign(layout.nipple[1] - start[1])]) + rng.normal(0, 0.3, 2)
        length = rng.uniform(12, 40) / layout.pitch
        t = np.linspace(0, 1, 12)[:, None]
        points = start + inwards / np.hypot(*inwards) * length * t + rng.normal(0, 0.3 * length, (1, 2)) * t**2
        fold, width = np.zeros_like(canvas), rng.uniform(0.8, 2.0) / layout.pitch
        for share in (1.0, 0.8, 0.55, 0.3):  # it runs out
            texture.draw_line(fold, points[: int(12 * share)], width, rng.uniform(0.02, 0.05) / share)
        canvas += texture.blur(fold, 0.7 / layout.pitch) * layout.coverage


def _marks(machine: Machine, shape: tuple[int, ...], rng: np.random.Generator) -> list[Image]:
    """What shows beside the breast: a part of arm, belly or the other breast, the paddle's edge, a bright border."""
    marks = []
    if rng.random() < machine.neighbours:
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        corner = 0 if rng.random() < 0.5 else shape[0]
        width, height = shape[1] * rng.uniform(0.06, 0.22), shape[0] * rng.uniform(0.06, 0.20)
        depth = (1 - np.hypot(x / width, (y - corner) / height)) * min(width, height) * machine.pitch  # millimetres
        inside = texture.smooth_step(depth.astype(np.float32), 0.0, 1.0)
        light = 0.05 + rng.uniform(0.02, 0.12) * texture.smooth_step(depth.astype(np.float32), 0.0, 12.0)
        marks.append(np.asarray(inside * (light + 0.06 * np.exp(-(((depth - 1.2) / 0.8) ** 2))), np.float32))
    if machine.paddle:
        stripe = np.zeros(shape, np.float32)
        left = int(shape[1] * rng.uniform(0.62, 0.68))
        stripe[:, left : left + round(2.8 / machine.pitch)] = 0.06
        marks.append(stripe)
    if rng.random() < machine.frame:
        border = np.zeros(shape, np.float32)
        side = int(rng.integers(3))
        width = round(rng.uniform(1.0, 2.4) / machine.pitch)
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
        size = shape[0] / 1170
        cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, 190, max(1, round(2 * size)), cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)
