"""JPEG with bytes missing, doubled, exchanged or left over inside its scan, whose end marker stands as it should."""

import io
import logging
import re
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rsna.codecs import libjpeg
from rsna.codecs.signature import parse_codestream
from rsna.dicom import CorruptPixels, UnsupportedPixels, open_mammogram
from tests.dicom_files import breast, dicom_bytes, encode, encode_strips

SYNTAXES = {"jpeg_baseline": 8, "jpeg_extended": 12, "jpeg_lossless": 12, "jpeg_lossless_57": 16}


def decode(frame: bytes, syntax: str, shape=(400, 300)):
    bits = SYNTAXES[syntax]
    return open_mammogram(dicom_bytes(breast(*shape, bits), bits, syntax, frame=frame)).decode()


def scan_of(frame: bytes) -> tuple[int, int]:
    return parse_codestream(frame).scan, frame.rindex(b"\xff\xd9")


@pytest.fixture(scope="module", params=list(SYNTAXES))
def coded(request):
    """(syntax, frame, start of the scan, its end)"""
    syntax, bits = request.param, SYNTAXES[request.param]
    frame = encode(breast(400, 300, bits), syntax, bits)
    return syntax, frame, *scan_of(frame)


def test_pixels_are_those_of_imagecodecs(coded):
    syntax, frame, _, _ = coded
    np.testing.assert_array_equal(decode(frame, syntax), imagecodecs.jpeg8_decode(frame))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [256, 1000, 4096])
def test_bytes_missing_inside_a_scan_are_noticed(coded, count, share):
    syntax, frame, start, end = coded
    at = start + int((end - start - count) * share)
    with pytest.raises(CorruptPixels, match="libjpeg|left over|beyond"):
        decode(frame[:at] + frame[at + count :], syntax)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [64, 1000])
def test_bytes_too_many_inside_a_scan_are_noticed(coded, count, share):
    syntax, frame, start, end = coded
    at = start + count + int((end - start - count) * share)
    for more in (frame[at - count : at], np.random.default_rng(0).bytes(count).replace(b"\xff", b"\0")):
        with pytest.raises(CorruptPixels):
            decode(frame[:at] + more + frame[at:], syntax)


@pytest.mark.parametrize("count", [2, 3, 4, 9, 100])
def test_bytes_before_the_end_marker_are_noticed(coded, count):
    syntax, frame, _, end = coded
    for byte in (b"\0", b"\x55"):
        with pytest.raises(CorruptPixels):
            decode(frame[:end] + byte * count + frame[end:], syntax)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_scan_that_ends_early_is_noticed(coded, share):
    syntax, frame, start, end = coded
    with pytest.raises(CorruptPixels):
        decode(frame[: start + int((end - start) * share)] + frame[end:], syntax)


def test_a_marker_inside_a_scan_is_noticed(coded):
    syntax, frame, start, end = coded
    at = (start + end) // 2
    # End, tables that no decoder accepts, another scan, a restart that nobody promised.
    for marker in (b"\xff\xd9", b"\xff\xc4\0\3\0", b"\xff\xda\0\3\0", b"\xff\xd0"):
        with pytest.raises(CorruptPixels):
            decode(frame[:at] + marker + frame[at:], syntax)


def test_noise_over_a_part_of_a_scan_is_noticed(coded):
    syntax, frame, start, end = coded
    at = (start + end) // 2
    noise = np.random.default_rng(1).bytes(2000).replace(b"\xff", b"\0")
    with pytest.raises(CorruptPixels):
        decode(frame[:at] + noise + frame[at + len(noise) :], syntax)


