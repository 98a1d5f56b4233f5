"""Random fields for simulated tissue: power-law noise, webs of strands, curved lines. All in pixels, float32."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

TILE = 1024
"""Side of a noise tile in pixels; a tile is periodic, so it may be read beyond its edge."""

_VERTICAL = np.fft.fftfreq(TILE).astype(np.float32)[:, None]
_HORIZONTAL = np.fft.rfftfreq(TILE).astype(np.float32)[None, :]
"""Frequencies of a tile, in cycles a pixel."""

WAVELENGTH = 16.0
"""Of :func:`ripples`, in pixels of the tile."""

COARSE = 4
"""Pixels of an image to one of the fields that change slowly."""

FIBRE_PITCH = 0.25
"""Millimetres of tissue to a pixel of :func:`fibres`."""

_STRANDS = (
    (700, 6.0, 0.30, 0.80, 0.36),
    (300, 11.0, 0.45, 0.55, 0.50),
    (110, 20.0, 0.65, 0.40, 0.60),
    (60, 24.0, 1.1, 0.35, 0.45),
    (90, 12.0, 2.2, 0.45, 0.45),
)
"""Kinds of strands: how many a layer, length and width in millimetres, spread of their directions, brightness."""

_LAYERS = 3
"""Layers of each kind, that add up."""

_FIXED_POINT_BITS = 4
"""Fractional bits of the coordinates handed to OpenCV's drawing functions."""


@lru_cache(maxsize=1)
def cloud() -> Image:
    """Noise whose power falls as 1/f^3, as that of mammographic tissue does (Burgess et al., Medical Physics 28, 2001).

    (TILE, TILE) float32, periodic, mean 0, standard deviation 1; always the same: read it at a place of your own.
    """
    squared = _VERTICAL**2 + _HORIZONTAL**2
    squared[0, 0] = np.inf  # no constant term
    return _noise(np.random.default_rng(1), squared ** (-3.0 / 4))


@lru_cache(maxsize=1)
def mottle() -> Image:
    """Noise of patches between 2 and 20 mm where a pixel is FIBRE_PITCH, the larger ones stronger; else like cloud."""
    frequency = np.maximum(np.hypot(_VERTICAL, _HORIZONTAL), 1e-6) / np.float32(FIBRE_PITCH)  # cycles a millimetre
    gain = frequency**-1.45 * np.exp(-((0.03 / frequency) ** 2))
    return _noise(np.random.default_rng(4), np.asarray(gain, np.float32))


@lru_cache(maxsize=1)
def ripples() -> Image:
    """Noise of about one wavelength, WAVELENGTH pixels; else like :func:`cloud`."""
    octaves = np.log2(np.maximum(np.hypot(_VERTICAL, _HORIZONTAL), 1e-6) * WAVELENGTH)
    return _noise(np.random.default_rng(2), np.exp(-((octaves / 0.6) ** 2)))


