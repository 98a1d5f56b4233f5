"""What is found in a breast: spiculated masses and clusters of calcifications, and the benign things like them."""

from dataclasses import dataclass

import numpy as np

from rsna.demo import texture
from rsna.demo.anatomy import MARGIN, Anatomy
from rsna.demo.plan import Finding, View
from rsna.demo.texture import Image, Points

_CLEARANCE = 6.0
"""Least distance from a finding's rim to the skin, millimetres."""


@dataclass(frozen=True)
class _Patch:
    """The square of an image around a finding's centre, and the draws that shape the finding."""

    shape: tuple[int, int]
    centre: Points
    """(2,) x, y in pixels of the patch."""
    pitch: float
    """Millimetres per pixel."""
    radius: float
    """Of the finding, in pixels."""
    view: View
    common: np.random.Generator
    """The same draws in every view."""
    own: np.random.Generator
    """Other draws in each view."""

    def polar(self) -> tuple[Image, Image]:
        """Distance from the centre in units of the radius, and angle; (h, w) each."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        return np.hypot(dx, dy) / np.float32(self.radius), np.arctan2(dy, dx)


def place(finding: Finding, view: View, anatomy: Anatomy) -> tuple[float, float]:
    """x, y in pixels of a finding's centre: at its depth, inside the breast, off muscle and implant."""
    allowed = (anatomy.skin_distance > finding.size + _CLEARANCE) & (anatomy.muscle + anatomy.implant < 0.1)
    allowed[:, : int(MARGIN + finding.size / anatomy.pitch)] = False
    # The belly below the breast and the armpit above it lie within the outline too.
    rows = np.arange(allowed.shape[0])
    allowed[np.abs(rows - anatomy.nipple[1]) > anatomy.half_height / anatomy.pitch] = False
    candidates_y, candidates_x = np.nonzero(allowed)
    if candidates_x.size == 0:  # a breast too small for this finding: where it is thickest
        row, column = np.unravel_index(int(np.argmax(anatomy.skin_distance)), allowed.shape)
        return float(column), float(row)
    x = anatomy.nipple[0] - finding.depth * (anatomy.nipple[0] - MARGIN)
    position = finding.lateral if view == "CC" else finding.height
    top, bottom = candidates_y.min(), candidates_y.max()
    y = (top + bottom) / 2 + position * (bottom - top) / 2
    # Depth is what the views share: rather move across the breast.
    nearest = int(np.argmin(4 * (candidates_x - x) ** 2 + (candidates_y - y) ** 2))
    return float(candidates_x[nearest]), float(candidates_y[nearest])


def draw(picture: Image, finding: Finding, view: View, centre: tuple[float, float], pitch: float) -> None:
    """Adds a finding to ``picture`` in place, its centre at x, y pixels."""
    reach = int(np.ceil(4.0 * finding.size / pitch)) + 3
    column, row = round(centre[0]), round(centre[1])
    top, left = max(row - reach, 0), max(column - reach, 0)
    region = picture[top : row + reach + 1, left : column + reach + 1]
    patch = _Patch(
        (region.shape[0], region.shape[1]),
        np.array([centre[0] - left, centre[1] - top]),
        pitch,
        finding.size / pitch,
        view,
        np.random.default_rng(finding.seed),
        np.random.default_rng([finding.seed, ("CC", "MLO", "ML").index(view)]),
    )
    added = _DRAWN[finding.kind](patch)
    # What is bright already gains less: the window saturates.
    region += np.float32(finding.contrast) * added * np.clip(1.25 - region, 0.0, 1.0)


