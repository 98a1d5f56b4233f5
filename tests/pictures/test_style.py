"""Colours that are told apart by whoever looks, on a screen or on paper."""

from itertools import combinations

import numpy as np
import pytest

from rsna.pictures.heat import heat_colours, overlay, viridis
from rsna.pictures.style import ALARM, CROP, DASHES, INK, PAPER, SERIES, SOFT, rgb

EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Of linear red, green, blue: Machado, Oliveira and Fernandes (2009), severity 1."""

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(colour: np.ndarray) -> np.ndarray:
    """(…, 3) 0 to 255 → light."""
    share = np.asarray(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """(…, 3) light → CIELAB."""
    ratio = (np.clip(light, 0, 1) @ TO_XYZ.T) / (0.95047, 1, 1.08883)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def contrast(one: str, other: str) -> float:
    """As WCAG has it."""
    dark, light = sorted(float(linear(np.array(rgb(colour))) @ TO_XYZ[1]) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_series_are_told_apart(theme, eyes):
    seen = {
        name: lab(linear(np.array(rgb(getattr(colour, theme)))) @ np.array(EYES[eyes]).T)
        for name, colour in SERIES.items()
    }
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)


@pytest.mark.parametrize("eyes", EYES)
def test_a_crop_is_no_alarm(eyes):
    crop, alarm = (lab(linear(np.array(rgb(colour))) @ np.array(EYES[eyes]).T) for colour in (CROP, ALARM))
    assert np.linalg.norm(crop - alarm) > 50


def test_words_are_dark_enough_and_dashes_differ():
    assert min(contrast(colour, PAPER) for colour in (INK, SOFT, *(one.light for one in SERIES.values()))) > 4.5
    assert min(contrast(one.dark, "#1b2024") for one in SERIES.values()) > 4.5  # the page's cards
    assert len(set(DASHES.values())) == len(DASHES) == len(SERIES)


def test_heat_grows_lighter_in_equal_steps():
    lightness = lab(linear(viridis()))[..., 0]
    steps = np.diff(lightness[::16])
    assert steps.min() > 3
    assert steps.max() < 7


def test_heat_over_tissue_is_told_in_grey():
    shares = np.linspace(0.3, 1, 8, dtype=np.float32)[None]
    for tissue in (20, 90, 160):
        drawn = overlay(np.full(shares.shape, tissue, np.uint8), shares, 1.0)
        grey = lab(linear(drawn))[0, :, 0]
        assert np.diff(grey).min() > 1


def test_colours_grow_with_heat_and_nothing_is_transparent():
    colours = heat_colours(np.array([[0.0, 0.1, 0.5, 1.0, 2.0]], np.float32), 1.0)
    assert colours.shape == (1, 5, 4)
    opacity = colours[0, :, 3].astype(int)
    assert opacity[0] == 0
    assert opacity[0] < opacity[1] < opacity[2] == opacity[3]
    assert (colours[0, 3] == colours[0, 4]).all()
    grey = np.full((1, 5), 100, np.uint8)
    assert (overlay(grey, np.zeros((1, 5), np.float32), 0.0) == 100).all()
