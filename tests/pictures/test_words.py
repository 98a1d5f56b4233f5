import cv2
import numpy as np
import pytest

from rsna.pictures.words import blank, fitted, width_of, wrapped, writable, write, write_png

SIZE = 14


def test_what_the_font_lacks_is_written_otherwise():
    assert writable("Müller 3×4 – “größer” → ≥ Łódź 日") == 'Muller 3x4 - "grosser" > >= ?odz ?'
    assert writable("L\nCC\t· 1 … ±") == "L CC · 1 … ±"


@pytest.mark.parametrize("letter", [chr(code) for code in range(33, 127)] + ["·", "…", "±"])
def test_every_letter_that_stays_has_a_shape_of_its_own(letter):
    shapes = []
    for text in (letter, "\u65e5"):  # which is written as a question mark
        pixels = blank(30, 30)
        write(pixels, text, 5, 5, SIZE)
        shapes.append(pixels)
    assert shapes[0].min() < 200
    assert (letter == "?") == np.array_equal(*shapes)


def test_long_words_lose_their_middle():
    uid = "1.2.840.113619.2.66.2203801267.13581030319090000.10123"
    short = fitted(uid, 120, SIZE)
    assert width_of(short, SIZE) <= 120 < width_of(uid, SIZE)
    assert short.startswith("1.2.840")
    assert short.endswith("10123")
    assert fitted("L CC", 120, SIZE) == "L CC"


def test_lines_are_as_many_as_there_may_be():
    text = "the laterality is read from (0020,0060) Laterality and the view from (0008,103E) Series Description"
    lines = wrapped(text, 200, SIZE, 9)
    assert " ".join(lines) == text
    assert max(width_of(line, SIZE) for line in lines) <= 200
    two = wrapped(text, 200, SIZE, 2)
    assert len(two) == 2
    assert two[0] == lines[0]
    assert "…" in two[1]


def test_a_file_holds_the_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(cv2.imread(str(write_png(pixels, tmp_path / "a.png")))[..., ::-1], pixels)
    assert np.array_equal(cv2.imread(str(write_png(pixels[..., 0], tmp_path / "b.png")), -1), pixels[..., 0])
