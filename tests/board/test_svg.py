import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.board.svg import Plot, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within(low, width):
    high = low + width
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)


def test_higher_values_stand_higher_and_further_right():
    plot = Plot("t", ("x", 0, 1), ("y", 0, 1))
    plot.dots([0.2, 0.8], [0.2, 0.8])
    circles = [e for e in ET.fromstring(plot.svg()).iter() if e.tag.endswith("circle")]
    assert float(circles[1].get("cx")) > float(circles[0].get("cx"))
    assert float(circles[1].get("cy")) < float(circles[0].get("cy"))


def test_a_long_curve_is_thinned_to_what_can_be_seen():
    x = np.linspace(0, 1, 20_000)
    plot = Plot("t", ("x", 0, 1), ("y", 0, 1))
    plot.line(x, x)
    assert len(plot.svg()) < 20_000


@pytest.mark.parametrize("name", ["<b>", 'a"b', "a & b"])
def test_words_are_escaped(name):
    plot = Plot(name, (name, 0, 1), ("", -0.5, 1.5), [name, name])
    plot.dots([0.5], [0.5], names=[name])
    assert name in [e.text for e in ET.fromstring(plot.svg()).iter()]


def test_log_odds_spread_what_lies_near_the_ends():
    plot = Plot("t", ("x", 0.001, 0.999), ("y", 0.001, 0.999), scales=("logit", "logit"))
    plot.dots([0.01, 0.1, 0.5, 0.9], [0.01, 0.1, 0.5, 0.9])
    across = [float(e.get("cx")) for e in ET.fromstring(plot.svg()).iter() if e.tag.endswith("circle")]
    assert across[1] - across[0] > 0.5 * (across[2] - across[1])
    assert across[3] - across[2] == pytest.approx(across[2] - across[1], abs=0.2)
    assert {"0.01", "0.1", "0.5", "0.9", "0.99"} <= {e.text for e in ET.fromstring(plot.svg()).iter()}


def test_values_beyond_the_ends_of_a_log_axis_lie_on_its_edge():
    plot = Plot("t", ("x", 0.01, 1), ("y", 0, 1), scales=("log", "linear"))
    plot.dots([0.0, 0.01, 0.1], [0, 0, 0])
    first, end, middle = (float(e.get("cx")) for e in ET.fromstring(plot.svg()).iter() if e.tag.endswith("circle"))
    assert first == end
    assert middle == pytest.approx((46 + 346 + 0) / 2, abs=0.5)


def test_corners_of_a_curve_stay_and_what_lies_between_them_goes():
    plot = Plot("t", ("x", 0, 1), ("y", 0, 1))
    plot.line([0, 0.25, 0.5, 0.5, 0.5, 1], [0, 0, 0, 1, 0.5, 0.5])
    points = ET.fromstring(plot.svg())[-1].get("points").split()
    assert len(points) == 5  # of six: up to the top and back are both seen


def test_a_plot_within_a_plot_and_bars_are_drawn_within_the_axes():
    plot, small = (
        Plot("t", ("x", 0, 1), ("y", 0, 1)),
        Plot("", ("", 0, 1), ("", 0, 1), width=100, height=80, wordless=True),
    )
    plot.bars([0, 0.5, 1], [0.5, 0])
    plot.inset(small, 0.5, 0.5)
    svg = ET.fromstring(plot.svg())
    bars = [e for e in svg.iter() if e.get("class", "").startswith("bar-of")]
    assert [float(bar.get("height")) for bar in bars] == [pytest.approx((300 - 54) / 2, abs=0.1)]
    assert any(e.get("class") == "inset" for e in svg.iter())


def test_what_is_undefined_is_not_drawn():
    plot = Plot("", ("x", 0, 1), ("y", 0, 1))
    nan = float("nan")
    plot.line([0, 0.5, 1], [nan, nan, nan])
    plot.area([0, 1], [nan, nan], [nan, nan])
    assert plot.svg() == Plot("", ("x", 0, 1), ("y", 0, 1)).svg()
    plot.line([0, 0.5, 1], [0, nan, 1])
    plot.area([0, 0.5, 1], [0, nan, 0], [1, 1, 1])
    assert "nan" not in plot.svg()
    assert plot.svg().count("<poly") == 2
