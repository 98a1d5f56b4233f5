"""DICOM files for tests, written from an array: any transfer syntax, precision, sign, fragmentation and header."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big_endian": "1.2.840.10008.1.2.2",
    "in_fragment": "1.2.840.10008.1.2.1.98",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg_baseline": "1.2.840.10008.1.2.4.50",
    "jpeg_extended": "1.2.840.10008.1.2.4.51",
    "jpeg_lossless_57": "1.2.840.10008.1.2.4.57",
    "jpeg_lossless": "1.2.840.10008.1.2.4.70",
    "jpeg_ls": "1.2.840.10008.1.2.4.80",
    "jpeg_ls_lossy": "1.2.840.10008.1.2.4.81",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg2000_lossy": "1.2.840.10008.1.2.4.91",
    "htj2k": "1.2.840.10008.1.2.4.201",
    "htj2k_lossy": "1.2.840.10008.1.2.4.203",
}
NATIVE = ("implicit", "explicit", "deflated", "big_endian", "in_fragment")
LOSSLESS = (*NATIVE, "rle", "jpeg_lossless_57", "jpeg_lossless", "jpeg_ls", "jpeg2000", "htj2k")


def breast(rows: int = 120, columns: int = 90, bits: int = 12, *, signed: bool = False, seed: int = 0) -> NDArray[Any]:
    """A bright half disc with texture on a dark ground; (rows, columns) of the stored type, the full range used."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    inside = np.clip(1 - np.hypot((y - rows / 2) / (rows * 0.45), x / (columns * 0.8)), 0, 1)
    values = np.clip(inside**0.5 + 0.01 * rng.normal(size=(rows, columns)) * (inside > 0), 0, 1)
    stored = np.round(values * ((1 << bits) - 1)).astype(np.int64)
    stored[0, 0], stored[0, 1] = 0, (1 << bits) - 1
    if signed:
        stored -= 1 << (bits - 1)
    return stored.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def encode(stored: NDArray[Any], syntax: str, precision: int, *, signed_codestream: bool | None = None) -> bytes:
    """One frame's bytes as `syntax` codes them, with samples of `precision` bits."""
    width = stored.dtype.itemsize
    unsigned = stored.view(f"u{width}")
    if syntax in NATIVE:
        return stored.astype(stored.dtype.newbyteorder(">" if syntax == "big_endian" else "<")).tobytes()
    if syntax == "rle":
        return _encode_rle(stored)
    if syntax in ("jpeg_baseline", "jpeg_extended"):
        return bytes(imagecodecs.jpeg8_encode(unsigned, level=98, bitspersample=precision))
    if syntax.startswith("jpeg_lossless"):
        low = unsigned & ((1 << precision) - 1)
        predictor = 1 if syntax == "jpeg_lossless" else 6
        return bytes(imagecodecs.jpeg8_encode(low, lossless=True, predictor=predictor, bitspersample=precision))
    if syntax.startswith("jpeg_ls"):
        return bytes(imagecodecs.jpegls_encode(unsigned, level=2 if syntax.endswith("lossy") else 0))
    if signed_codestream is None:
        signed_codestream = stored.dtype.kind == "i"
    samples = stored if signed_codestream else unsigned & ((1 << precision) - 1)
    reversible = not syntax.endswith("lossy")
    if syntax.startswith("htj2k"):
        return bytes(imagecodecs.htj2k_encode(samples, level=0 if reversible else 0.001, reversible=reversible))
    return encode_jpeg2000(samples, precision, reversible=reversible)


def encode_jpeg2000(samples: NDArray[Any], precision: int, *, reversible: bool = True, **options: Any) -> bytes:
    """A JPEG 2000 codestream without file format around it, unless `codecformat` says otherwise."""
    options = {"codecformat": "j2k", "resolutions": 6, "level": 0 if reversible else 60} | options
    return bytes(imagecodecs.jpeg2k_encode(samples, reversible=reversible, bitspersample=precision, **options))


def encode_tiles(samples: NDArray[Any], tile: tuple[int, int]) -> bytes:
    """A reversible JPEG 2000 codestream of 8 bits in tiles of (columns, rows); Pillow spoils tiles of 16."""
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG2000", no_jp2=True, tile_size=tile, num_resolutions=3)
    return buffer.getvalue()


