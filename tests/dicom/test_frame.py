import io
import struct
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from rsna.dicom import (
    CorruptHeader,
    CorruptPixels,
    MultiFrame,
    NoPixels,
    NotDicom,
    TooLarge,
    Truncated,
    UnsupportedPixels,
    open_mammogram,
)
from tests.dicom_files import SYNTAXES, breast, dicom_bytes, encode, header, relabel, report_bytes


@pytest.fixture
def stored():
    return breast(40, 30)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big_endian"])
def test_a_file_that_does_not_name_its_syntax_is_recognised(stored, syntax):
    data = dicom_bytes(stored, syntax=syntax)
    element = data.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(data[element + 6 : element + 8], "little")
    unnamed = data[:element] + data[element + 8 + length :]
    np.testing.assert_array_equal(open_mammogram(unnamed).decode(), stored)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big_endian"])
def test_a_file_without_preamble_is_read(stored, syntax):
    data = dicom_bytes(stored, syntax=syntax)
    np.testing.assert_array_equal(open_mammogram(data[132:]).decode(), stored)
    data_set = data[144 + int.from_bytes(data[140:144], "little") :]
    np.testing.assert_array_equal(open_mammogram(data_set).decode(), stored)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(200), b"\xff\xd8\xff" + bytes(200), b"a,b,c\n" * 50]
)
def test_what_is_no_dicom_is_refused(data):
    with pytest.raises(NotDicom):
        open_mammogram(data)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big_endian", "deflated"])
def test_a_report_has_no_pixels(stored, syntax):
    with pytest.raises(NoPixels):
        open_mammogram(report_bytes(stored, syntax))


def test_floating_point_pixels_are_unsupported(stored):
    dataset = header(stored, 12)
    dataset.FloatPixelData = stored.astype(np.float32).tobytes()
    with pytest.raises(UnsupportedPixels):
        open_mammogram(dataset)


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if name not in ("jpeg_baseline", "deflated")])
def test_every_truncation_inside_the_pixels_is_noticed(stored, syntax):
    data = dicom_bytes(stored, syntax=syntax)
    pixels = data.index(b"\xe0\x7f\x10\0") if syntax != "big_endian" else data.index(b"\x7f\xe0\0\x10")
    # The sequence delimiter at the end, 8 bytes, is not missed.
    for length in range(pixels + 12, len(data) - 12, 53):
        with pytest.raises(Truncated):
            open_mammogram(data[:length]).decode()


def test_an_image_that_ends_in_its_header_is_truncated_also_between_two_elements(stored):
    data = dicom_bytes(stored, ImageComments="x" * 500)
    pixels = data.index(b"\xe0\x7f\x10\0")
    for length in [*range(140, pixels, 7), pixels]:
        with pytest.raises(Truncated):
            open_mammogram(data[:length])


def test_a_deflated_file_that_ends_early_is_truncated(stored):
    data = dicom_bytes(stored, syntax="deflated")
    with pytest.raises(Truncated):
        open_mammogram(data[:-100])


def test_a_deflated_bomb_is_not_inflated(stored):
    data = dicom_bytes(stored, syntax="deflated")
    start = 144 + int.from_bytes(data[140:144], "little")
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(100)) + engine.flush()
    assert len(bomb) < 1 << 18
    with pytest.raises(TooLarge, match="deflated"):
        open_mammogram(data[:start] + bomb, max_pixels=1 << 20)


def test_sequences_nested_without_end_are_refused(stored):
    data = dicom_bytes(stored, syntax="explicit")
    start = 144 + int.from_bytes(data[140:144], "little")
    opening = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(CorruptHeader, match="nested too deep"):
        open_mammogram(data[:start] + opening * 5000 + data[start:])


def test_large_private_elements_are_stepped_over(stored):
    data = dicom_bytes(stored)
    start = data.index(b"\x28\0\x02\0US")
    private = struct.pack("<HH2sHI", 0x0019, 0x1001, b"OB", 0, 1 << 20) + bytes(1 << 20)
    np.testing.assert_array_equal(open_mammogram(data[:start] + private + data[start:]).decode(), stored)


@pytest.mark.parametrize("fragments", [1, 2, 7])
def test_fragments_are_joined(stored, fragments):
    data = dicom_bytes(stored, syntax="jpeg2000", fragments=fragments)
    assert data.count(b"\xfe\xff\x00\xe0") == fragments + 1
    np.testing.assert_array_equal(open_mammogram(data).decode(), stored)


