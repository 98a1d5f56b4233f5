"""What a normal breast is made of, as light and dark: fat, ligaments, glandular tissue, vessels, muscle, nodes, skin.

Everything fans out from the nipple: coordinates are the distance from a point in front of it and the angle about it.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rsna.demo import texture
from rsna.demo.anatomy import Anatomy
from rsna.demo.plan import Patient, View
from rsna.demo.texture import COARSE, Image, enlarged, turned

_FAN = 70.0
"""Distance from the nipple in millimetres at which the fan's tissue is as wide as elsewhere."""

_SKIN = 1.5
"""Thickness of the skin line in millimetres."""


@dataclass(frozen=True)
class Density:
    """How much glandular tissue a BI-RADS density category shows."""

    bias: float
    """How readily a place is glandular."""
    reach: float
    """Share of the way to the chest wall that the tissue takes."""
    amount: float
    """Brightness of the glandular tissue over fat."""


DENSITIES = {
    "A": Density(-0.75, 0.55, 0.30),
    "B": Density(-0.25, 0.66, 0.42),
    "C": Density(0.15, 0.80, 0.50),
    "D": Density(0.75, 1.05, 0.44),
}


@dataclass(frozen=True)
class _Build:
    """What both breasts of a patient have in common."""

    reach: float
    """Of her glandular tissue, as a factor."""
    holes: float
    """How plainly lobules of fat show within it, 0 to 1."""
    crescent: float
    """How much fat lies between it and the chest wall, 0 to 1."""
    upper: float
    """How far it lies towards the armpit, in shares of the breast's half height."""
    web: float
    """How plainly ligaments show in fat."""
    fan: float
    """How far it narrows towards the nipple, 0 to 1."""
    layer: float
    """Fat under the skin, millimetres."""

    @staticmethod
    def of(patient: Patient) -> "_Build":
        rng = np.random.default_rng(patient.build)
        return _Build(
            rng.uniform(0.85, 1.15), rng.uniform(0.35, 0.9), rng.uniform(0.0, 0.8), rng.normal(0.10, 0.10),
            rng.uniform(0.04, 0.12), rng.uniform(0.2, 1.0), rng.uniform(5.0, 11.0),
        )  # fmt: skip


@dataclass(frozen=True)
class _Fan:
    """Where each pixel lies; (H, W) each, in millimetres."""

    inward: Image
    """Behind the nipple, towards the chest wall."""
    down: Image
    """Below the nipple."""
    along: Image
    """Distance from a point in front of the nipple, with bends."""
    across: Image
    """Number of the parabola on which it lies: they leave the nipple in all directions, and bend inwards."""
    slow: Image
    """Noise that changes over centimetres, standard deviation 1."""
    lobes: Image
    """Noise whose zeros lie between the lobules of fat, some 12 mm apart."""


def draw_tissue(patient: Patient, anatomy: Anatomy, view: View, rng: np.random.Generator) -> Image:
    """Brightness of everything normal: (H, W) float32 from 0, on the canvas with its margin."""
    used = int(np.flatnonzero(anatomy.coverage.any(axis=0))[-1]) + 2  # the rest is air
    picture = np.zeros(anatomy.coverage.shape, np.float32)
    fields = ("coverage", "skin_distance", "muscle_depth", "implant")
    inside = replace(anatomy, **{name: getattr(anatomy, name)[:, :used] for name in fields})
    picture[:, :used] = _draw_inside(patient, inside, view, rng)
    return picture


def _draw_inside(patient: Patient, anatomy: Anatomy, view: View, rng: np.random.Generator) -> Image:
    build = _Build.of(patient)
    fan = _fan(anatomy, rng)
    under_skin = texture.smooth_step(anatomy.skin_distance, 2.0, 12.0)
    gland = _gland(patient, build, anatomy, fan, view, rng)
    web = _strands(rng, fan.along, fan.across)
    web += np.float32(0.6) * _strands(rng, fan.inward, fan.down, rng.uniform(0.3, 1.2))
    web *= 0.25 + 1.3 * texture.smooth_step(fan.slow, -1.5, 2.0)  # here dense, there next to none
    grain = _patches(rng, fan.along / np.float32(1.4), fan.across, 0.24, anatomy.pitch)
    fat = 0.185 + 0.026 * fan.slow + (0.024 * grain + build.web * web) * (0.3 + 0.7 * under_skin)
    # The longer ligaments, from the gland to the skin.
    layer = texture.smooth_step(anatomy.skin_distance, 0.5, 3.0) * texture.smooth_step(
        -anatomy.skin_distance, -22.0, -6.0
    )
    fat += 0.05 * layer * np.exp(-((fan.lobes / 0.10) ** 2))
    picture = fat + gland
    picture += _vessels(anatomy, rng) * under_skin
    picture *= _thickness(anatomy.skin_distance)
    picture = _with_muscle(picture, anatomy, fan, web, rng)
    picture += anatomy.implant * (0.78 - picture)
    picture = _scattered(picture, anatomy)
    picture = _with_skin(picture, anatomy, fan)
    return np.asarray(np.maximum(picture, 0.02) * anatomy.coverage, np.float32)