def encode_strips(strip: NDArray[Any], count: int) -> bytes:
    """JPEG Lossless of 12 bits with a restart after each strip: `count` times the same, as all share their tables."""
    frame = encode(strip, "jpeg_lossless", 12)
    rows, sos, end = frame.index(b"\xff\xc3") + 5, frame.index(b"\xff\xda"), frame.rindex(b"\xff\xd9")
    start = sos + 2 + int.from_bytes(frame[sos + 2 : sos + 4], "big")
    head = frame[:rows] + (count * strip.shape[0]).to_bytes(2, "big") + frame[rows + 2 : sos]
    interval = b"\xff\xdd\0\4" + strip.size.to_bytes(2, "big")
    scan = b"".join(frame[start:end] + bytes([0xFF, 0xD0 + part % 8]) for part in range(count))[:-2]
    return head + interval + frame[sos:start] + scan + b"\xff\xd9"


def _encode_rle(stored: NDArray[Any]) -> bytes:
    return RLELosslessEncoder.encode(
        stored.tobytes(),
        rows=stored.shape[0],
        columns=stored.shape[1],
        samples_per_pixel=1,
        bits_allocated=8 * stored.dtype.itemsize,
        bits_stored=8 * stored.dtype.itemsize,
        pixel_representation=int(stored.dtype.kind == "i"),
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
        encoding_plugin="pydicom",
    )


def header(stored: NDArray[Any], bits: int, syntax: str = "explicit", **elements: Any) -> Dataset:
    """A data set that describes `stored`, without pixels; `elements` by keyword, None takes one away."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(SYNTAXES.get(syntax, syntax))
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.DigitalMammographyXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    defaults: dict[str, Any] = {
        "SOPClassUID": dataset.file_meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": "1.2.3.4",
        "PatientID": "77",
        "Modality": "MG",
        "ImageLaterality": "L",
        "ViewPosition": "CC",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 8 * stored.dtype.itemsize,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    for keyword, value in (defaults | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def dicom_bytes(
    stored: NDArray[Any],
    bits: int = 12,
    syntax: str = "explicit",
    *,
    precision: int | None = None,
    frame: bytes | None = None,
    fragments: int = 1,
    label: str | None = None,
    **elements: Any,
) -> bytes:
    """A whole file.

    Args:
        stored: (H, W) stored values.
        bits: (0028,0101) Bits Stored.
        syntax: how the pixels are coded, a key of `SYNTAXES`.
        precision: bits a sample in the codestream, where they differ from `bits`.
        frame: the frame's bytes, where they are not `stored` coded as `syntax`.
        fragments: how many fragments the frame is cut into.
        label: what (0002,0010) says, where it lies.
        elements: further elements by keyword; None takes a default away.
    """
    if frame is None:
        frame = encode(stored, syntax, precision or bits)
    dataset = header(stored, bits, syntax, **elements)
    if syntax in NATIVE and syntax != "in_fragment":
        dataset.PixelData = frame + b"\0" * (len(frame) % 2)
    else:
        dataset.PixelData = encapsulate([frame], fragments_per_frame=fragments)
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 or syntax not in NATIVE else "OW"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    data = buffer.getvalue()
    if label is not None:
        data = relabel(data, SYNTAXES[syntax], SYNTAXES.get(label, label))
    return data


def report_bytes(stored: NDArray[Any], syntax: str = "explicit", **elements: Any) -> bytes:
    """A whole file about `stored` that holds no pixels, and says so by its SOP class."""
    dataset = header(stored, 12, syntax, Modality="SR", **elements)
    report = pydicom.uid.MammographyCADSRStorage
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = report
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def relabel(data: bytes, old: str, new: str) -> bytes:
    """The same file with another (0002,0010) Transfer Syntax UID."""
    element = b"\x02\0\x10\0UI"
    start = data.index(element)
    length = int.from_bytes(data[start + 6 : start + 8], "little")
    assert data[start + 8 : start + 8 + length].rstrip(b"\0").decode() == old
    value = new.encode() + b"\0" * (len(new) % 2)
    data = data[: start + 6] + len(value).to_bytes(2, "little") + value + data[start + 8 + length :]
    # (0002,0000) File Meta Information Group Length stands right after the preamble.
    group_length = int.from_bytes(data[140:144], "little") + len(value) - length
    return data[:140] + group_length.to_bytes(4, "little") + data[144:]


def code(value: str, meaning: str = "", **elements: Any) -> list[Dataset]:
    """A code sequence of one item, as of views and anatomic regions; further elements by keyword."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "SCT" if value.isdigit() else "SRT"
    item.CodeMeaning = meaning
    for keyword, element in elements.items():
        setattr(item, keyword, element)
    return [item]


def lut_item(first: int, bits: int, entries: NDArray[Any], explanation: str = "", *, signed: bool = False) -> Dataset:
    """An item of a Modality LUT Sequence or a VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [entries.size % 65536, first, bits])
    if explanation:
        item.LUTExplanation = explanation
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item