def sample(tile: Image, x: Image, y: Image) -> Image:
    """Reads a periodic tile at (H, W) coordinates in pixels, bilinearly."""
    height, width = tile.shape
    # Beyond the tile OpenCV wraps pixel by pixel, four times slower than inside.
    folded_x, folded_y = x - np.floor(x / width) * width, y - np.floor(y / height) * height
    return np.asarray(cv2.remap(tile, folded_x, folded_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


@lru_cache(maxsize=1)
def fibres() -> Image:
    """Strands of connective tissue, most of them along the first axis of x, y: (TILE, TILE) float32, periodic.

    Lines of many lengths and widths laid over each other, few of them strong; 0 where there is none, 1 is exceeded by
    hundredths of the pixels. A pixel is FIBRE_PITCH millimetres.
    """
    rng = np.random.default_rng(3)
    total = np.zeros((TILE, TILE), np.float32)
    for count, length, width, spread, weight in _STRANDS:
        for _ in range(_LAYERS):
            layer = np.zeros((TILE, TILE), np.uint8)
            lines = _fixed_point(_bent_lines(rng, count, length / FIBRE_PITCH, spread)).astype(np.int32)
            cv2.polylines(layer, list(lines), False, 255, max(1, round(width / FIBRE_PITCH)), cv2.LINE_AA,
                          shift=_FIXED_POINT_BITS)  # fmt: skip
            total += blur(layer.astype(np.float32), 0.35 * width / FIBRE_PITCH) * np.float32(
                weight * rng.uniform(0.3, 1.0) / 255
            )
    return total


def _bent_lines(rng: np.random.Generator, count: int, length: float, spread: float) -> Points:
    """(9 · count, 10, 2) points of smooth lines, each also where the tile's neighbours have it."""
    t = np.linspace(-0.5, 0.5, 10)[None, :, None]
    angle = rng.normal(0, spread, (count, 1, 1))
    forward = np.concatenate([np.cos(angle), np.sin(angle)], axis=2)
    sideways = np.concatenate([-np.sin(angle), np.cos(angle)], axis=2)
    size = length * rng.lognormal(0, 0.4, (count, 1, 1))
    bow, twist = rng.normal(0, 0.22, (2, count, 1, 1))
    centres = rng.uniform(0, TILE, (count, 1, 2))
    lines = centres + size * (t * forward + (bow * (t**2 - 0.1) + 2 * twist * t * (t**2 - 0.1)) * sideways)
    shifts = np.array([(x, y) for x in (-TILE, 0, TILE) for y in (-TILE, 0, TILE)], float)
    return np.asarray((lines[None] + shifts[:, None, None]).reshape(-1, 10, 2))


def turned(rng: np.random.Generator, x: Image, y: Image, scale: float) -> tuple[Image, Image]:
    """Coordinates of a tile: ``x`` and ``y`` times ``scale``, from a place drawn by chance."""
    start = rng.uniform(0, TILE, 2).astype(np.float32)
    return x * np.float32(scale) + start[0], y * np.float32(scale) + start[1]


def enlarged(field: Image, shape: tuple[int, int]) -> Image:
    """A field that is COARSE times smaller, at (H, W) pixels."""
    rows, columns = field.shape
    whole = cv2.resize(field, (columns * COARSE, rows * COARSE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(whole[: shape[0], : shape[1]], np.float32)


def smooth_curve(controls: Points, per_span: int = 24) -> Points:
    """Uniform cubic B-spline through the neighbourhood of (N, 2) control points; it starts and ends on them."""
    first, last = 2 * controls[0] - controls[1], 2 * controls[-1] - controls[-2]
    padded = np.vstack([first, controls, last])
    t = np.linspace(0.0, 1.0, per_span, endpoint=False)[:, None]
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    spans = [
        sum(weight * point for weight, point in zip(basis, padded[i : i + 4], strict=True)) / 6
        for i in range(len(padded) - 3)
    ]
    return np.vstack([*spans, controls[-1:]])


def fill(shape: tuple[int, int], polygon: Points) -> Image:
    """(H, W) float32, the share of each pixel that lies in the polygon of (N, 2) x, y in pixels."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [_fixed_point(polygon)], 255, cv2.LINE_AA, shift=_FIXED_POINT_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def circle(centre: Points, radius: float) -> Points:
    """(32, 2) polygon about ``centre`` (x, y)."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return centre + radius * np.column_stack([np.cos(angle), np.sin(angle)])


def draw_line(canvas: Image, points: Points, width: float, value: float) -> None:
    """Lays an antialiased line of ``width`` pixels over ``canvas`` in place, keeping whichever is brighter.

    Lines thinner than a pixel become fainter instead, as they do in a detector element.
    """
    layer = np.zeros(canvas.shape, np.uint8)
    thickness = max(1, round(width))
    cv2.polylines(layer, [_fixed_point(points)], False, 255, thickness, cv2.LINE_AA, shift=_FIXED_POINT_BITS)
    np.maximum(canvas, layer * np.float32(value * min(1.0, width) / 255), out=canvas)


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur with ``sigma`` in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1)), dtype=np.float32)


def smooth_step(value: npt.NDArray[np.floating[Any]], low: float, high: float) -> Image:
    """0 below ``low``, 1 above ``high``, a cubic between them."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _fixed_point(points: Points) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << _FIXED_POINT_BITS)).astype(np.int32)


def _noise(rng: np.random.Generator, gain: Image) -> Image:
    """White noise times ``gain`` at each frequency, standardised."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE), dtype=np.float32)) * gain
    field = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)
