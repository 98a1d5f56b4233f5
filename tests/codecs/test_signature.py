import numpy as np
import pytest
from PIL import Image

from rsna.codecs.errors import CorruptPixels, Truncated, UnsupportedSyntax
from rsna.codecs.signature import parse_codestream
from tests.dicom_files import breast, encode, encode_jpeg2000, encode_tiles


@pytest.mark.parametrize("precision", [8, 10, 12, 14, 16])
def test_jpeg2000_says_its_size_and_samples(precision):
    samples = breast(70, 51, bits=precision)
    codestream = parse_codestream(encode_jpeg2000(samples, precision, resolutions=4))
    assert (codestream.kind, codestream.rows, codestream.columns) == ("jpeg2000", 70, 51)
    assert (codestream.components, codestream.precision, codestream.signed) == (1, precision, False)
    assert not codestream.lossy


@pytest.mark.parametrize("resolutions", [1, 2, 3])
def test_jpeg2000_says_how_often_it_can_be_halved(resolutions):
    codestream = parse_codestream(encode_jpeg2000(breast(64, 64), 12, resolutions=resolutions))
    assert codestream.levels == resolutions - 1


def test_jpeg2000_says_that_it_is_signed_and_lossy():
    samples = breast(64, 64, signed=True)
    codestream = parse_codestream(encode_jpeg2000(samples, 12, reversible=False))
    assert codestream.signed
    assert codestream.lossy


def test_codestream_starts_after_a_jp2_header():
    samples = breast(64, 64)
    boxed = encode_jpeg2000(samples, 12, codecformat="jp2")
    codestream = parse_codestream(boxed)
    assert boxed[codestream.start :][:4] == b"\xff\x4f\xff\x51"
    assert (codestream.rows, codestream.columns) == (64, 64)


@pytest.mark.parametrize("syntax", ["htj2k", "htj2k_lossy"])
def test_htj2k_is_told_from_jpeg2000(syntax):
    codestream = parse_codestream(encode(breast(64, 48), syntax, 16))
    assert (codestream.kind, codestream.lossy) == ("htj2k", syntax == "htj2k_lossy")


@pytest.mark.parametrize(
    ("syntax", "kind", "bits", "lossy"),
    [
        ("jpeg_baseline", "jpeg", 8, True),
        ("jpeg_extended", "jpeg", 12, True),
        ("jpeg_lossless", "jpeg_lossless", 12, False),
        ("jpeg_lossless_57", "jpeg_lossless", 16, False),
        ("jpeg_ls", "jpeg_ls", 16, False),
        ("jpeg_ls_lossy", "jpeg_ls", 8, True),
    ],
)
def test_jpeg_family_is_told_apart_by_its_frame_marker(syntax, kind, bits, lossy):
    codestream = parse_codestream(encode(breast(30, 41, bits=bits), syntax, bits))
    assert (codestream.kind, codestream.rows, codestream.columns) == (kind, 30, 41)
    assert (codestream.precision, codestream.levels, codestream.lossy) == (bits, 0, lossy)


@pytest.mark.parametrize(("rows", "columns"), [(2776, 2082), (833, 1), (1, 5), (17, 31)])
def test_size_of_a_level_is_the_ceiling_of_the_standard(rows, columns):
    codestream = parse_codestream(encode_jpeg2000(np.zeros((rows, columns), np.uint16), 12, resolutions=1))
    size = rows, columns
    for level in range(7):
        assert codestream.size(level) == size
        size = (size[0] + 1) // 2, (size[1] + 1) // 2


def test_size_of_a_level_starts_at_the_origin_of_the_reference_grid():
    # Image from 3 to 10 on both axes: the even positions 4, 6, 8 remain, then 4, 8, then 8.
    stream = bytearray(encode_jpeg2000(np.zeros((7, 7), np.uint16), 12, resolutions=1))
    for at in (8, 12):
        stream[at : at + 4] = (10).to_bytes(4, "big")
        stream[at + 8 : at + 12] = (3).to_bytes(4, "big")
        stream[at + 24 : at + 28] = (3).to_bytes(4, "big")  # the tile starts there, too
    codestream = parse_codestream(bytes(stream))
    assert (codestream.rows, codestream.columns) == (7, 7)
    assert [codestream.size(level) for level in range(4)] == [(7, 7), (3, 3), (2, 2), (1, 1)]


def test_bytes_without_a_signature_are_no_codestream():
    assert parse_codestream(b"") is None
    assert parse_codestream(bytes(100)) is None


@pytest.mark.parametrize("syntax", ["jpeg2000", "htj2k", "jpeg_extended", "jpeg_lossless", "jpeg_ls"])
def test_every_truncation_is_noticed(syntax):
    stream = encode(breast(40, 40), syntax, 12)
    for length in range(10, len(stream) - 2, 37):
        with pytest.raises(Truncated):
            parse_codestream(stream[:length])


