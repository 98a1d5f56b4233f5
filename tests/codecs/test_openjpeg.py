"""A part of a JPEG 2000 image is what the whole image holds there, whoever decodes it."""

import contextlib
import io
import resource
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from rsna.codecs import openjpeg
from rsna.dicom import CorruptPixels, DicomError, open_mammogram
from tests.dicom_files import LOSSLESS, breast, dicom_bytes, encode, encode_jpeg2000, encode_tiles

ROWS, COLUMNS = 301, 210
"""Several code blocks of 64 × 64 at level 0 and 1, none of them whole at the far edges."""


def boxes(rows, columns, number=6):
    """Parts of every size and place, the edges among them."""
    rng = np.random.default_rng(rows)
    x, y = np.sort(rng.integers(0, columns + 1, (number, 2))), np.sort(rng.integers(0, rows + 1, (number, 2)))
    parts = [(x[i, 0], y[i, 0], x[i, 1], y[i, 1]) for i in range(number) if x[i, 0] < x[i, 1] and y[i, 0] < y[i, 1]]
    return [*parts, (0, 0, columns, rows), (columns - 1, rows - 1, columns, rows), (0, rows // 2, 1, rows // 2 + 1)]


def assert_parts(mammogram):
    """Every part of every level is that of the whole level."""
    for level in range(mammogram.levels + 1):
        whole = mammogram.decode(level)
        for x0, y0, x1, y1 in boxes(*whole.shape):
            part = mammogram.decode(level, (x0, y0, x1, y1))
            assert part.dtype == whole.dtype
            np.testing.assert_array_equal(part, whole[y0:y1, x0:x1], err_msg=f"level {level}, {x0, y0, x1, y1}")


@pytest.fixture(params=["library", "Pillow"])
def decoder(request, monkeypatch):
    if request.param == "Pillow":
        monkeypatch.setattr(openjpeg, "load_library", lambda: None)
    elif openjpeg.load_library() is None:
        pytest.skip("OpenJPEG is linked into Pillow here")


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", ["jpeg2000", "jpeg2000_lossy", "htj2k", "htj2k_lossy"])
@pytest.mark.usefixtures("decoder")
def test_a_part_is_that_of_the_whole(syntax, signed):
    for bits in (8, 11, 16):
        stored = breast(ROWS, COLUMNS, bits, signed=signed)
        assert_parts(open_mammogram(dicom_bytes(stored, bits, syntax)))


@pytest.mark.usefixtures("decoder")
def test_tiles_and_file_formats_make_no_difference():
    stored = breast(ROWS, COLUMNS, 8)
    assert_parts(open_mammogram(dicom_bytes(stored, 8, "jpeg2000", frame=encode_tiles(stored, (96, 80)))))
    stored = breast(ROWS, COLUMNS, 12)
    frame = encode_jpeg2000(stored, 12, codecformat="jp2")
    assert_parts(open_mammogram(dicom_bytes(stored, 12, "jpeg2000", frame=frame)))


@pytest.mark.parametrize("offset", [(1, 0), (0, 3), (5, 7), (64, 33)])
def test_an_image_may_start_anywhere_on_the_reference_grid(offset):
    if openjpeg.load_library() is None:
        pytest.skip("OpenJPEG is linked into Pillow here")
    stored = breast(ROWS, COLUMNS, 8)
    buffer = io.BytesIO()
    options = {"no_jp2": True, "offset": offset, "tile_size": (COLUMNS + 64, ROWS + 64), "num_resolutions": 5}
    Image.fromarray(stored).save(buffer, "JPEG2000", **options)
    mammogram = open_mammogram(dicom_bytes(stored, 8, "jpeg2000", frame=buffer.getvalue()))
    np.testing.assert_array_equal(mammogram.decode(), stored)
    assert_parts(mammogram)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_every_syntax_has_parts(syntax):
    mammogram = open_mammogram(dicom_bytes(breast(90, 70), 12, syntax))
    assert_parts(mammogram)
    np.testing.assert_array_equal(mammogram.decode(0, (-5, 80, 20, 200)), mammogram.decode()[80:, :20])
    for box in ((70, 0, 80, 90), (10, 10, 10, 20), (5, 20, 9, 12)):
        for take in (mammogram.decode, lambda level, box: mammogram.display(level, box=box)):
            with pytest.raises(ValueError, match=r"holds no pixel of 70×90"):
                take(0, box)


def test_the_library_and_pillow_agree(monkeypatch):
    if openjpeg.load_library() is None:
        pytest.skip("OpenJPEG is linked into Pillow here")
    for syntax in ("jpeg2000", "jpeg2000_lossy", "htj2k", "htj2k_lossy"):
        for bits, signed in ((8, False), (12, True), (13, False), (16, True)):
            data = dicom_bytes(breast(ROWS, COLUMNS, bits, signed=signed), bits, syntax)
            library = [open_mammogram(data).decode(level) for level in range(4)]
            with monkeypatch.context() as without:
                without.setattr(openjpeg, "load_library", lambda: None)
                pillow = [open_mammogram(data).decode(level) for level in range(4)]
            for ours, theirs in zip(library, pillow, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_the_library_is_found_where_pillow_brings_it_as_a_file():
    if not list((Path(PIL.__file__).parent.parent / "pillow.libs").glob("libopenjp2*")):
        pytest.skip("Pillow brings no library as a file here")
    assert openjpeg.load_library() is not None


def test_what_is_no_library_is_passed_over(tmp_path, monkeypatch):
    text = tmp_path / "libopenjp2.so"
    text.write_text("not a library")
    monkeypatch.setattr(openjpeg, "_candidates", lambda: iter([str(text), "libm.so.6", str(tmp_path / "missing.so")]))
    assert openjpeg.load_library.__wrapped__() is None


def test_an_error_says_what_the_library_said():
    if openjpeg.load_library() is None:
        pytest.skip("OpenJPEG is linked into Pillow here")
    stored = breast(ROWS, COLUMNS)
    frame = bytearray(encode_jpeg2000(stored, 12))
    style = frame.index(b"\xff\x52")
    frame[style + 10 : style + 12] = b"\x08\x08"  # Code blocks of 1024 × 1024: at most 4096 samples are allowed.
    with pytest.raises(CorruptPixels, match=r"OpenJPEG: \w+"):
        open_mammogram(dicom_bytes(stored, frame=bytes(frame), syntax="jpeg2000")).decode()


def test_damage_between_the_markers_is_pixels_or_an_error():
    rng = np.random.default_rng(0)
    stored = breast(ROWS, COLUMNS)
    frame = encode_jpeg2000(stored, 12)
    start = frame.index(b"\xff\x93") + 2
    for _ in range(60):
        damaged = bytearray(frame)
        for at in rng.integers(start, len(frame) - 2, 20):
            damaged[at] = rng.integers(0, 0x80)
        mammogram = open_mammogram(dicom_bytes(stored, frame=bytes(damaged), syntax="jpeg2000"))
        for level in (0, 1):
            with contextlib.suppress(DicomError):
                assert mammogram.decode(level, (20, 30, 100, 140)).shape == (110, 80)


def test_decoding_keeps_no_memory():
    mammogram = open_mammogram(dicom_bytes(breast(1000, 1000), 12, "jpeg2000"))
    for _ in range(5):
        mammogram.decode(0, (10, 10, 900, 900))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(40):
        mammogram.decode(0, (10, 10, 900, 900))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kilobytes; an image has 4,000


def _mend(frame: bytes, more: int) -> bytes:
    """The one tile-part says that it is `more` bytes longer."""
    at = frame.index(b"\xff\x90") + 6
    return frame[:at] + (int.from_bytes(frame[at : at + 4], "big") + more).to_bytes(4, "big") + frame[at + 4 :]


def test_code_blocks_that_the_library_only_warns_of_are_corrupt():
    stored = breast(300, 200)
    frame = encode(stored, "htj2k_lossy", 12)
    at = len(frame) // 2
    damaged = _mend(frame[:at] + frame[at : at + 64] + frame[at:], 64)
    with pytest.raises(CorruptPixels, match="OpenJPEG: Malformed"):
        open_mammogram(dicom_bytes(stored, 12, "htj2k_lossy", frame=damaged)).decode()


def test_a_marker_that_the_library_does_not_know_is_stepped_over():
    stored = breast()
    frame = encode(stored, "jpeg2000", 12)
    at = frame.index(b"\xff\x52")
    other = frame[:at] + b"\xff\x7e\0\4ab" + frame[at:]
    np.testing.assert_array_equal(open_mammogram(dicom_bytes(stored, 12, "jpeg2000", frame=other)).decode(), stored)
