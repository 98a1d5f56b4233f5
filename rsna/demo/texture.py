"""Random fields for simulated tissue: power-law noise, webs of strands, curved lines. All in pixels, float32."""

import math

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

TILE = 512
"""Side of a noise tile in pixels; a tile is periodic, so it may be read beyond its edge."""

_VERTICAL = np.fft.fftfreq(TILE).astype(np.float32)[:, None]
_HORIZONTAL = np.fft.rfftfreq(TILE).astype(np.float32)[None, :]
"""Frequencies of a tile, in cycles a pixel."""

_STRETCH = 5.0
"""Length of a fibre against its width."""

_FIXED_POINT_BITS = 4
"""Fractional bits of the coordinates handed to OpenCV's drawing functions."""


def power_law(rng: np.random.Generator, beta: float) -> Image:
    """Noise whose power falls as 1/f^beta: (TILE, TILE) float32, periodic, mean 0, standard deviation 1.

    Mammographic tissue follows such a law with beta about 3 (Burgess et al., Medical Physics 28, 2001).
    """
    squared = _VERTICAL**2 + _HORIZONTAL**2
    squared[0, 0] = np.inf  # no constant term
    return _noise(rng, squared ** (-beta / 4))


def band(rng: np.random.Generator, wavelength: float) -> Image:
    """Noise of about one wavelength (pixels): (TILE, TILE) float32, periodic, mean 0, standard deviation 1."""
    octaves = np.log2(np.maximum(np.hypot(_VERTICAL, _HORIZONTAL), 1e-6) * wavelength)
    return _noise(rng, np.exp(-((octaves / 0.6) ** 2)))


def sample(tile: Image, x: Image, y: Image) -> Image:
    """Reads a periodic tile at (H, W) coordinates in pixels, bilinearly."""
    height, width = tile.shape
    # Beyond the tile OpenCV wraps pixel by pixel, four times slower than inside.
    folded_x, folded_y = x - np.floor(x / width) * width, y - np.floor(y / height) * height
    return np.asarray(cv2.remap(tile, folded_x, folded_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def strands(tile: Image, along: Image, across: Image, directions: tuple[float, ...], octaves: int) -> Image:
    """Crossing bundles of fibres, (H, W) float32 from 0, mean about 0.5: stretched noise, its crests kept.

    Args:
        tile: From :func:`band`; its wavelength is the spacing of the coarsest fibres.
        along, across: (H, W) coordinates in pixels; fibres follow ``along``.
        directions: Angles to it in radians, one bundle each.
        octaves: Each halves the spacing.
    """
    total = np.zeros(along.shape, np.float32)
    scale, weight, weights = 1.0, np.float32(1.0), np.float32(0.0)
    for octave in range(octaves):
        for index, direction in enumerate(directions):
            cosine, sine = math.cos(direction) * scale, math.sin(direction) * scale
            start = 97.0 * octave + 61.0 * index
            lengthwise = np.asarray((cosine * along + sine * across) / _STRETCH + start, np.float32)
            crosswise = np.asarray(cosine * across - sine * along + start, np.float32)
            noise = sample(tile, crosswise, lengthwise)
            np.maximum(noise, 0.0, out=noise)
            total += weight * noise * noise
        weights += weight * np.float32(len(directions))
        scale, weight = scale * 2.0, weight * np.float32(0.8)
    return total / weights


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


def smooth_step(value: Image, low: float, high: float) -> Image:
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
