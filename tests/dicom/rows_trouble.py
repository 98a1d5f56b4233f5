"""Rows about files that contradict themselves, and about files that are refused."""

import contextlib
import io
import logging
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from PIL import Image

from rsna import dicom
from rsna.dicom import open_mammogram, read_mammogram
from tests.dicom.rows import refuse, row
from tests.dicom_files import SYNTAXES, breast, dicom_bytes, encode, encode_jpeg2000, header, report_bytes


@contextlib.contextmanager
def said(pattern: str) -> Iterator[None]:
    """The log says so of the file, which stands at the start."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("rsna.dicom")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert any(re.match(rf"\d+ bytes: {pattern}", record) for record in records), records


def check_label(syntax: str, label: str) -> None:
    stored = breast()
    with said(rf"\(0002,0010\) .* {SYNTAXES[label]}"):
        decoded = open_mammogram(dicom_bytes(stored, 12, syntax, label=label)).decode()
    np.testing.assert_array_equal(decoded, stored)


@row("JPEG 2000 under a JPEG Lossless label")
def _():
    check_label("jpeg2000", "jpeg_lossless")
    check_label("jpeg2000", "jpeg_lossless_57")


@row("any codestream under any other label")
def _():
    for syntax in ("jpeg2000", "htj2k", "jpeg_lossless", "jpeg_ls"):
        for label in ("explicit", "rle", "jpeg_baseline", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"):
            if label != syntax:
                check_label(syntax, label)


@row("native pixels under a compressed label")
def _():
    for label in ("jpeg2000", "jpeg_lossless", "rle"):
        check_label("explicit", label)


@row("native pixels with more bytes than the header describes")
def _():
    stored = breast()
    for syntax in ("explicit", "big_endian", "in_fragment"):
        frame = encode(stored, syntax, 12)
        for more in (178, 180, 512):
            with said(rf"\(7FE0,0010\) Pixel Data has {more} bytes more"):
                padded = open_mammogram(dicom_bytes(stored, 12, syntax, frame=frame + bytes(more)))
                np.testing.assert_array_equal(padded.decode(), stored)
        for elements in ({"Columns": 89}, {"Columns": 88}, {"BitsAllocated": 8, "BitsStored": 8}):
            refuse(dicom.CorruptPixels, dicom_bytes(stored, 12, syntax, frame=frame, **elements))
        refuse(dicom.CorruptPixels, dicom_bytes(stored, 12, syntax, frame=3 * frame))


@row("several fragments for one frame")
def _():
    for syntax in ("jpeg2000", "jpeg_lossless", "jpeg_ls", "htj2k", "in_fragment"):
        for fragments in (2, 3, 9):
            data = dicom_bytes(breast(), 12, syntax, fragments=fragments)
            np.testing.assert_array_equal(open_mammogram(data).decode(), breast())


@row("missing sequence delimiter")
def _():
    data = dicom_bytes(breast(), 12, "jpeg2000")
    np.testing.assert_array_equal(open_mammogram(data[:-8]).decode(), breast())


@row("no preamble")
def _():
    for syntax in ("implicit", "explicit", "big_endian", "jpeg2000"):
        np.testing.assert_array_equal(open_mammogram(dicom_bytes(breast(), 12, syntax)[132:]).decode(), breast())


@row("no transfer syntax")
def _():
    for syntax in ("implicit", "explicit", "big_endian"):
        data = dicom_bytes(breast(), 12, syntax)
        data_set = data[144 + int.from_bytes(data[140:144], "little") :]
        np.testing.assert_array_equal(open_mammogram(data_set).decode(), breast())


@row("bits beyond Bits Stored")
def _():
    stored = breast()
    for syntax in ("explicit", "big_endian", "rle", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"):
        mammogram = open_mammogram(dicom_bytes(stored | np.uint16(0x7000), 12, syntax, precision=16))
        with said(r"bits above \(0028,0101\) Bits Stored 12 are used"):
            np.testing.assert_array_equal(mammogram.decode(), stored)
        assert mammogram.levels == 0


@row("High Bit above Bits Stored − 1")
def _():
    for syntax in ("explicit", "rle", "jpeg_lossless", "jpeg_ls", "jpeg2000"):
        for stored in (breast() << 4, breast()):
            data = dicom_bytes(stored, 12, syntax, precision=16, HighBit=15)
            np.testing.assert_array_equal(open_mammogram(data).decode(), breast())
        with said(r"\(0028,0102\) High Bit is 15"):
            open_mammogram(data).decode()
        refuse(dicom.CorruptHeader, dicom_bytes(breast() << 4 | np.uint16(1), 12, syntax, precision=16, HighBit=15))


@row("High Bit below Bits Stored − 1, missing")
def _():
    for high_bit in (7, 0, None):
        np.testing.assert_array_equal(open_mammogram(dicom_bytes(breast(), HighBit=high_bit)).decode(), breast())


@row("blanks or NULs around the transfer syntax")
def _():
    for pad in ("{}  ", " {} ", "{}\0\0"):
        for syntax in ("implicit", "big_endian", "jpeg2000"):
            data = dicom_bytes(breast(), 12, syntax, label=pad.format(SYNTAXES[syntax]))
            np.testing.assert_array_equal(open_mammogram(data).decode(), breast())
    np.testing.assert_array_equal(open_mammogram(dicom_bytes(breast(), label="\0\0")).decode(), breast())


@row("32 bits allocated")
def _():
    frame = breast().astype("<u4").tobytes()
    np.testing.assert_array_equal(
        open_mammogram(dicom_bytes(breast(), frame=frame, BitsAllocated=32)).decode(), breast()
    )


@row("signed codestream, unsigned header")
def _():
    stored = breast()
    signed = ((stored.astype(np.int32) ^ 2048) - 2048).astype(np.int16)
    mammogram = open_mammogram(dicom_bytes(stored, 12, "jpeg2000", frame=encode_jpeg2000(signed, 12)))
    with said(r"the codestream's samples have signs, \(0028,0103\)"):
        np.testing.assert_array_equal(mammogram.decode(), stored)
    assert mammogram.levels == 0


@row("codestream of fewer bits than Bits Stored")
def _():
    stored = breast(bits=10)
    for syntax in ("jpeg2000", "jpeg_lossless"):
        mammogram = open_mammogram(dicom_bytes(stored, 12, syntax, precision=10))
        np.testing.assert_array_equal(mammogram.decode(), stored)
        np.testing.assert_allclose(mammogram.display(window=None), stored / 4095, atol=1e-6)


@row("no DICOM")
def _():
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(300), b"patient_id,image_id\n" * 20, bytes(1000)):
        refuse(dicom.NotDicom, data)


@row("report, presentation state, DICOMDIR")
def _():
    for syntax in ("implicit", "explicit", "big_endian", "deflated"):
        refuse(dicom.NoPixels, report_bytes(breast(), syntax))


@row("RGB, YBR, palette")
def _():
    for photometric, samples in (("RGB", 3), ("YBR_FULL", 3), ("PALETTE COLOR", 1)):
        refuse(
            dicom.ColourImage,
            dicom_bytes(breast(), PhotometricInterpretation=photometric, SamplesPerPixel=samples),
        )


@row("multi-frame tomosynthesis")
def _():
    refuse(dicom.MultiFrame, dicom_bytes(breast(), NumberOfFrames=60))
    frame = encode(breast(), "jpeg2000", 12)  # of an even length, so that the second starts with the second fragment
    refuse(
        dicom.MultiFrame, dicom_bytes(breast(), 12, "jpeg2000", frame=2 * (frame + len(frame) % 2 * b"\0"), fragments=2)
    )


@row("localizer")
def _():
    refuse(dicom.NotMammogram, dicom_bytes(breast(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))


@row("more pixels than max_pixels")
def _():
    refuse(dicom.TooLarge, dicom_bytes(breast(), Rows=65535, Columns=65535))
    refuse(dicom.TooLarge, dicom_bytes(breast(100, 100)), max_pixels=9_999)


@row("deflated bomb")
def _():
    data = dicom_bytes(breast(), 12, "deflated")
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(40)) + engine.flush()
    refuse(dicom.TooLarge, data[: 144 + int.from_bytes(data[140:144], "little")] + bomb, max_pixels=1 << 20)


@row("file cut off anywhere")
def _():
    for syntax in SYNTAXES:
        data = (
            dicom_bytes(breast(bits=8), 8, syntax) if syntax != "jpeg_extended" else dicom_bytes(breast(), 12, syntax)
        )
        for length in range(140, len(data) - 12, 97):
            with pytest.raises(dicom.Truncated):
                open_mammogram(data[:length]).decode()


@row("sequences nested a thousand deep")
def _():
    data = dicom_bytes(breast())
    start = 144 + int.from_bytes(data[140:144], "little")
    item = struct.pack("<HH2sHIHHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    refuse(dicom.CorruptHeader, data[:start] + item * 1000 + data[start:])


@row("Rows or Columns of 0")
def _():
    refuse(dicom.CorruptHeader, dicom_bytes(breast(), Rows=0))
    refuse(dicom.CorruptHeader, dicom_bytes(breast(), Columns=0))


@row("codestream of another size than the header says")
def _():
    for syntax in ("jpeg2000", "htj2k", "jpeg_lossless", "jpeg_ls", "jpeg_extended"):
        refuse(dicom.CorruptPixels, dicom_bytes(breast(), 12, syntax, Rows=119))


@row("codestream of more bits than Bits Allocated")
def _():
    for syntax in ("jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k"):
        refuse(dicom.CorruptPixels, dicom_bytes(breast(), 12, syntax, BitsAllocated=8, BitsStored=8, HighBit=7))


@row("samples that no decoder accepts")
def _():
    frame = bytearray(encode(breast(), "jpeg2000", 12))
    frame[55:57] = b"\x20\x20"
    refuse(dicom.CorruptPixels, dicom_bytes(breast(), 12, "jpeg2000", frame=bytes(frame)))
    refuse(dicom.CorruptPixels, dicom_bytes(breast(), 12, "jpeg2000", frame=bytes(500)))


@row("bytes missing, doubled or left over inside a codestream")
def _():
    stored = breast(300, 200)
    for syntax in ("jpeg_extended", "jpeg_lossless", "jpeg_lossless_57", "jpeg_ls", "jpeg2000", "htj2k", "rle"):
        frame = encode(stored, syntax, 12)
        at = len(frame) // 2
        for damaged in (frame[:at] + frame[at + 1000 :], frame[:at] + frame[at - 1000 :]):
            with pytest.raises((dicom.CorruptPixels, dicom.Truncated)):
                open_mammogram(dicom_bytes(stored, 12, syntax, frame=damaged)).decode()


@row("native pixels under an unknown transfer syntax")
def _():
    for label in ("1.2.3.4.5", "1.3.46.670589.33.1.4.1", "1.2.840.10008.1.20", "1.2.840.10008.1.2.4.52"):
        refuse(dicom.UnsupportedSyntax, dicom_bytes(breast(), label=label))


@row("JPEG 2000 with extensions of its Part 2")
def _():
    frame = bytearray(encode(breast(), "jpeg2000", 12))
    frame[6] |= 0x80
    refuse(dicom.UnsupportedSyntax, dicom_bytes(breast(), 12, "jpeg2000", frame=bytes(frame)))


@row("video, JPIP, JPEG XL")
def _():
    for label in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.110"):
        refuse(dicom.UnsupportedSyntax, dicom_bytes(breast(), 12, "jpeg2000", frame=bytes(500), label=label))


@row("progressive JPEG")
def _():
    buffer = io.BytesIO()
    Image.fromarray(breast(bits=8)).save(buffer, "JPEG", progressive=True)
    refuse(dicom.UnsupportedSyntax, dicom_bytes(breast(bits=8), 8, "jpeg_baseline", frame=buffer.getvalue()))


@row("float pixels, 1 bit, more than 16 bits")
def _():
    dataset = header(breast(), 12)
    dataset.FloatPixelData = breast().astype(np.float32).tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    refuse(dicom.UnsupportedPixels, buffer.getvalue())
    refuse(dicom.UnsupportedPixels, dicom_bytes(breast(), BitsAllocated=1, BitsStored=1))
    refuse(dicom.UnsupportedPixels, dicom_bytes(breast(), BitsAllocated=32, BitsStored=24))


@row("a window that is not there")
def _():
    for window in (1, "HARDER", ""):
        with pytest.raises(dicom.NoSuchWindow):
            read_mammogram(dicom_bytes(breast(), WindowCenter=1, WindowWidth=2), window=window)


@row("a level that is not there")
def _():
    for syntax, level in (("explicit", 1), ("jpeg2000", 9), ("jpeg2000", -1)):
        with pytest.raises(dicom.NoSuchLevel):
            read_mammogram(dicom_bytes(breast(), 12, syntax), level=level)
