import io
import logging

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest

from rsna.dicom import (
    ColourImage,
    CorruptHeader,
    CorruptPixels,
    NoSuchLevel,
    Truncated,
    UnsupportedPixels,
    UnsupportedSyntax,
    open_mammogram,
)
from rsna.dicom.syntax import GE_PRIVATE
from tests.dicom_files import (
    LOSSLESS,
    NATIVE,
    SYNTAXES,
    breast,
    dicom_bytes,
    encode,
    encode_jpeg2000,
    encode_tiles,
    lut_item,
    relabel,
    report_bytes,
)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_return_the_stored_values(syntax, signed):
    for bits in range(8, 17):
        stored = breast(37, 50, bits, signed=signed)
        for precision in {bits, 8 * stored.dtype.itemsize}:
            decoded = open_mammogram(dicom_bytes(stored, bits, syntax, precision=precision)).decode()
            assert decoded.dtype == stored.dtype
            np.testing.assert_array_equal(decoded, stored, err_msg=f"{bits} bits, precision {precision}")


@pytest.mark.parametrize(
    ("syntax", "bits", "error"),
    [
        ("jpeg_baseline", 8, 8),
        ("jpeg_extended", 12, 40),
        ("jpeg_ls_lossy", 8, 2),
        ("jpeg_ls_lossy", 12, 2),
        ("jpeg2000_lossy", 8, 4),
        ("jpeg2000_lossy", 12, 40),
        ("htj2k_lossy", 12, 110),
    ],
)
def test_lossy_syntaxes_stay_near_the_stored_values(syntax, bits, error):
    stored = breast(37, 50, bits)
    decoded = open_mammogram(dicom_bytes(stored, bits, syntax)).decode().astype(int)
    assert 0 < np.abs(decoded - stored).max() <= error


def test_white_that_a_lossy_codec_makes_whiter_stays_white():
    stored = breast(bits=10)
    stored[40:80, 20:60] = np.random.default_rng(0).integers(1015, 1024, (40, 40))
    frame = bytes(imagecodecs.jpegls_encode(stored, level=2))
    assert imagecodecs.jpegls_decode(frame).max() > 1023
    decoded = open_mammogram(dicom_bytes(stored, 10, "jpeg_ls_lossy", frame=frame)).decode()
    assert np.abs(decoded.astype(int) - stored).max() == 2


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_bits_beyond_bits_stored_are_no_pixels(syntax, signed):
    stored = breast(bits=12, signed=signed)
    low = stored.view(np.uint16) & np.uint16(0xFFF)
    line = low.copy()
    line[20:60, 30] |= 0x1000
    for used in (low, low | np.uint16(0x8000), low | np.uint16(0x1000), line):  # low: a sign that is not extended
        mammogram = open_mammogram(dicom_bytes(used.view(stored.dtype), 12, syntax, precision=16))
        np.testing.assert_array_equal(mammogram.decode(), stored)
        np.testing.assert_array_equal(mammogram.decode(box=(5, 20, 80, 90)), stored[20:90, 5:80])
        assert mammogram.levels == 0 or used is line or (used is low and not signed)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", ["jpeg2000", "htj2k"])
def test_spare_bits_that_are_not_used_cost_no_level(syntax, signed):
    for bits in (8, 10, 12):
        stored = breast(600, 400, bits, signed=signed).astype(np.int16 if signed else np.uint16)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        stored[40:80, 300:380], stored[100:300, 360:364], stored[320:322] = high, high, low
        spare = open_mammogram(dicom_bytes(stored, bits, syntax, precision=16))
        np.testing.assert_array_equal(spare.decode(), stored)
        exact = open_mammogram(dicom_bytes(stored, bits, syntax))
        assert spare.levels == exact.levels >= 4


