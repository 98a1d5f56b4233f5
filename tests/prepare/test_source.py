import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rsna.config.data import PreprocessSettings
from rsna.prepare.image import prepare_image
from rsna.prepare.source import PictureError, open_image
from tests.prepare import files, phantoms


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_png_gives_its_values_over_the_full_range(tmp_path: Path, bits: int, dtype: type) -> None:
    image = open_image(files.write_picture(tmp_path / "a.png", np.linspace(0, 1, 35).reshape(5, 7), bits))
    stored = image.decode()
    assert (image.size, image.levels, stored.dtype) == ((5, 7), 0, dtype)
    np.testing.assert_allclose(image.display(stored), np.linspace(0, 1, 35).reshape(5, 7), atol=1 / 255)
    np.testing.assert_array_equal(image.display(stored, window=None, box=(2, 1, 5, 4)), image.display(stored)[1:4, 2:5])


def test_a_jpeg_gives_about_what_was_written(tmp_path: Path) -> None:
    display, _ = phantoms.breast()
    image = open_image(files.write_picture(tmp_path / "a.JPG", display))
    assert np.abs(image.display(image.decode()) - display).mean() < 0.02


def test_grey_that_was_written_as_colour_is_grey(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").decode(), grey)


def test_colour_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8))
    with pytest.raises(PictureError, match=r"a\.png: a colour image"):
        open_image(tmp_path / "a.png").decode()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_half_an_image_is_never_returned(tmp_path: Path, suffix: str) -> None:
    path = files.write_picture(tmp_path / f"a.{suffix}", phantoms.breast()[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match="truncated"):
        open_image(path).decode()


JPEGS: dict[str, tuple[bool, dict[str, Any]]] = {
    "grey": (False, {}),
    "grey, restarts": (False, {"restart_marker_rows": 1}),
    "grey, progressive": (False, {"progressive": True}),
    "grey, comment": (False, {"comment": b"\xff\xd8\xff\xd9"}),
    "colour, chroma halved": (True, {}),
    "colour, chroma whole": (True, {"subsampling": 0}),
    "colour, progressive": (True, {"progressive": True}),
    "RGB": (True, {"keep_rgb": True}),
}
"""Name → whether grey is stored as colour, and options of Pillow."""


def jpeg(name: str) -> bytes:
    as_colour, options = JPEGS[name]
    grey = np.rint(phantoms.breast()[0] * 255).astype(np.uint8)
    grey = np.clip(grey + np.random.default_rng(0).normal(0, 6, grey.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3, -1) if as_colour else grey).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", JPEGS)
def test_pixels_of_a_jpeg_are_those_of_pillow(tmp_path: Path, name: str) -> None:
    content = jpeg(name)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[..., 0]
    for after in (b"", b"\0" * 9_000, content):  # a second picture, as cameras append
        (tmp_path / "a.jpg").write_bytes(content + after)
        np.testing.assert_array_equal(open_image(tmp_path / "a.jpg").decode(), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_with_bytes_missing_or_an_early_end_is_refused(tmp_path: Path, name: str, share: float) -> None:
    content = jpeg(name)
    start, count = content.index(b"\xff\xda") + 14, 4096
    at = start + int((len(content) - start - count) * share)
    for damaged in (content[:at] + content[at + count :], content[: at + 40] + b"\xff\xd9"):
        (tmp_path / "a.jpg").write_bytes(damaged)
        with pytest.raises(PictureError, match=r"a\.jpg: .*Copy or convert the file again"):
            open_image(tmp_path / "a.jpg").decode()


def test_a_jpeg_is_read_as_it_is_stored_whatever_its_orientation_tag_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    image = open_image(tmp_path / "a.jpg")
    assert image.size == image.decode().shape == (30, 40)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def png_chunks(samples: npt.NDArray[Any], colour_type: int, depth: int) -> list[tuple[bytes, bytes]]:
    """Of (H, W, samples a pixel) values of ``depth`` bits; a palette runs from white to black."""
    rows, columns, _ = samples.shape
    bits = (samples[..., None] >> np.arange(depth)[::-1] & 1).reshape(rows, -1).astype(np.uint8)
    ramp = np.linspace(255, 0, 1 << min(depth, 8)).round().astype(np.uint8)
    return [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0)),
        *([(b"PLTE", np.repeat(ramp, 3).tobytes())] if colour_type == 3 else []),
        (b"IDAT", zlib.compress(b"".join(b"\0" + np.packbits(row).tobytes() for row in bits))),
        (b"IEND", b""),
    ]


