"""What is found in a breast: masses, distortions and clusters of calcifications, and the benign things like them."""

from dataclasses import dataclass

import cv2
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
    mottle: Image
    """(h, w) noise of tissue, standard deviation 1."""
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
    allowed = (anatomy.skin_distance > finding.size + _CLEARANCE) & (anatomy.muscle_depth < 0) & (anatomy.implant < 0.1)
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
    """Adds a finding to ``picture`` in place, its centre at x, y pixels, as plainly as this view shows it."""
    reach = int(np.ceil(4.0 * finding.size / pitch)) + 3
    column, row = round(centre[0]), round(centre[1])
    top, left = max(row - reach, 0), max(column - reach, 0)
    region = picture[top : row + reach + 1, left : column + reach + 1]
    common = np.random.default_rng(finding.seed)
    own = np.random.default_rng([finding.seed, ("CC", "MLO", "ML").index(view)])
    y, x = np.mgrid[: region.shape[0], : region.shape[1]].astype(np.float32)
    patch = _Patch(
        (region.shape[0], region.shape[1]),
        np.array([centre[0] - left, centre[1] - top]),
        pitch,
        finding.size / pitch,
        view,
        texture.sample(texture.mottle(), *texture.turned(own, x, y, pitch / 0.3)),
        common,
        own,
    )
    seen = finding.seen_cc if view == "CC" else finding.seen_oblique
    if finding.kind in _PULLING:
        region[...] = _pulled_in(region, patch, seen)
    added = _DRAWN[finding.kind](patch)
    # What is bright already gains less.
    region += np.float32(finding.contrast * seen) * added * np.clip(1.25 - region, 0.0, 1.0)


