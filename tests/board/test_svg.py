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