COLOUR_TYPES = {"grey": (0, 1), "RGB": (2, 3), "palette": (3, 1), "grey with alpha": (4, 2), "RGBA": (6, 4)}
DEPTHS = [
    *(("grey", depth) for depth in (1, 2, 4, 8, 16)),
    *(("palette", depth) for depth in (1, 2, 4, 8)),
    *((name, depth) for name in ("RGB", "grey with alpha", "RGBA") for depth in (8, 16)),
]


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_a_png_of_any_colour_type_and_depth_keeps_all_its_values(tmp_path: Path, name: str, depth: int) -> None:
    (colour_type, count), most = COLOUR_TYPES[name], (1 << depth) - 1
    grey = np.random.default_rng(0).integers(0, most, (19, 13, 1), endpoint=True)
    samples = np.repeat(grey, count, axis=-1)
    if "A" in name or "alpha" in name:
        samples[..., -1] = most
    (tmp_path / "a.png").write_bytes(png(png_chunks(samples, colour_type, depth)))
    image = open_image(tmp_path / "a.png")
    full = 65535 if depth == 16 else 255
    assert image.full_range == (0, full)
    shown = most - grey[..., 0] if name == "palette" else grey[..., 0]
    stored = image.decode()
    assert stored.dtype == (np.uint16 if depth == 16 else np.uint8)
    np.testing.assert_array_equal(stored, shown * (full // most))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("name", ["grey with alpha", "RGBA"])
def test_transparent_pixels_are_refused(tmp_path: Path, name: str, depth: int) -> None:
    colour_type, count = COLOUR_TYPES[name]
    samples = np.full((4, 5, count), (1 << depth) - 1)
    samples[2, 3, -1] -= 1
    (tmp_path / "a.png").write_bytes(png(png_chunks(samples, colour_type, depth)))
    with pytest.raises(PictureError, match=r"a\.png: transparent pixels\. Convert it to grey without alpha"):
        open_image(tmp_path / "a.png").decode()


@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_png_with_any_bit_flipped_or_any_end_missing_is_refused(tmp_path: Path, bit: int) -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (12, 9, 1))
    content, path = png(png_chunks(samples, 0, 16)), tmp_path / "a.png"
    for at in range(len(content)):
        for damaged in (content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :], content[:at]):
            path.write_bytes(damaged)
            with pytest.raises(PictureError):
                pytest.fail(f"byte {at}: {open_image(path).decode().shape}")


def test_a_png_whose_pixels_are_not_those_of_their_checksum_is_refused(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (64, 64, 1))
    header, (_, data), end = png_chunks(samples, 0, 8)
    parts = [(b"IDAT", data[at : at + 500]) for at in range(0, len(data), 500)]
    whole = [header, *parts, end]
    (tmp_path / "a.png").write_bytes(png(whole))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").decode(), samples[..., 0])
    stored = bytearray(zlib.compress(zlib.decompress(data), 0))
    stored[500] ^= 1
    for damaged in (
        [header, *parts[:3], *parts[4:], end],
        [header, *parts[:3], parts[4], parts[3], *parts[5:], end],
        [header, *parts[:-1], end],
        [header, (b"IDAT", bytes(stored)), end],
        [header, end],
    ):
        (tmp_path / "a.png").write_bytes(png(damaged))
        with pytest.raises(PictureError, match="libpng refuses"):
            open_image(tmp_path / "a.png").decode()


def pgm(path: Path, display: npt.NDArray[Any], maximum: int) -> Path:
    """Writes (H, W) ``display`` in [0, 1]."""
    grey = np.rint(display * maximum).astype(np.uint8 if maximum < 256 else ">u2")
    path.write_bytes(f"P5\n{grey.shape[1]} {grey.shape[0]}\n{maximum}\n".encode() + grey.tobytes())
    return path


@pytest.mark.parametrize("maximum", [255, 4095, 65535])
def test_a_pgm_is_shown_by_the_greatest_value_that_its_header_allows(tmp_path: Path, maximum: int) -> None:
    display, _ = phantoms.breast()
    image = open_image(pgm(tmp_path / "a.PGM", display, maximum))
    stored = image.decode()
    assert (image.size, image.full_range, image.levels, image.has_window) == (display.shape, (0, maximum), 0, False)
    assert (stored.shape, stored.dtype) == (display.shape, np.uint8 if maximum < 256 else np.uint16)
    np.testing.assert_allclose(image.display(stored), display, atol=0.51 / maximum)


def test_the_same_pixels_prepare_to_the_same_bytes_from_pgm_as_from_png(tmp_path: Path) -> None:
    display, _ = phantoms.breast()
    for maximum, bits in ((255, 8), (65535, 16)):
        pgm(tmp_path / "a.pgm", display, maximum)
        files.write_picture(tmp_path / "a.png", display, bits)
        settings = PreprocessSettings(size=(96, 64))
        (one, where), (other, there) = (prepare_image(tmp_path / name, settings) for name in ("a.pgm", "a.png"))
        np.testing.assert_array_equal(one, other)
        assert where == there


def test_a_damaged_pgm_is_refused_by_name_as_it_is_opened(tmp_path: Path) -> None:
    path = pgm(tmp_path / "a.pgm", phantoms.breast()[0], 255)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:50] + content[60:], content + content):
        path.write_bytes(damaged)
        with pytest.raises(PictureError, match=r"a\.pgm: PGM: .* bytes of samples, .*Copy or convert the file again"):
            open_image(path)
    path.write_bytes(b"P2\n1 1\n255\n7\n")
    with pytest.raises(PictureError, match=r"a\.pgm: P2 of the PGM family, where only binary grey \(P5\) is read"):
        open_image(path)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(PictureError, match=r"a\.png: not a PNG, JPEG or PGM image\. Convert it again"):
        open_image(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "b.bmp")
    (tmp_path / "b.bmp").rename(tmp_path / "b.png")
    with pytest.raises(PictureError, match=r"b\.png: not a PNG, JPEG or PGM image\. Convert it again"):
        open_image(tmp_path / "b.png")


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = files.write_picture(tmp_path / "a.png", np.zeros((100, 100)))
    with pytest.raises(PictureError, match="100×100 pixels exceed 9,999"):
        open_image(path, max_pixels=9_999)


def test_windows_and_levels_that_a_picture_lacks_are_refused(tmp_path: Path) -> None:
    image = open_image(files.write_picture(tmp_path / "a.png", np.zeros((4, 4))))
    with pytest.raises(PictureError, match="no window 1"):
        image.display(image.decode(), window=1)
    with pytest.raises(PictureError, match="level 0 alone"):
        image.decode(1)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("name", ["a.dcm", "a.png", "a", "link.dcm"])
def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / name).symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe"):
        open_image(tmp_path / name)