def _pulled_in(region: Image, patch: _Patch, amount: float) -> Image:
    """The tissue around a tumour, drawn towards its centre as by a scar."""
    distance, _ = patch.polar()
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    pull = np.float32(0.45 * amount) * np.exp(-((distance / 1.5) ** 2))
    from_x = x + pull * (x - np.float32(patch.centre[0]))
    from_y = y + pull * (y - np.float32(patch.centre[1]))
    return np.asarray(cv2.remap(region, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _spiculated(patch: _Patch) -> Image:
    """An ill-defined core with thin lines running out of it."""
    core = 0.9 * _shaded(patch, 0.6, softness=0.5)
    return np.asarray(core + _spicules(patch, int(patch.common.integers(10, 24)), 0.55) * (1 - 0.6 * core), np.float32)


def _mass(patch: _Patch) -> Image:
    """A dense mass, lobed and irregular, of which the tissue hides a part of the margin."""
    return _shaded(patch, 0.9, softness=float(patch.common.uniform(0.2, 0.6)))


def _distortion(patch: _Patch) -> Image:
    """Lines that meet in a point, with next to no mass."""
    distance, _ = patch.polar()
    haze = 0.22 * np.exp(-((distance / 0.7) ** 2))
    return np.asarray(haze + _spicules(patch, int(patch.common.integers(12, 22)), 0.5), np.float32)


def _shaded(patch: _Patch, extent: float, softness: float) -> Image:
    """A mass of ``extent`` radii, as thick as a ball, with the unrest of tissue; ``softness`` is its margin's."""
    distance, angle = patch.polar()
    rim = _rim(patch.common, angle, 0.16, range(2, 8)) + np.float32(0.10) * patch.mottle
    depth = 1 - distance / (np.float32(extent) * np.maximum(rim, 0.3))
    inside = texture.smooth_step(depth, -softness, 0.6 * softness + 0.1)
    # Where the tissue in front of it is denser, the margin is hidden.
    hidden = texture.smooth_step(np.cos(angle - np.float32(patch.own.uniform(0, 6.28))), 0.2, 1.0)
    ball = 0.55 + 0.45 * np.sqrt(np.clip(depth, 0, 1))
    return np.asarray(inside * ball * (1 - 0.35 * hidden) * np.clip(1 + 0.16 * patch.mottle, 0.4, 1.6), np.float32)


def _spicules(patch: _Patch, count: int, strength: float) -> Image:
    """Lines out of the centre, of all lengths, thinner and fainter further out."""
    lines = np.zeros(patch.shape, np.float32)
    for i in range(count):
        direction = 2 * np.pi * (i + patch.own.uniform(-0.9, 0.9)) / count
        outward = np.array([np.cos(direction), np.sin(direction)])
        sideways = np.array([-outward[1], outward[0]]) * patch.own.normal(0, 0.15)
        t = np.linspace(0.1, 1.0, 8)[:, None]
        length = patch.radius * patch.own.uniform(0.8, 2.6)
        points = patch.centre + length * (outward * t + sideways * t**2)
        width, value = patch.own.uniform(0.3, 0.8) / patch.pitch, patch.own.uniform(0.4, 1.0)
        texture.draw_line(lines, points, width, 0.6 * value)
        texture.draw_line(lines, points[:4], 1.8 * width, value)  # it tapers
    distance, _ = patch.polar()
    return np.asarray(strength * texture.blur(lines, 0.25 / patch.pitch) * np.exp(-((distance / 1.9) ** 2)), np.float32)


def _cluster(patch: _Patch) -> Image:
    """Bright grains of many sizes and shapes, close together along a duct, in tissue a little denser."""
    count = int(patch.common.integers(18, 50))
    spread = patch.radius * np.array([0.5, *patch.common.uniform(0.22, 0.5, 2)])  # depth, lateral, height
    grains = np.clip(patch.common.normal(0, 1, (count, 3)), -2.2, 2.2) * spread
    added = _grains(patch, grains, patch.common.lognormal(-0.35, 0.45, count))
    return np.asarray(added + 0.38 * _shaded(patch, 0.8, softness=0.8), np.float32)


def _scattered(patch: _Patch) -> Image:
    """Punctate calcifications far from each other, all alike."""
    count = int(patch.common.integers(4, 14))
    grains = patch.common.normal(0, 1.2, (count, 3)) * patch.radius
    return _grains(patch, grains, np.full(count, patch.common.uniform(0.6, 1.0)), longish=0.0)


def _grains(patch: _Patch, grains: Points, widths: Points, longish: float = 0.9) -> Image:
    """Grains at (N, 3) depth, lateral, height in pixels from the centre, (N,) widths in millimetres."""
    added = np.zeros(patch.shape, np.float32)
    across = grains[:, 1] if patch.view == "CC" else grains[:, 2]
    values = patch.common.uniform(0.4, 1.0, len(grains))
    lengths = 1 + longish * np.abs(patch.common.normal(0, 1, len(grains)))
    turns = patch.common.uniform(0, np.pi, len(grains))
    for depth, side, width, value, length, turn in zip(
        grains[:, 0], across, widths / patch.pitch, values, lengths, turns, strict=True
    ):
        x, y = patch.centre + [-depth, side]
        reach = int(np.ceil(1.5 * width * length)) + 2
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        part = added[top : max(round(y) + reach + 1, 0), left : max(round(x) + reach + 1, 0)]
        row, column = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float32)
        dx, dy = column + np.float32(left - x), row + np.float32(top - y)
        # Never sharper than the detector; what is smaller than its elements becomes fainter instead.
        long, short = (max(0.5 * size, 0.45) for size in (width * length, width))
        along, beside = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        strength = value * min(1.0, 0.25 * width * width * length / (long * short))
        part += np.float32(strength) * np.exp(-((along / long) ** 2) - (beside / short) ** 2).astype(np.float32)
    return np.minimum(added, 1.2)


def _round(patch: _Patch) -> Image:
    """A cyst or fibroadenoma: oval, even, with a sharp margin and a thin dark halo."""
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    turn, flat = patch.common.uniform(0, np.pi), patch.common.uniform(0.65, 0.95)
    dx, dy = x - np.float32(patch.centre[0]), y - np.float32(patch.centre[1])
    long = (np.cos(turn) * dx + np.sin(turn) * dy).astype(np.float32)
    short = ((np.cos(turn) * dy - np.sin(turn) * dx) / flat).astype(np.float32)
    depth = 1 - np.hypot(long, short) / patch.radius / _rim(patch.common, np.arctan2(short, long), 0.05, range(2, 5))
    inside = texture.smooth_step(depth, -0.08, 0.14) * (1 + np.float32(0.10) * patch.mottle)
    halo = np.exp(-(((depth + 0.16) / 0.08) ** 2))
    return np.asarray(inside * (0.6 + 0.4 * np.sqrt(np.clip(depth, 0, 1))) - 0.10 * halo, np.float32)


def _node(patch: _Patch) -> Image:
    """A lymph node: a bean with fat in its notch."""
    distance, angle = patch.polar()
    turn = np.float32(patch.common.uniform(0, 6.28))
    body = texture.smooth_step(1 - distance / (1 - 0.25 * np.cos(2 * (angle - turn))), -0.1, 0.25)
    hilum = patch.centre + 0.35 * patch.radius * np.array([np.cos(turn + 1.57), np.sin(turn + 1.57)])
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    fat = np.exp(-((np.hypot(x - hilum[0], y - hilum[1]) / (0.42 * patch.radius)) ** 2))
    return np.asarray(body * (1 - 0.8 * fat), np.float32)


def _asymmetry(patch: _Patch) -> Image:
    """Normal tissue that lies over itself and looks like a mass, in one view more than in the other."""
    distance, angle = patch.polar()
    rim = np.maximum(_rim(patch.own, angle, 0.25, range(2, 6)) + np.float32(0.2) * patch.mottle, 0.3)
    soft = np.exp(-((distance / rim) ** 2)) * texture.smooth_step(-distance, -3.5, -2.0)
    return np.asarray(soft * np.clip(0.75 + 0.30 * patch.mottle, 0, 1.8), np.float32)


def _coarse(patch: _Patch) -> Image:
    """One large benign calcification: lumpy like popcorn, or a shell about something clear."""
    distance, angle = patch.polar()
    depth = 1 - distance / _rim(patch.common, angle, 0.12, range(2, 6))
    whole = texture.smooth_step(depth, -0.15, 0.25)
    return whole if patch.common.random() < 0.7 else np.asarray(whole - 0.75 * texture.smooth_step(depth, 0.2, 0.6))


def _vascular(patch: _Patch) -> Image:
    """An artery whose walls are calcified: two broken lines side by side."""
    t = np.linspace(-1.4, 1.4, 9)[:, None]
    turn = patch.common.uniform(-0.5, 0.5)
    forward, sideways = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    wind = patch.common.normal(0, 0.16, (9, 1))
    path = texture.smooth_curve(patch.centre + patch.radius * (t * forward + wind * sideways))
    added = np.zeros(patch.shape, np.float32)
    texture.draw_line(added, path, 1.8 / patch.pitch, 0.14)
    for wall in (-0.8, 0.8):
        for start in range(0, len(path) - 8, 6):
            if patch.common.random() < 0.6:
                dash = path[start : start + int(patch.common.integers(2, 8))] + wall / patch.pitch * sideways
                texture.draw_line(added, dash, 0.5 / patch.pitch, float(patch.common.uniform(0.4, 1.0)))
    return texture.blur(added, 0.15 / patch.pitch)


def _clip(patch: _Patch) -> Image:
    """A metal marker left by a biopsy: a few fully bright strokes."""
    added = np.zeros(patch.shape, np.float32)
    strokes = patch.centre + patch.common.uniform(-1.2, 1.2, (4, 2)) * patch.radius
    texture.draw_line(added, strokes, 0.9 / patch.pitch, 1.0)
    return texture.blur(added, 0.2 / patch.pitch)


def _rim(rng: np.random.Generator, angle: Image, amount: float, harmonics: range) -> Image:
    """The rim of a mass, 1 on average: a few waves around the circle."""
    rim = np.ones_like(angle)
    for k in harmonics:
        rim += np.float32(amount * rng.normal() / np.sqrt(k)) * np.cos(k * angle + np.float32(rng.uniform(0, 6.28)))
    return np.asarray(np.maximum(rim, 0.3), dtype=np.float32)


_PULLING = ("spiculated", "distortion")

_DRAWN = {
    "spiculated": _spiculated,
    "mass": _mass,
    "distortion": _distortion,
    "cluster": _cluster,
    "round": _round,
    "node": _node,
    "asymmetry": _asymmetry,
    "coarse": _coarse,
    "scattered": _scattered,
    "vascular": _vascular,
    "clip": _clip,
}