def test_padding_after_the_end_marker_is_allowed():
    for syntax in ("jpeg2000", "jpeg_lossless"):
        assert parse_codestream(encode(breast(40, 40), syntax, 12) + bytes(50)) is not None


def test_truncation_is_noticed_between_the_tiles():
    stream = encode_tiles(breast(64, 64, bits=8), (16, 16))
    assert parse_codestream(stream) is not None
    second_tile = stream.index(b"\xff\x90\x00\x0a\x00\x01")
    with pytest.raises(Truncated):
        parse_codestream(stream[:second_tile])


def test_progressive_jpeg_is_unsupported():
    import io

    buffer = io.BytesIO()
    Image.fromarray(breast(40, 40, bits=8)).save(buffer, "JPEG", progressive=True)
    with pytest.raises(UnsupportedSyntax, match="progressive"):
        parse_codestream(buffer.getvalue())


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (8, bytes(4), "SIZ marker"),  # a width of 0
        (43, b"\x02", "SIZ marker"),  # subsampled
        (45, b"\x00", "main header"),  # COD starts with another byte
    ],
)
def test_impossible_jpeg2000_headers_are_refused(at, value, message):
    stream = bytearray(encode_jpeg2000(breast(40, 40), 12))
    stream[at : at + len(value)] = value
    with pytest.raises((CorruptPixels, Truncated), match=message):
        parse_codestream(bytes(stream))


def with_precincts(stream: bytes, size: int) -> bytes:
    """The codestream with precincts of (1 << size) squared."""
    levels = stream[54]
    cod = bytearray(stream[45:59])
    cod[2:4] = (12 + levels + 1).to_bytes(2, "big")
    cod[4] |= 1
    return stream[:45] + bytes(cod) + bytes([size * 17] * (levels + 1)) + stream[59:]


def test_a_small_file_cannot_make_the_decoder_allocate_gigabytes():
    stream = encode_jpeg2000(np.zeros((4096, 4096), np.uint16), 12)
    assert len(stream) < 1000
    assert parse_codestream(with_precincts(stream, 7)).levels == 5
    for size in (1, 2, 3):
        with pytest.raises(CorruptPixels, match="precincts"):
            parse_codestream(with_precincts(stream, size))
    blocks = bytearray(stream)
    blocks[55:57] = b"\x00\x00"  # 4 × 4
    with pytest.raises(CorruptPixels, match="code blocks"):
        parse_codestream(bytes(blocks))


def test_missing_tiles_are_noticed_where_the_end_marker_is_there():
    stream = encode_tiles(breast(64, 64, bits=8), (16, 16))
    third_tile = stream.index(b"\xff\x90\x00\x0a\x00\x02")
    with pytest.raises(Truncated, match="2 of 16 JPEG 2000 tiles"):
        parse_codestream(stream[:third_tile] + b"\xff\xd9")


def test_missing_parts_of_a_tile_are_noticed():
    stream = bytearray(encode_jpeg2000(breast(64, 64), 12))
    tile = stream.index(b"\xff\x90\x00\x0a")
    stream[tile + 11] = 2
    with pytest.raises(Truncated, match="0 of 1"):
        parse_codestream(bytes(stream))


def test_a_coding_style_of_one_tile_or_component_is_unsupported():
    stream = encode_jpeg2000(breast(64, 64), 12)
    tile = stream.index(b"\xff\x90\x00\x0a")
    style = stream[45:59]
    length = int.from_bytes(stream[tile + 6 : tile + 10], "big") + len(style)
    own = stream[: tile + 6] + length.to_bytes(4, "big") + stream[tile + 10 : tile + 12] + style + stream[tile + 12 :]
    with pytest.raises(UnsupportedSyntax, match="one tile"):
        parse_codestream(own)
    with pytest.raises(UnsupportedSyntax, match="one component"):
        parse_codestream(stream[:59] + b"\xff\x53\x00\x09\x00\x00\x05\x04\x04\x00\x01" + stream[59:])


def test_a_codestream_without_coding_style_is_corrupt():
    stream = encode_jpeg2000(breast(64, 64), 12)
    with pytest.raises(CorruptPixels, match="COD"):
        parse_codestream(stream[:45] + stream[59:])


def test_high_throughput_blocks_are_known_without_the_capability():
    frame = bytearray(encode(breast(70, 51), "htj2k", 12))
    assert frame[6] & 0x40
    frame[6] &= ~0x40  # Rsiz, bit 14
    assert parse_codestream(bytes(frame)).kind == "htj2k"
