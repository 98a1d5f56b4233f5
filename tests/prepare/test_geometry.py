import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rsna.prepare.geometry import Geometry, fit


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    rows, columns = draw(st.integers(1, 6000)), draw(st.integers(1, 6000))
    x0, y0 = draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1))
    x1, y1 = draw(st.integers(x0 + 1, columns)), draw(st.integers(y0 + 1, rows))
    size = (draw(st.integers(8, 2048)), draw(st.integers(8, 2048)))
    return fit((x0, y0, x1, y1), (rows, columns), size, draw(st.booleans()), draw(st.booleans()))


@given(geometries(), st.floats(-10, 10), st.floats(-10, 10))
def test_points_come_back_from_the_prepared_image(geometry: Geometry, x: float, y: float) -> None:
    point = np.array([geometry.box[0] + x, geometry.box[1] + y])
    back = geometry.to_original(geometry.to_prepared(point))
    np.testing.assert_allclose(back, point, atol=1e-6)


@given(geometries())
def test_the_crop_fills_the_content_and_one_side_of_the_target(geometry: Geometry) -> None:
    x0, y0, x1, y1 = geometry.box
    corners = geometry.to_prepared([(x0, y0), (x1, y1)])
    rows, columns = geometry.content
    low, high = corners.min(axis=0), corners.max(axis=0)
    np.testing.assert_allclose([low[0], high[0]], [columns.start, columns.stop], atol=1e-6)
    np.testing.assert_allclose([low[1], high[1]], [rows.start, rows.stop], atol=1e-6)
    assert rows.start >= 0
    assert rows.stop <= geometry.size[0]
    assert columns.start >= 0
    assert columns.stop <= geometry.size[1]
    assert geometry.fitted[0] == geometry.size[0] or geometry.fitted[1] == geometry.size[1]


@given(geometries())
def test_json_gives_back_an_equal_geometry(geometry: Geometry) -> None:
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_points_of_a_mirrored_crop_follow_the_mirrored_pixels() -> None:
    image = np.arange(6 * 10).reshape(6, 10)
    geometry = fit((2, 1, 8, 5), (6, 10), (4, 8), flipped=True, to_right=True)
    prepared = np.full((4, 8), -1)
    prepared[geometry.content] = image[1:5, 2:8][:, ::-1]
    for row in range(1, 5):
        for column in range(2, 8):
            x, y = geometry.to_prepared([column + 0.5, row + 0.5])
            assert prepared[int(y), int(x)] == image[row, column]


def test_aspect_is_kept_to_a_pixel() -> None:
    geometry = fit((3700, 0, 4915, 4100), (5355, 4915), (1024, 512), flipped=True, to_right=False)
    assert geometry.fitted == (1024, round(1215 * 1024 / 4100))
    assert geometry.offset == (0, 0)