def _fan(anatomy: Anatomy, rng: np.random.Generator) -> _Fan:
    shape, pitch = anatomy.coverage.shape, anatomy.pitch
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    inward = (np.float32(anatomy.nipple[0]) - x) * np.float32(pitch)
    down = (y - np.float32(anatomy.nipple[1])) * np.float32(pitch)
    small = inward[::COARSE, ::COARSE], down[::COARSE, ::COARSE]
    ripples, cloud = texture.ripples(), texture.cloud()

    def slow(wavelength: float) -> Image:
        return texture.sample(ripples, *turned(rng, *small, texture.WAVELENGTH / wavelength))

    bends = [1.2 * slow(50.0) + 0.25 * slow(14.0) for _ in range(2)]
    wide = texture.sample(cloud, *turned(rng, *small, 1.5))
    bend_along, bend_across, drift, lobes = (enlarged(field, inward.shape) for field in (*bends, wide, slow(26.0)))
    ahead = inward + np.float32(22.0)
    distance = np.hypot(ahead, down)
    return _Fan(
        inward + bend_along,
        down + bend_across,
        distance + bend_along,
        np.arctan2(down, ahead) * np.sqrt(np.float32(_FAN) * distance) + bend_across,
        drift,
        lobes,
    )


def _gland(patient: Patient, build: _Build, anatomy: Anatomy, fan: _Fan, view: View, rng: np.random.Generator) -> Image:
    """Glandular tissue: what noise leaves of a fan behind the nipple, streaked, with lobules of fat in it."""
    density = DENSITIES[patient.density]
    depth, half = patient.depth, anatomy.half_height
    cloud = texture.cloud()
    rough = texture.sample(cloud, *turned(rng, fan.along / np.float32(2.0), fan.across, 2.2))
    patches = _patches(rng, fan.along / np.float32(1.3), fan.across, 0.42, anatomy.pitch)
    holes = _patches(rng, fan.along / np.float32(1.25), fan.across, 0.40, anatomy.pitch)
    # Behind the nipple ducts lead up to the skin.
    layer = build.layer * (1 - 0.9 * np.exp(-((fan.down / 11.0) ** 2)))
    front = (anatomy.skin_distance - layer - 3.5 * np.abs(fan.lobes)) / 7.0
    back = (density.reach * build.reach * depth - fan.inward) / (0.40 * depth)
    tilt = 0.0 if view == "CC" else 0.35  # towards the armpit
    width = half * (0.72 - 0.50 * build.fan * (1 - texture.smooth_step(fan.inward, 0.0, 0.6 * depth)))
    side = (width - np.abs(fan.down + build.upper * half + np.float32(tilt) * fan.inward)) / (0.40 * half)
    hollow = build.crescent * texture.smooth_step(anatomy.skin_distance, 14.0 + build.layer, 40.0 + build.layer)
    inside = np.minimum(np.minimum(np.minimum(front, 1.0), back), side)
    field = np.clip(inside, -2.0, 1.0) + np.float32(0.70) * rough + np.float32(0.32) * patches
    field += np.float32(density.bias) - hollow - 1.6 * texture.smooth_step(anatomy.muscle_depth, -6.0, 10.0)
    share = texture.smooth_step(field, -0.5, 1.7)
    fatty = np.float32(build.holes) * texture.smooth_step(holes, -0.5, 2.2)
    streaks = _strands(rng, fan.along, fan.across) + _strands(rng, fan.along, fan.across, rng.choice([-1, 1]) * 0.5)
    light = (1 - fatty) * np.exp(np.float32(0.24) * patches) * (0.86 + 0.15 * streaks)
    return np.asarray(density.amount * share * light, np.float32)


def _patches(rng: np.random.Generator, along: Image, across: Image, coarse: float, pitch: float) -> Image:
    """Patches as of :func:`rsna.demo.texture.mottle` with ``coarse`` millimetres to a pixel, and finer ones."""
    x, y = turned(rng, along, across, 1 / coarse)
    patches = texture.sample(texture.mottle(), x, y)
    while pitch < coarse / 2:
        coarse, x, y = coarse / 4, 4 * x, 4 * y
        patches += np.float32(0.25) * texture.sample(texture.mottle(), x, y)
    return patches