@pytest.mark.parametrize("syntax", ["jpeg2000", "htj2k"])
def test_a_thin_overlay_in_the_pixels_is_said_by_the_header_or_found_in_the_level(syntax):
    stored = breast(600, 400)
    stored[300, 200] |= 0x8000
    said = open_mammogram(dicom_bytes(stored, 12, syntax, precision=16)).levels
    assert said >= 4
    with pytest.raises(CorruptPixels, match=r"bits above \(0028,0101\) Bits Stored are used, and in level 1"):
        open_mammogram(dicom_bytes(stored, 12, syntax, precision=16)).decode(1)
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, 12, syntax, precision=16)))
    dataset.add_new((0x6002, 0x0102), "US", 15)
    assert open_mammogram(dataset).levels == 0
    np.testing.assert_array_equal(open_mammogram(dataset).decode(), breast(600, 400))
    dataset.add_new((0x6002, 0x3000), "OW", bytes(30000))  # An overlay of its own, as it is done today
    assert open_mammogram(dataset).levels == said


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", ["jpeg2000", "jpeg2000_lossy", "jpeg_ls_lossy"])
def test_white_that_comes_back_whiter_from_a_codestream_with_spare_bits_stays_white(syntax, signed):
    stored = breast(bits=10, signed=signed)
    white = int(stored.max())
    stored[40:80, 20:60] = np.random.default_rng(0).integers(white - 8, white + 1, (40, 40))
    more = stored + np.where(stored > white - 4, 4, 0).astype(stored.dtype)
    frame = encode(more if syntax == "jpeg2000" else stored, syntax, 16)
    if syntax == "jpeg2000_lossy":
        frame = encode_jpeg2000(more, 16, reversible=False, level=90)
    # Reversible, and labelled as lossy: what was cut off, nobody knows.
    label = {"label": "jpeg2000_lossy"} if syntax == "jpeg2000" else {}
    decoded = open_mammogram(dicom_bytes(stored, 10, syntax, frame=frame, **label)).decode().astype(int)
    assert 2 <= np.abs(decoded - stored).max() <= 40


@pytest.mark.parametrize("syntax", ["explicit", "rle"])
def test_32_bits_allocated_hold_16_stored(syntax):
    stored = breast(bits=16)
    if syntax == "rle":
        plain = np.frombuffer(stored.tobytes(), np.uint8).reshape(*stored.shape, 2)
        frame = _rle([plain[..., 0] * 0, plain[..., 0] * 0, plain[..., 1], plain[..., 0]])
    else:
        frame = stored.astype("<u4").tobytes()
    decoded = open_mammogram(dicom_bytes(stored, 16, syntax, frame=frame, BitsAllocated=32)).decode()
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, stored)


def _rle(planes):
    """PS3.5 annex G with literal runs only."""
    segments = []
    for plane in planes:
        raw = plane.tobytes()
        chunks = [raw[at : at + 128] for at in range(0, len(raw), 128)]
        segment = b"".join(bytes([len(chunk) - 1]) + chunk for chunk in chunks)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:at])) for at in range(len(segments))]
    head = np.array([len(segments), *offsets] + [0] * (15 - len(segments)), "<u4").tobytes()
    return head + b"".join(segments)


def test_big_endian_words_of_8_bits_are_unswapped():
    stored = breast(31, 33, bits=8)
    swapped = np.frombuffer(stored.tobytes() + b"\0", "u2").byteswap().tobytes()
    data = dicom_bytes(stored, 8, "big_endian", frame=swapped)
    data = data.replace(b"\x7f\xe0\0\x10OB", b"\x7f\xe0\0\x10OW")
    np.testing.assert_array_equal(open_mammogram(data).decode(), stored)


