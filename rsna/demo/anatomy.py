"""A breast between two plates: outline by view, skin, fat, glandular tissue, ligaments, vessels, chest muscle.

Drawn with the chest wall at the left edge, in the brightness that a reader sees.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rsna.demo import texture
from rsna.demo.plan import Patient, View
from rsna.demo.texture import Image, Points

MARGIN = 24
"""Pixels drawn beyond the chest wall and cut off at the end, so that filters do not see that edge."""

_SKIN = 1.6
"""Thickness of the skin line in millimetres."""


@dataclass(frozen=True)
class Density:
    """How much glandular tissue a BI-RADS density category shows."""

    extent: float
    """Size of the glandular disc against the breast's."""
    amount: float
    """Brightness of the glandular tissue over fat."""
    threshold: float
    """How much of the disc is tissue: noise above this."""


DENSITIES = {
    "A": Density(0.75, 0.32, 1.0),
    "B": Density(0.90, 0.42, 0.5),
    "C": Density(1.05, 0.46, 0.0),
    "D": Density(1.20, 0.46, -0.7),
}


@dataclass(frozen=True)
class Anatomy:
    """Where things are in one image, on the canvas with its margin."""

    coverage: Image
    """(H, W) float32 in [0, 1], share of the pixel that the breast with its skin covers."""
    skin_distance: Image
    """(H, W) float32, millimetres to the skin, 0 outside."""
    muscle: Image
    """(H, W) float32 in [0, 1], share of the chest muscle."""
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
    bump = texture.circle(nipple, rng.uniform(3.5, 5.0) / pitch)
    coverage = np.maximum(texture.fill(shape, outline), texture.fill(shape, bump))
    muscle = texture.blur(texture.fill(shape, muscle_edge + [MARGIN, 0]), 1.2 / pitch)
    # The chest wall and the image's other borders are no skin: pad with breast there.
    padded = cv2.copyMakeBorder((coverage > 0.5).astype(np.uint8), 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[8:-8, 8:-8]
    # OpenCV's last bit depends on where the array lies in memory; a squared distance in pixels is a whole number.
    distance = np.sqrt(np.round(distance**2))
    return Anatomy(
        coverage,
        texture.blur((distance * pitch).astype(np.float32), 1.0),
        muscle * coverage,
        _implant(shape, depth, half, nipple, rng) * coverage if patient.implant else np.zeros(shape, np.float32),
        (float(nipple[0]), float(nipple[1])),
        half * pitch,
        pitch,
    )


def draw_tissue(patient: Patient, anatomy: Anatomy, rng: np.random.Generator) -> Image:
    """Brightness of everything normal: (H, W) float32 from 0, on the canvas with its margin."""
    used = int(np.flatnonzero(anatomy.coverage.any(axis=0))[-1]) + 2  # the rest is air
    picture = np.zeros(anatomy.coverage.shape, np.float32)
    fields = ("coverage", "skin_distance", "muscle", "implant")
    inside = replace(anatomy, **{name: getattr(anatomy, name)[:, :used] for name in fields})
    picture[:, :used] = _draw_inside(patient, inside, rng)
    return picture


def _draw_inside(patient: Patient, anatomy: Anatomy, rng: np.random.Generator) -> Image:
    shape, pitch = anatomy.coverage.shape, anatomy.pitch
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    tissue_noise = texture.power_law(rng, 3.0)
    web = texture.band(rng, wavelength=8.0 / pitch)
    offset = rng.uniform(0, texture.TILE, 2).astype(np.float32)
    warp = 2.0 / pitch
    bend = texture.sample(web, x * 0.15 + offset[0], y * 0.15 + offset[1])
    bow = texture.sample(web, x * 0.15 + offset[1], y * 0.15 + offset[0])
    cloud = texture.sample(tissue_noise, x, y)
    # Strands converge on the nipple: polar coordinates about a point in front of it.
    dx, dy = anatomy.nipple[0] + 14.0 / pitch - x, y - anatomy.nipple[1]
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    radial = texture.strands(web, radius + warp * bow, angle * (55.0 / pitch) + warp * bend, (0.0, 0.5, -0.5), 3)
    mesh = texture.strands(web, x + warp * bow, y + warp * bend, (0.2, 0.9, 1.6, 2.4), 4)

    gland = _gland(patient, anatomy, bend, cloud, radial, mesh)
    fat = 0.15 + 0.02 * cloud + 0.09 * radial + 0.10 * mesh
    depth_in = anatomy.skin_distance
    edge = np.sqrt(1 - (1 - np.clip(depth_in / 14.0, 0, 1)) ** 2)
    picture = (fat * (0.6 + 0.4 * texture.smooth_step(depth_in, 3.0, 18.0)) + gland) * (0.45 + 0.55 * edge)
    picture = 0.8 * np.tanh(picture / 0.8)
    _draw_vessels(picture, anatomy, rng)
    fibres = texture.sample(web, (x + y * 0.35) * 0.9, (y - x * 0.35) * 0.25)
    muscle = 0.47 + 0.035 * cloud + 0.02 * fibres + 0.12 * mesh
    picture = picture + anatomy.muscle * np.maximum(muscle - 0.75 * picture, 0.05)
    picture = picture + anatomy.implant * (0.78 - picture)
    skin = np.exp(-(((depth_in - 0.5 * _SKIN) / (0.55 * _SKIN)) ** 2))
    picture = picture + 0.10 * skin
    bud = np.hypot(x - anatomy.nipple[0], y - anatomy.nipple[1]) * pitch / 4.5
    picture = picture + 0.09 * np.exp(-(bud**2))
    return np.asarray(np.maximum(picture, 0.03) * anatomy.coverage, dtype=np.float32)


def _gland(patient: Patient, anatomy: Anatomy, bend: Image, cloud: Image, radial: Image, mesh: Image) -> Image:
    """Glandular tissue: a ragged disc behind the nipple, brighter along strands, darker where fat lobules lie."""
    density = DENSITIES[patient.density]
    common = np.random.default_rng(patient.build)  # both breasts of a patient are built alike
    extent = density.extent * common.uniform(0.9, 1.1)
    reach = common.uniform(0.40, 0.52)
    shape, pitch = anatomy.coverage.shape, anatomy.pitch
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    depth, half = patient.depth / pitch, patient.half_height / pitch
    centre_x = anatomy.nipple[0] - reach * depth
    disc = np.hypot((x - centre_x) / (1.05 * reach * depth), (y - anatomy.nipple[1]) / (0.72 * half)) / extent
    envelope = texture.smooth_step(1.1 - disc + 0.10 * bend + 0.12 * cloud, 0.0, 0.6)
    envelope = envelope * texture.smooth_step(anatomy.skin_distance, 4.0, 13.0)
    lobules = texture.smooth_step(
        cloud + 0.9 * (radial - 0.5) + 0.6 * (mesh - 0.5), density.threshold - 0.8, density.threshold + 1.4
    )
    return np.asarray(
        density.amount * envelope * (0.25 + 0.75 * lobules) * (0.55 + 0.5 * radial + 0.35 * mesh), dtype=np.float32
    )


def _draw_vessels(picture: Image, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Veins and the longer ligaments: a few winding lines from the chest wall towards the nipple, in place."""
    rows, _ = picture.shape
    nipple = np.array(anatomy.nipple)
    canvas = np.zeros_like(picture)
    for _ in range(int(rng.integers(3, 9))):
        start = np.array([0.0, nipple[1] + rng.uniform(-0.42, 0.42) * rows])
        end = start + (nipple - start) * rng.uniform(0.4, 0.85)
        steps = np.linspace(0, 1, 9)[:, None]
        wind = rng.normal(0, 0.018 * rows, (9, 1)) * np.array([[0.3, 1.0]])
        points = texture.smooth_curve(start + (end - start) * steps + wind)
        texture.draw_line(canvas, points, rng.uniform(0.3, 0.8) / anatomy.pitch, rng.uniform(0.06, 0.16))
    picture += texture.blur(canvas, 0.5) * texture.smooth_step(anatomy.skin_distance, 2.0, 9.0)


def _implant(shape: tuple[int, int], depth: float, half: float, nipple: Points, rng: np.random.Generator) -> Image:
    """A silicone implant: a smooth oval against the chest wall that little shines through."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    oval = np.hypot((x - MARGIN) / (depth * rng.uniform(0.5, 0.6)), (y - nipple[1]) / (half * rng.uniform(0.6, 0.7)))
    return texture.smooth_step((1.0 - oval).astype(np.float32), 0.0, 0.04)


def _outline_cc(rng: np.random.Generator, rows: int, depth: float, half: float) -> tuple[Points, Points]:
    """Half an ellipse, a little lopsided and sometimes pointed, that meets the chest wall at an angle."""
    centre = rows * rng.uniform(0.46, 0.54)
    hidden = depth * rng.uniform(0.0, 0.18)  # part of the ellipse that lies behind the chest wall
    angle = np.linspace(-np.pi / 2, np.pi / 2, 181)
    pointed = rng.uniform(0.72, 1.0)
    skew = rng.uniform(-0.08, 0.08)
    x = (depth + hidden) * np.cos(angle) ** pointed - hidden
    y = centre + half * (np.sin(angle) + skew * np.cos(angle) ** 2)
    wave = 1 + sum(
        amount * rng.normal() * np.sin(k * angle + rng.uniform(0, 6.28)) for k, amount in ((4, 0.012), (9, 0.006))
    )
    curve = np.column_stack([x * wave, y])
    nipple = curve[int(np.argmax(curve[:, 0]))]
    behind = np.array([[-4 * MARGIN, y[-1]], [-4 * MARGIN, y[0]]])
    return np.vstack([curve, behind, curve[:1]]), nipple


def _outline_mlo(rng: np.random.Generator, rows: int, depth: float, half: float) -> tuple[Points, Points]:
    """From the armpit at the top edge over the nipple to the fold under the breast and the belly below it."""
    nipple_y = rows * rng.uniform(0.52, 0.62)
    fold_y = min(nipple_y + half * rng.uniform(0.85, 1.0), rows * 0.95)
    armpit = depth * rng.uniform(0.48, 0.78)
    waist = depth * rng.uniform(0.04, 0.14)
    controls = np.array([
        [armpit * 1.08, -0.06 * rows], [armpit * 0.98, 0.10 * rows],
        [armpit + (depth - armpit) * 0.45, 0.55 * nipple_y],
        [depth * 0.99, nipple_y - 0.25 * half], [depth * 1.03, nipple_y], [depth * 0.95, nipple_y + 0.30 * half],
        [depth * 0.62, nipple_y + 0.66 * (fold_y - nipple_y)],
        [waist + 0.16 * depth, fold_y - 0.05 * half], [waist, fold_y + 0.04 * half],
        [waist + depth * rng.uniform(0.0, 0.08), fold_y + 0.2 * half],
        [waist + depth * rng.uniform(0.04, 0.16), max(1.06 * rows, fold_y + 0.3 * half)],
    ])  # fmt: skip
    curve = texture.smooth_curve(controls)
    nipple = curve[int(np.argmax(curve[:, 0]))]
    behind = np.array([[-4 * MARGIN, curve[-1, 1]], [-4 * MARGIN, curve[0, 1]]])
    return np.vstack([curve, behind]), nipple


def _triangle(rng: np.random.Generator, rows: int, depth: float, nipple_y: float, scale: float) -> Points:
    """The chest muscle in MLO: a triangle at the upper chest wall, its edge slightly bowed."""
    top = depth * rng.uniform(0.42, 0.62) * scale
    bottom = nipple_y * rng.uniform(0.85, 1.25) * scale
    bow = rng.uniform(-0.04, 0.10) * top
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