def _strands(rng: np.random.Generator, along: Image, across: Image, angle: float = 0.0) -> Image:
    """Strands, (H, W) float32 from 0, along the first coordinate turned by ``angle``."""
    if angle:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along, across = cosine * along + sine * across, cosine * across - sine * along
    return texture.sample(texture.fibres(), *turned(rng, along, across, 1 / texture.FIBRE_PITCH))


def _thickness(skin_distance: Image) -> Image:
    """Between the plates a breast is even; towards its rim it curves away, which machines make up for in part."""
    return np.asarray(0.30 + 0.70 * np.sqrt(1 - (1 - np.clip(skin_distance / 20.0, 0, 1)) ** 2), np.float32)


def _vessels(anatomy: Anatomy, rng: np.random.Generator) -> Image:
    """Veins: a few winding lines from the chest wall towards the nipple, that become thinner."""
    rows, _ = anatomy.coverage.shape
    nipple = np.array(anatomy.nipple)
    canvas = np.zeros(anatomy.coverage.shape, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        start = np.array([0.0, nipple[1] + rng.uniform(-0.45, 0.40) * rows])
        end = start + (nipple - start) * rng.uniform(0.35, 0.8) + [0.0, rng.normal(0, 0.08) * rows]
        steps = np.linspace(0, 1, 9)[:, None]
        wind = rng.normal(0, 0.012 * rows, (9, 1)) * np.array([[0.3, 1.0]])
        points = texture.smooth_curve(start + (end - start) * steps + wind)
        width, value = rng.uniform(0.6, 1.6), rng.uniform(0.03, 0.08)
        for share in (1.0, 0.85, 0.65, 0.45):  # it tapers and dives
            texture.draw_line(canvas, points[: int(share * len(points))], width * (1.4 - share) / anatomy.pitch,
                              value * (1.4 - share))  # fmt: skip
    return texture.blur(canvas, 0.35 / anatomy.pitch)


def _with_muscle(picture: Image, anatomy: Anatomy, fan: _Fan, web: Image, rng: np.random.Generator) -> Image:
    """The chest muscle: thicker, and so brighter, away from its edge; bundles of fibres run along the edge."""
    depth = anatomy.muscle_depth
    if depth.max() <= 0:
        return picture
    level = rng.uniform(0.28, 0.42)
    edge = depth + 1.5 * fan.slow + 3.0
    share = texture.smooth_step(edge, -1.5, 9.0) * (0.55 + 0.45 * texture.smooth_step(depth, 0.0, 35.0))
    high = texture.smooth_step(-fan.down, -10.0, 110.0)
    fibres = texture.sample(texture.fibres(), *turned(rng, 2 * fan.down, 1.3 * depth, 1 / texture.FIBRE_PITCH))
    fibres += texture.sample(texture.ripples(), *turned(rng, depth, fan.down / np.float32(14.0), 1.6))
    muscle = np.float32(level) * (0.66 + 0.42 * high + 0.06 * fibres + 0.07 * fan.slow) + 0.03 * web
    gap = np.exp(-(((edge + 1.0) / 2.5) ** 2))  # fat along the edge
    return np.asarray((picture - 0.02 * gap) * (1 - 0.2 * share) + share * muscle, np.float32)


def _scattered(picture: Image, anatomy: Anatomy) -> Image:
    """Scattered rays veil the picture: each place gets a little of the brightness for centimetres around."""
    small = cv2.resize(picture * anatomy.coverage, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    veil = texture.blur(small, 12.0 / 8 / anatomy.pitch)
    whole = cv2.resize(veil, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(0.88 * picture + 0.12 * whole, np.float32)


def _with_skin(picture: Image, anatomy: Anatomy, fan: _Fan) -> Image:
    near = np.hypot(fan.inward, fan.down)
    picture = np.maximum(picture, 0.15 * np.exp(-((near / 7.0) ** 2)))  # the nipple itself
    depth = anatomy.skin_distance
    width = _SKIN * (1 + 0.9 * np.exp(-((near / 22.0) ** 2)))  # thicker about the nipple
    line = np.exp(-(((depth - 0.7 * width) / (0.5 * width)) ** 2))
    amount = np.clip(0.055 + 0.02 * fan.slow, 0.015, 0.12)
    return np.asarray(picture + amount * line, np.float32)