def test_rle_with_a_short_segment_is_truncated():
    stored = breast(32, 32, bits=8).astype(np.uint16)
    high, low = (stored >> 8).astype(np.uint8), (stored & 0xFF).astype(np.uint8)
    assert (open_mammogram(dicom_bytes(stored, 12, "rle", frame=_rle([high, low]))).decode() == stored).all()
    for planes in ([high[:-1], low], [high, low[:-1]]):
        with pytest.raises((Truncated, CorruptPixels)):
            open_mammogram(dicom_bytes(stored, 12, "rle", frame=_rle(planes))).decode()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("syntax", ["explicit", "in_fragment", "rle", "jpeg_ls", "jpeg_ls_lossy", "jpeg2000", "htj2k"])
def test_bytes_missing_inside_pixels_of_any_syntax_are_noticed(syntax, share):
    stored = breast()
    frame = encode(stored, syntax, 12)
    at = 200 + int((len(frame) - 500) * share)
    with pytest.raises((CorruptPixels, Truncated)):
        open_mammogram(dicom_bytes(stored, 12, syntax, frame=frame[:at] + frame[at + 100 :])).decode()


@pytest.mark.parametrize("segments", [1, 3])
def test_rle_with_another_number_of_segments_is_corrupt(segments):
    stored = breast(32, 32)
    frame = _rle([(stored & 0xFF).astype(np.uint8)] * segments)
    with pytest.raises(CorruptPixels, match="segments"):
        open_mammogram(dicom_bytes(stored, 12, "rle", frame=frame)).decode()