def _spiculated(patch: _Patch) -> Image:
    """An ill-defined core with straight lines running out of it."""
    distance, angle = patch.polar()
    core = np.exp(-1.6 * (distance / _rim(patch.own, angle, 0.14, range(2, 7))) ** 2)
    lines = np.zeros(patch.shape, np.float32)
    count = int(patch.common.integers(18, 30))
    for i in range(count):
        direction = 2 * np.pi * (i + patch.own.uniform(-0.8, 0.8)) / count
        outward = np.array([np.cos(direction), np.sin(direction)])
        sideways = np.array([-outward[1], outward[0]]) * patch.own.normal(0, 0.08)
        t = np.linspace(0.15, 1.0, 8)[:, None]
        length = patch.radius * patch.own.uniform(1.1, 3.2)
        points = patch.centre + length * (outward * t + sideways * t**2)
        width, value = patch.own.uniform(0.35, 0.9) / patch.pitch, patch.own.uniform(0.6, 1.0)
        texture.draw_line(lines, points, width, 0.8 * value)
        texture.draw_line(lines, points[:4], 2 * width, value)  # it tapers
    fade = np.exp(-((distance / 2.4) ** 2))
    return np.asarray(core + 0.8 * texture.blur(lines, 0.6) * fade * (1 - 0.7 * core), dtype=np.float32)


def _cluster(patch: _Patch) -> Image:
    """Small bright grains of many shapes, close together; the same grains seen from two sides."""
    added = np.zeros(patch.shape, np.float32)
    count = int(patch.common.integers(24, 42))
    # depth, lateral, height
    grains = np.clip(patch.common.normal(0, 0.45, (count, 3)), -1.1, 1.1) * patch.radius
    across = grains[:, 1] if patch.view == "CC" else grains[:, 2]
    widths = patch.common.uniform(0.7, 1.5, count) / patch.pitch
    values = patch.common.uniform(0.6, 1.0, count)
    for i in range(count):
        at = patch.centre + [-grains[i, 0], across[i]]
        tail = patch.common.normal(0, 0.5 / patch.pitch, 2)
        texture.draw_line(added, np.vstack([at, at + tail]), widths[i], values[i])
    distance, _ = patch.polar()
    return np.asarray(texture.blur(added, 0.4) + 0.12 * np.exp(-((distance / 1.1) ** 2)), dtype=np.float32)


def _round(patch: _Patch) -> Image:
    """A cyst or fibroadenoma: even, with a sharp rim and a thin dark halo."""
    distance, angle = patch.polar()
    depth = 1 - distance / _rim(patch.common, angle, 0.05, range(2, 5))
    inside = texture.smooth_step(depth, -0.06, 0.10)
    halo = np.exp(-(((depth + 0.16) / 0.08) ** 2))
    return np.asarray(inside * (0.75 + 0.25 * np.clip(depth, 0, 1)) - 0.12 * halo, dtype=np.float32)


def _coarse(patch: _Patch) -> Image:
    """One large benign calcification, lumpy like popcorn."""
    distance, angle = patch.polar()
    depth = 1 - distance / _rim(patch.common, angle, 0.12, range(2, 6))
    return texture.smooth_step(depth, -0.15, 0.25)


def _clip(patch: _Patch) -> Image:
    """A metal marker left by a biopsy: a few fully bright strokes."""
    added = np.zeros(patch.shape, np.float32)
    strokes = patch.centre + patch.common.uniform(-1.2, 1.2, (4, 2)) * patch.radius
    texture.draw_line(added, strokes, 0.9 / patch.pitch, 1.0)
    return texture.blur(added, 0.4)


def _rim(rng: np.random.Generator, angle: Image, amount: float, harmonics: range) -> Image:
    """The rim of a mass, 1 on average: a few waves around the circle."""
    rim = np.ones_like(angle)
    for k in harmonics:
        rim += np.float32(amount * rng.normal() / np.sqrt(k)) * np.cos(k * angle + np.float32(rng.uniform(0, 6.28)))
    return np.asarray(np.maximum(rim, 0.3), dtype=np.float32)


_DRAWN = {"spiculated": _spiculated, "cluster": _cluster, "round": _round, "coarse": _coarse, "clip": _clip}
