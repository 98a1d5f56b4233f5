"""PGM holds whatever samples its header asks for, to the byte; anything else is refused, since nothing else tells."""

import re

import numpy as np
import pytest

from rsna.codecs.errors import CorruptPixels
from rsna.codecs.pgm import decode_pgm, parse_pgm


def samples(maximum: int) -> np.ndarray:
    grey = np.random.default_rng(0).integers(0, maximum, (19, 13), np.uint16, endpoint=True)
    grey[0, 0] = maximum  # neither the first sample nor the last looks like a blank
    grey[-1, -1] = 0
    return grey.astype(np.uint8) if maximum < 256 else grey


def pgm(grey: np.ndarray, maximum: int, header: str = "P5\n{columns} {rows}\n{maximum}\n", after: bytes = b"") -> bytes:
    rows, columns = grey.shape
    words = header.format(columns=columns, rows=rows, maximum=maximum).encode()
    return words + grey.astype(grey.dtype.newbyteorder(">")).tobytes() + after


def read(content: bytes) -> np.ndarray:
    return decode_pgm(content, parse_pgm(content))


@pytest.mark.parametrize("maximum", [1, 15, 255, 256, 4095, 65535])
def test_samples_of_one_byte_and_of_two_are_read(maximum):
    grey = samples(maximum)
    header = parse_pgm(pgm(grey, maximum))
    assert (header.rows, header.columns, header.maximum) == (19, 13, maximum)
    np.testing.assert_array_equal(read(pgm(grey, maximum)), grey)
    assert read(pgm(grey, maximum)).dtype == grey.dtype


@pytest.mark.parametrize(
    "header",
    [
        "P5 {columns} {rows} {maximum} ",
        "P5\n# by GIMP #2\n{columns} {rows}\n{maximum}\n",
        "P5\n#1 1 1\n#\n{columns}\t{rows} # wide and high\n\n{maximum}\n",
        "P5\r\n# a line\r\n{columns} {rows}\r\n{maximum}\r\n",
        "P5\r{columns}\r{rows}\r{maximum}\r",
    ],
)
def test_blanks_and_comments_stand_anywhere_in_the_header(header):
    np.testing.assert_array_equal(read(pgm(samples(255), 255, header)), samples(255))


def test_a_line_end_after_the_last_sample_is_no_sample():
    np.testing.assert_array_equal(read(pgm(samples(255), 255, after=b"\n")), samples(255))


def test_where_the_first_sample_may_be_a_blank_no_line_end_is_guessed():
    grey = samples(255)
    grey[0, 0], grey[-1, -1] = 10, 10
    np.testing.assert_array_equal(read(pgm(grey, 255)), grey)
    with pytest.raises(CorruptPixels, match="too many"):
        read(pgm(grey, 255, after=b"\n"))


@pytest.mark.parametrize("maximum", [255, 4095])
@pytest.mark.parametrize("change", range(6))
def test_a_file_of_another_length_is_refused_however_it_came_to_it(maximum, change):
    whole = pgm(samples(maximum), maximum)
    damaged = (
        whole[:-1],
        whole[: len(whole) // 2],
        whole[:100] + whole[101:],
        whole + b"\0",
        whole + whole,
        whole.replace(b"13 19", b"13 18"),
    )[change]
    with pytest.raises(CorruptPixels, match=r"^PGM: (truncated|bytes too many).*: [\d,]+ bytes of samples, not [\d,]+"):
        read(damaged)


def test_a_copy_whose_line_ends_were_converted_is_refused():
    grey = samples(255)
    assert (grey == 10).any()
    with pytest.raises(CorruptPixels, match="line ends were converted"):
        read(pgm(grey, 255).replace(b"\n", b"\r\n"))


def test_two_bytes_in_the_wrong_order_are_refused_where_the_header_tells():
    content = pgm(samples(4095).byteswap(), 4095)
    with pytest.raises(CorruptPixels, match="the header allows 4,095; its two bytes may stand in the wrong order"):
        read(content)
    with pytest.raises(CorruptPixels, match=r"a sample is 200, and the header allows 100\."):
        read(pgm(np.full((2, 2), 200, np.uint8), 100))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"P2\n1 1\n255\n7", "P2 of the PGM family, where only binary grey (P5) is read"),
        (b"P6\n1 1\n255\n777", "P6 of the PGM family"),
        (b"P5\n1 x\n255\n7", "no width, height and greatest value stand behind P5"),
        (b"P5\n1 1", "no width, height and greatest value"),
        (b"P5\n0 1\n255\n", "1×0 pixels"),
        (b"P5\n1 1\n70000\n77", "at most 70,000 are none"),
        (b"P5\n1 1\n0\n7", "at most 0 are none"),
        (b"P5\n" + b"# more\n" * 1000 + b"1 1\n255\n7", "no width, height and greatest value"),
    ],
)
def test_what_is_no_binary_grey_is_refused_by_what_it_is(content, said):
    with pytest.raises(CorruptPixels, match=re.escape(said)):
        read(content)