def test_fragments_are_read_up_to_their_delimiter_only(stored):
    trailing = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 64) + bytes(64)
    data = dicom_bytes(stored, syntax="jpeg2000") + trailing
    np.testing.assert_array_equal(open_mammogram(data).decode(), stored)


def test_a_missing_delimiter_is_forgiven(stored):
    data = dicom_bytes(stored, syntax="jpeg2000")
    assert data[-8:-4] == b"\xfe\xff\xdd\xe0"
    np.testing.assert_array_equal(open_mammogram(data[:-8]).decode(), stored)


def test_something_else_among_the_fragments_is_corrupt(stored):
    data = bytearray(dicom_bytes(stored, syntax="jpeg2000", fragments=2))
    second = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xff\x4f\xff\x51"))
    data[second] = 0
    with pytest.raises(CorruptPixels, match="where a fragment should start"):
        open_mammogram(bytes(data)).decode()


def test_fragments_far_beyond_the_image_are_not_read(stored):
    with pytest.raises(TooLarge, match="fragments"):
        open_mammogram(dicom_bytes(stored, syntax="jpeg2000", frame=bytes(1 << 20))).decode()


@pytest.mark.parametrize("frames", [None, 0, 1])
@pytest.mark.parametrize("syntax", ["jpeg_extended", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"])
def test_further_codestreams_that_no_number_of_frames_announces_are_not_passed_over(stored, syntax, frames):
    both = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
        for frame in (encode(stored, syntax, 12) + b"\0", encode(breast(40, 30, seed=1), syntax, 12) + b"\0")
    )
    data = dicom_bytes(stored, syntax=syntax, NumberOfFrames=frames)
    start = data.index(b"\xfe\xff\x00\xe0")
    offsets = int.from_bytes(data[start + 4 : start + 8], "little")
    with pytest.raises(MultiFrame, match=r"\(7FE0,0010\) Pixel Data holds 2 codestreams"):
        open_mammogram(data[: start + 8 + offsets] + both + data[-8:]).decode()


@pytest.mark.parametrize("overlay", [0x6000, 0x601E])
def test_an_overlay_in_the_bits_of_the_pixels_is_told_by_a_file_as_by_its_data_set(stored, overlay):
    dataset = header(stored, 12)
    dataset.add_new((overlay, 0x0102), "US", 15)
    dataset.PixelData = stored.tobytes()
    for data_of_its_own in (False, True):
        if data_of_its_own:
            dataset.add_new((overlay, 0x3000), "OW", bytes(150))
        for syntax in ("explicit", "implicit"):
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(SYNTAXES[syntax])
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
            for source in (buffer.getvalue(), pydicom.dcmread(io.BytesIO(buffer.getvalue()))):
                assert open_mammogram(source).tags.embedded_overlay is not data_of_its_own


def test_a_data_set_is_taken_for_what_its_file_meta_says_like_its_file(stored):
    data = dicom_bytes(stored, SOPClassUID=None, PixelIntensityRelationshipSign=1)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.DigitalMammographyXRayImageStorageForProcessing
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    in_memory, in_file = open_mammogram(dataset), open_mammogram(buffer.getvalue())
    assert in_memory.tags.for_processing
    assert in_file.tags.for_processing
    np.testing.assert_array_equal(in_memory.display(), in_file.display())


def test_a_data_set_in_memory_reads_like_its_file(stored):
    for syntax in ("implicit", "big_endian", "jpeg2000", "rle", "deflated"):
        data = dicom_bytes(stored, syntax=syntax)
        dataset = pydicom.dcmread(io.BytesIO(data))
        before = dataset.to_json()
        np.testing.assert_array_equal(open_mammogram(dataset).decode(), stored)
        assert dataset.to_json() == before


def test_a_data_set_made_by_hand_needs_no_file_meta(stored):
    dataset = header(stored, 12)
    del dataset.file_meta
    dataset.PixelData = stored.tobytes()
    np.testing.assert_array_equal(open_mammogram(dataset).decode(), stored)


def test_an_empty_data_set_has_no_pixels():
    with pytest.raises(NoPixels):
        open_mammogram(Dataset())


def test_the_label_in_the_file_meta_is_kept_as_it_is(stored):
    data = relabel(dicom_bytes(stored, syntax="jpeg2000"), SYNTAXES["jpeg2000"], SYNTAXES["jpeg_lossless"])
    assert open_mammogram(data).tags.transfer_syntax == SYNTAXES["jpeg_lossless"]