def test_one_byte_missing_of_a_lossless_scan_is_noticed_in_four_of_five():
    frame = encode(breast(400, 300), "jpeg_lossless", 12)
    start, end = scan_of(frame)
    noticed = 0
    for at in range(start + 10, end - 10, (end - start) // 100):
        try:
            decode(frame[:at] + frame[at + 1 :], "jpeg_lossless")
        except CorruptPixels:
            noticed += 1
    assert noticed >= 81


def test_what_the_standard_allows_around_a_scan_is_no_damage(coded):
    syntax, frame, _, end = coded
    expected = decode(frame, syntax)
    comment = b"\xff\xfe\0\x06text"
    for tail in (b"\xff\xff\xff" + frame[end:], comment + frame[end:], frame[end:] + b"\0", frame[end:] + bytes(500)):
        np.testing.assert_array_equal(decode(frame[:end] + tail, syntax), expected)


def with_restarts(syntax: str) -> tuple[bytes, list[int], tuple[int, int]]:
    """A frame, where its restart markers stand, and (rows, columns)."""
    if syntax == "jpeg_baseline":
        buffer = io.BytesIO()
        Image.fromarray(breast(128, 90, 8)).save(buffer, "JPEG", quality=95, restart_marker_rows=1)
        frame, shape = buffer.getvalue(), (128, 90)
    else:
        frame, shape = encode_strips(breast(8, 90), 16), (128, 90)
    start, end = scan_of(frame)
    return frame, [at for at in range(start, end) if frame[at] == 0xFF and 0xD0 <= frame[at + 1] <= 0xD7], shape


@pytest.mark.parametrize("syntax", ["jpeg_baseline", "jpeg_lossless"])
def test_restarts_that_are_not_where_they_should_be_are_noticed(syntax):
    frame, marks, shape = with_restarts(syntax)
    decoded = decode(frame, syntax, shape)
    if syntax == "jpeg_lossless":
        np.testing.assert_array_equal(decoded, np.tile(breast(8, 90), (16, 1)))
    at, after = marks[4], marks[5]
    interval = frame.index(b"\xff\xdd")
    damaged = {
        "marker missing": frame[:at] + frame[at + 2 :],
        "last marker missing": frame[: marks[-1]] + frame[marks[-1] + 2 :],
        "another number": frame[: at + 1] + b"\xd6" + frame[at + 2 :],
        "interval missing": frame[:at] + frame[after:],
        "interval twice": frame[:after] + frame[at:],
        "one byte more": frame[:at] + b"\0" + frame[at:],
        "one byte less": frame[: at - 1] + frame[at:],
        "ends at a marker": frame[:at] + b"\xff\xd9",
        "interval not said": frame[:interval] + frame[interval + 6 :],
    }
    for name, data in damaged.items():
        with pytest.raises(CorruptPixels):
            pytest.fail(f"{name}: {decode(data, syntax, shape).shape}")


def test_a_damaged_decoding_leaves_the_next_one_whole(coded):
    syntax, frame, start, _ = coded
    for _ in range(20):
        with pytest.raises(CorruptPixels):
            decode(frame[: start + 100] + frame[start + 600 :], syntax)
    np.testing.assert_array_equal(decode(frame, syntax), imagecodecs.jpeg8_decode(frame))


def test_a_header_that_libjpeg_refuses_is_corrupt():
    frame = bytearray(encode(breast(100, 100), "jpeg_lossless", 12))
    frame[frame.index(b"\xff\xc4") + 5] = 0xFF  # 255 codes of one bit
    with pytest.raises(CorruptPixels, match="Jpeg8Error"):
        decode(bytes(frame), "jpeg_lossless", (100, 100))


@pytest.mark.parametrize(
    "said", [{"rows": 99}, {"columns": 60}, {"columns": 140}, {"precision": 11}, {"components": 2}]
)
def test_what_libjpeg_reads_otherwise_than_the_header_was_parsed_gets_no_room(said):
    frame = encode(breast(100, 100), "jpeg_lossless", 12)
    with pytest.raises(CorruptPixels, match=r"libjpeg reads \(100, 100, 1, 12\)"):
        libjpeg.decode_jpeg(frame, replace(parse_codestream(frame), **said))


@pytest.mark.parametrize("hidden", [(40, 3000, 8), (4, 30, 8), (40, 30, 12)], ids=["wider", "lower", "deeper"])
@pytest.mark.parametrize("marker", [0x00, 0x01, 0x02, 0xBF, 0xC8, 0xCC, 0xD0, 0xD8, 0xD9, 0xDE, 0xDF, 0xF0, 0xFD])
@pytest.mark.parametrize("fill", [0, 1])
def test_a_header_hidden_where_libjpeg_alone_would_read_it_is_refused(hidden, marker, fill):
    """libjpeg takes FF00 for stuffing, and looks for the next marker in what a parser of lengths steps over."""
    *shape, bits = hidden
    inner = encode(breast(*shape, bits), "jpeg_baseline" if bits == 8 else "jpeg_extended", bits)[2:]
    outer = encode(breast(40, 30, 8), "jpeg_baseline", 8)
    name = b"\xff" * (1 + fill) + bytes([marker])
    frame = outer[:2] + name + (len(inner) + 2).to_bytes(2, "big") + inner + outer[2:]
    with pytest.raises(CorruptPixels, match=f"marker {marker:02X} before any scan"):
        decode(frame, "jpeg_baseline", (40, 30))


@pytest.mark.parametrize("marker", [0xDC, 0xE0, 0xEE, 0xEF, 0xFE])
def test_a_header_inside_a_comment_is_text(coded, marker):
    syntax, frame, _, _ = coded
    inner = encode(breast(40, 3000, 8), "jpeg_baseline", 8)[2:2000]
    commented = frame[:2] + bytes([0xFF, marker]) + (len(inner) + 2).to_bytes(2, "big") + inner + frame[2:]
    np.testing.assert_array_equal(decode(commented, syntax), decode(frame, syntax))


def test_more_rows_than_libjpeg_takes_are_unsupported():
    frame = bytearray(encode(breast(100, 16), "jpeg_lossless", 12))
    at = parse_codestream(bytes(frame)).rows_at
    frame[at : at + 2] = (65_535).to_bytes(2, "big")
    with pytest.raises(UnsupportedPixels, match="65535 rows"):
        open_mammogram(dicom_bytes(breast(100, 16), 12, "jpeg_lossless", frame=bytes(frame), Rows=65_535)).decode()


def test_a_marker_between_or_inside_the_scans_of_a_progressive_picture_is_no_end_of_the_program():
    buffer = io.BytesIO()
    Image.fromarray(breast(128, 90, 8)).save(buffer, "JPEG", quality=95, progressive=True)
    picture = buffer.getvalue()
    libjpeg.require_whole(picture)
    starts = [match.start() for match in re.finditer(rb"\xff\xc4", picture)]
    assert len(starts) > 3
    for at in (*starts[1:], (starts[-1] + len(picture)) // 2):
        # Tables and scans that libjpeg gives up on: unheard of, too short, of another image.
        for marker in (
            b"\xff\xc4\0\3\0",
            b"\xff\xda\0\3\0",
            b"\xff\xdb\0\3\x50",
            b"\xff\xc0\0\x0b\x08\0\1\0\1\1\1\x11\0",
        ):
            with pytest.raises((CorruptPixels, imagecodecs.Jpeg8Error)):
                libjpeg.require_whole(picture[:at] + marker + picture[at:])


def test_the_library_is_the_one_of_imagecodecs():
    assert libjpeg.load_library() is not None
    assert libjpeg._ENTROPY_KNOWN in imagecodecs.jpeg8_version()


def test_where_the_library_is_linked_in_it_decodes_and_it_is_said(monkeypatch, caplog):
    monkeypatch.setattr(libjpeg, "load_library", lambda: None)
    libjpeg._say_deaf.cache_clear()
    frame = encode(breast(), "jpeg_lossless", 12)
    with caplog.at_level(logging.WARNING, "rsna.codecs"):
        for _ in range(2):
            np.testing.assert_array_equal(decode(frame, "jpeg_lossless", (120, 90)), breast())
    assert len(caplog.records) == 1