@pytest.mark.parametrize("label", ["jpeg_lossless", "explicit", "rle", "jpeg_ls", "1.2.3.4.5"])
@pytest.mark.parametrize("syntax", ["jpeg2000", "htj2k", "jpeg_lossless", "jpeg_ls", "jpeg_extended"])
def test_the_codestream_decides_where_the_label_lies(syntax, label, caplog):
    stored = breast(bits=12)
    honest = open_mammogram(dicom_bytes(stored, 12, syntax)).decode()
    with caplog.at_level(logging.WARNING, "rsna.dicom"):
        decoded = open_mammogram(dicom_bytes(stored, 12, syntax, label=label)).decode()
    np.testing.assert_array_equal(decoded, honest)
    assert (label == syntax) != any(SYNTAXES.get(label, label) in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("label", ["jpeg2000", "rle"])
def test_native_pixels_under_a_compressed_label_are_native(label, caplog):
    stored = breast(bits=12)
    data = dicom_bytes(stored, 12, "explicit", label=label)
    with caplog.at_level(logging.WARNING, "rsna.dicom"):
        np.testing.assert_array_equal(open_mammogram(data).decode(), stored)
    assert "the pixels are native" in caplog.text


def test_bytes_that_are_no_codestream_are_corrupt():
    with pytest.raises(CorruptPixels, match="jpeg2000"):
        open_mammogram(dicom_bytes(breast(), syntax="jpeg2000", frame=bytes(100))).decode()


@pytest.mark.parametrize("label", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.110", "explicit"])
def test_video_and_unknown_syntaxes_are_unsupported(label):
    data = dicom_bytes(breast(), syntax="jpeg2000", frame=bytes(100), label=label)
    with pytest.raises(UnsupportedSyntax, match=SYNTAXES.get(label, label)):
        open_mammogram(data).decode()


@pytest.mark.parametrize("syntax", ["jpeg2000", "htj2k", "jpeg_lossless", "jpeg_ls", "jpeg_extended"])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(syntax):
    mammogram = open_mammogram(dicom_bytes(breast(60, 40), 12, syntax, Rows=61))
    with pytest.raises(CorruptPixels, match="61×40, the codestream 60×40"):
        _ = mammogram.levels


def test_a_colour_codestream_is_refused():
    stored = breast(bits=8)
    frame = bytes(imagecodecs.jpeg8_encode(np.dstack([stored] * 3), level=95))
    with pytest.raises(ColourImage, match="3 components"):
        open_mammogram(dicom_bytes(stored, 8, "jpeg_baseline", frame=frame)).decode()


def test_a_codestream_of_more_than_16_bits_is_refused():
    stored = breast(bits=16)
    frame = encode_jpeg2000(stored.astype(np.uint32), 20)
    with pytest.raises(UnsupportedPixels, match="20 bits"):
        open_mammogram(dicom_bytes(stored, 16, "jpeg2000", frame=frame)).decode()


def test_a_codestream_may_be_signed_where_the_header_is_not_and_the_other_way():
    """As pydicom reads them: the header's sign, over the bits of the codestream."""
    for bits in (10, 12, 16):
        for signed in (False, True):
            stored = breast(bits=bits, signed=signed)
            low = stored.view(np.uint16) & np.uint16((1 << bits) - 1)
            other = low if signed else ((low.astype(np.int32) ^ (1 << (bits - 1))) - (1 << (bits - 1))).astype(np.int16)
            mammogram = open_mammogram(dicom_bytes(stored, bits, "jpeg2000", frame=encode_jpeg2000(other, bits)))
            assert mammogram.levels == 0
            np.testing.assert_array_equal(mammogram.decode(), stored)


@pytest.mark.parametrize("size", [(64, 64), (833, 2082), (97, 33), (41, 130)])
@pytest.mark.parametrize("syntax", ["jpeg2000", "jpeg2000_lossy", "htj2k"])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_level_is_the_image_made_smaller(syntax, size, signed):
    for bits in (8, 12, 16):
        smooth = cv2.GaussianBlur(breast(*size, bits, signed=signed).astype(np.float32), (0, 0), 3)
        stored = smooth.round().astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
        mammogram = open_mammogram(dicom_bytes(stored, bits, syntax))
        assert mammogram.levels >= 1
        for level in range(mammogram.levels + 1):
            decoded = mammogram.decode(level)
            rows, columns = decoded.shape
            assert decoded.shape == mammogram.size_at(level) == tuple(-(-side // 2**level) for side in size)
            assert decoded.dtype == stored.dtype
            if level <= 2:
                # Level r has its pixels at every 2**r-th position of the smooth image.
                near = smooth[:: 2**level, :: 2**level][2 : rows - 2, 2 : columns - 2]
                spread = np.abs(decoded[2:-2, 2:-2].astype(np.float32) - near).max()
                assert spread < 0.06 * (1 << bits), (bits, level)


def test_levels_of_a_codestream_in_tiles():
    stored = breast(100, 75, bits=8)
    mammogram = open_mammogram(dicom_bytes(stored, 8, "jpeg2000", frame=encode_tiles(stored, (32, 32))))
    np.testing.assert_array_equal(mammogram.decode(), stored)
    assert mammogram.levels == 2
    assert mammogram.decode(2).shape == (25, 19)


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg_lossless", "jpeg_ls"])
def test_only_jpeg2000_has_levels(syntax):
    mammogram = open_mammogram(dicom_bytes(breast(), syntax=syntax))
    assert mammogram.levels == 0
    for level in (-1, 1):
        with pytest.raises(NoSuchLevel, match="levels 0 to 0"):
            mammogram.decode(level)


def test_samples_that_decoders_refuse_are_corrupt():
    for syntax in ("jpeg2000", "jpeg_lossless"):
        frame = bytearray(encode(breast(100, 100), syntax, 12))
        if syntax == "jpeg2000":
            frame[55:57] = b"\x20\x20"  # Code blocks of a size that the standard forbids.
        else:
            frame[frame.index(b"\xff\xda") + 5] = 0x77  # A scan of a component that is not there.
        with pytest.raises(CorruptPixels):
            open_mammogram(dicom_bytes(breast(100, 100), 12, syntax, frame=bytes(frame))).decode()


def _ge(stored, bits=12, **elements):
    """As GE's private transfer syntax writes it: implicit VR, pixels big-endian."""
    frame = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    return dicom_bytes(stored, bits, "implicit", frame=frame, label=GE_PRIVATE, **elements)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_pixels_of_ges_private_syntax_are_big_endian_and_its_header_is_not(signed):
    stored = breast(signed=signed)
    lut = lut_item(-2048 if signed else 0, 12, np.arange(4096)[::-1].copy(), signed=signed)
    data = _ge(stored, VOILUTSequence=[lut])
    expected = 1 - (stored.astype(int) + 2048 * signed) / 4095
    for source in (data, pydicom.dcmread(io.BytesIO(data))):
        mammogram = open_mammogram(source)
        np.testing.assert_array_equal(mammogram.decode(), stored)
        np.testing.assert_allclose(mammogram.display(), expected, atol=1e-6)


def test_8_bits_of_ges_private_syntax_are_refused():
    with pytest.raises(UnsupportedSyntax, match=GE_PRIVATE):
        open_mammogram(_ge(breast(bits=8), 8)).decode()


UNKNOWN = {
    "nobody's": "1.2.3.4.5",
    "Philips": "1.3.46.670589.33.1.4.1",
    "GE's other": "1.2.840.113619.5.3",
    "Papyrus": "1.2.840.10008.1.20",
    "retired JPEG": "1.2.840.10008.1.2.4.52",
    "retired JPEG, hierarchical": "1.2.840.10008.1.2.4.65",
    "JPEG 2000 Part 2": "1.2.840.10008.1.2.4.93",
    "JPIP": "1.2.840.10008.1.2.4.94",
    "XML": "1.2.840.10008.1.2.6.2",
    "uncompressed video": "1.2.840.10008.1.2.7.1",
    "deflated frames": "1.2.840.10008.1.2.8.1",
}


@pytest.mark.parametrize("label", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_native_pixels_under_an_unknown_label_are_unsupported_though_their_length_fits(syntax, label):
    with pytest.raises(UnsupportedSyntax, match=rf"UID is {label}\b"):
        open_mammogram(dicom_bytes(breast(), 12, syntax, label=label)).decode()
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(breast(), 12, syntax)))
    dataset.file_meta.TransferSyntaxUID = label
    with pytest.raises(UnsupportedSyntax, match=rf"UID is {label}\b"):
        open_mammogram(dataset).decode()


@pytest.mark.parametrize("label", ["1.2.840.10008.1.2.4.95", "1.2.3.4.5"])
def test_a_header_that_an_unknown_label_makes_unreadable_is_unsupported(label):
    """JPIP Referenced Deflate deflates the data set, and holds no pixels."""
    for data in (dicom_bytes(breast(), 12, "deflated", label=label), report_bytes(breast())):
        if data.find(label.encode()) < 0:
            data = relabel(data, SYNTAXES["explicit"], label)
        with pytest.raises(UnsupportedSyntax, match=f"UID is {label}"):
            open_mammogram(data)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big_endian", "jpeg2000", "rle"])
@pytest.mark.parametrize("pad", ["{} ", " {}", "{}\0\0", "{} \0 "])
def test_a_label_may_be_padded(syntax, pad):
    padded = pad.format(SYNTAXES[syntax])
    data = dicom_bytes(breast(), 12, syntax, label=padded)
    np.testing.assert_array_equal(open_mammogram(data).decode(), breast())


@pytest.mark.parametrize("label", ["", "\0\0", "  "])
def test_an_empty_label_is_none(label):
    for syntax in ("implicit", "explicit", "big_endian"):
        data = dicom_bytes(breast(), 12, syntax, label=label)
        np.testing.assert_array_equal(open_mammogram(data).decode(), breast())


def test_jpeg2000_that_needs_its_part_2_is_unsupported():
    frame = bytearray(encode(breast(), "jpeg2000", 12))
    frame[6] |= 0x80  # Rsiz
    with pytest.raises(UnsupportedSyntax, match="Part 2"):
        open_mammogram(dicom_bytes(breast(), 12, "jpeg2000", frame=bytes(frame))).decode()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_pixels_below_high_bit_are_moved_to_the_last_bits(syntax, signed):
    for stored_bits, cell in ((12, 16), (10, 16), (6, 8)):
        stored = breast(60, 50, stored_bits, signed=signed)
        moved = (stored.astype(np.int32) << (cell - stored_bits)).astype(stored.dtype)
        mammogram = open_mammogram(dicom_bytes(moved, stored_bits, syntax, precision=cell, HighBit=cell - 1))
        decoded = mammogram.decode()
        assert decoded.dtype == stored.dtype
        np.testing.assert_array_equal(decoded, stored)
        np.testing.assert_array_equal(mammogram.decode(box=(5, 7, 30, 41)), stored[7:41, 5:30])
        assert mammogram.levels == 0
        window = {"WindowCenter": 500, "WindowWidth": 300}
        image = open_mammogram(
            dicom_bytes(moved, stored_bits, syntax, precision=cell, HighBit=cell - 1, **window)
        ).display()
        np.testing.assert_array_equal(image, open_mammogram(dicom_bytes(stored, stored_bits, **window)).display())


def test_high_bit_counts_in_the_middle_and_in_32_bits():
    stored = breast()
    for high_bit in (12, 13, 14):
        moved = stored << (high_bit - 11)
        np.testing.assert_array_equal(open_mammogram(dicom_bytes(moved, HighBit=high_bit)).decode(), stored)
    frame = (stored.astype("<u4") << 20).tobytes()
    data = dicom_bytes(stored, frame=frame, BitsAllocated=32, HighBit=31)
    np.testing.assert_array_equal(open_mammogram(data).decode(), stored)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_high_bit_alone_is_wrong_where_the_pixels_stand_in_the_last_bits(syntax, signed, caplog):
    stored = breast(60, 50, signed=signed)
    for high_bit, precision in ((15, 16), (15, 12), (7, 12), (200, 16)):
        with caplog.at_level(logging.WARNING, "rsna.dicom"):
            data = dicom_bytes(stored, 12, syntax, precision=precision, HighBit=high_bit)
            np.testing.assert_array_equal(open_mammogram(data).decode(), stored)
    np.testing.assert_array_equal(open_mammogram(dicom_bytes(stored, 12, syntax, HighBit=None)).decode(), stored)
    if syntax in NATIVE:
        assert "(0028,0102) High Bit is 15" in caplog.text


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"])
def test_pixels_that_stand_neither_below_high_bit_nor_in_the_last_bits_are_refused(syntax):
    """Bits Stored is wrong, or bits beside the pixels are used: whatever was shown would be a guess."""
    for stored in (breast(bits=16), breast(bits=12) << 2 | np.uint16(0x4001)):
        with pytest.raises(CorruptHeader, match=r"\(0028,0102\) High Bit is 15, \(0028,0101\) Bits Stored 12"):
            open_mammogram(dicom_bytes(stored, 12, syntax, precision=16, HighBit=15)).decode()


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"])
@pytest.mark.parametrize("high_bit", [11, 7, None])
def test_pixels_that_stand_in_the_first_bits_are_moved_though_high_bit_says_the_last(syntax, high_bit, caplog):
    stored = breast(60, 50)
    for shift in (4, 0):
        mammogram = open_mammogram(dicom_bytes(stored << shift, 12, syntax, precision=16, HighBit=high_bit))
        np.testing.assert_array_equal(mammogram.decode(), stored)
        np.testing.assert_array_equal(mammogram.decode(box=(5, 7, 30, 41)), stored[7:41, 5:30])
    assert "the pixels stand in the first 12 bits" in caplog.text


def test_ges_private_syntax_with_a_header_in_explicit_vr_is_refused():
    """Then its label is wrong, and nobody knows how its pixels are written."""
    with pytest.raises(UnsupportedSyntax, match="explicit"):
        open_mammogram(dicom_bytes(breast(), 12, "explicit", label=GE_PRIVATE))
