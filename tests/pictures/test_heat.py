"""What is drawn over and beside heat."""

import numpy as np
import pytest

from rsna.pictures.heat import Panel, heat_figure, outlined, overlay, stops
from rsna.pictures.words import wrapped


def ramp() -> np.ndarray:
    """(300, 200) from 0.05 at the left to 1, and nothing from column 150 on, as beyond the skin."""
    share = np.tile(np.linspace(0.05, 1.2, 200, dtype=np.float32).clip(0, 1), (300, 1))
    share[:, 150:] = 0
    return share


def test_the_line_stands_at_one_half_and_not_at_the_skin():
    grey = np.full((300, 200, 3), 90, np.uint8)
    changed = (outlined(grey, ramp()) != grey).any(axis=2)
    columns = np.flatnonzero(changed.any(axis=0))
    half = int(np.argmax(ramp()[0] >= 0.5))
    assert changed[:, half].all()
    assert half - 5 < columns.min()
    assert columns.max() < half + 5


def test_small_panels_are_enlarged_and_stand_side_by_side_with_a_scale():
    share = ramp()
    grey = np.full(share.shape, 60, np.uint8)
    heat = overlay(grey, share, 1.0)
    figure = heat_figure(["1 · L CC", "probability 0.5"], [Panel(grey, "the file"), Panel(heat, "heat", share)])
    black, coloured = (figure == 60).all(axis=2), np.ptp(figure.astype(int), axis=2) > 40
    assert black.sum() >= 2 * 2 * 300 * 200  # the file, enlarged twice
    left, right = np.flatnonzero(coloured.any(axis=0))[[0, -1]]
    assert np.flatnonzero(black.all(axis=0) | black.any(axis=0)).min() < left
    scale = figure[np.flatnonzero(coloured[:, right]), right].astype(int).sum(axis=1)
    assert scale[:20].mean() > scale[-20:].mean() + 60


def test_the_scale_of_pages_has_the_colours_of_heat():
    first, *_, last = stops()
    assert first[3] == 0
    drawn = overlay(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.float32), 1.0)[0, 0]
    assert [round(value * last[3]) for value in last[:3]] == [int(value) for value in drawn]


def test_a_panel_that_is_narrow_has_room_for_all_its_words():
    grey = np.full((600, 120), 60, np.uint8)
    words = "standard deviation over 4 networks: 1.00 ± 0.90 where heat is highest"
    short, long = (heat_figure(["1"], [Panel(grey, "the file"), Panel(grey, said)]) for said in ("heat", words))
    lines = wrapped(words, 120, 14, 99)
    assert len(lines) > 3
    assert not any("…" in line for line in lines)
    assert long.shape[0] - short.shape[0] == pytest.approx(1.35 * 14 * (len(lines) - 1), abs=2)
