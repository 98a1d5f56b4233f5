"""One frame's bytes → stored values, at full size or at an earlier level.

Only decoders that survive the fuzz: OpenJPEG as Pillow carries it; libjpeg-turbo, CharLS and RLE through imagecodecs.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from rsna.dicom.box import Box
from rsna.dicom.codestream import Codestream, Kind
from rsna.dicom.errors import ColourImage, CorruptPixels, Truncated, UnsupportedPixels, UnsupportedSyntax
from rsna.dicom.frame import PixelData
from rsna.dicom.openjpeg import decode_jpeg2000
from rsna.dicom.signature import parse_codestream
from rsna.dicom.tags import Tags

log = logging.getLogger(__name__)

Samples = NDArray[Any]
"""(H, W) unsigned numbers as a decoder returns them, in the machine's byte order."""

Stored = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]
"""(H, W) stored values."""

HEAP = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""For the environment of processes that decode file after file: the C library (glibc) keeps up to 256 MiB of freed
pixels for the next image. Otherwise it gives them back, and a tenth of the time goes into getting them again."""

# What each label of PS3.5 A.4 promises.
_LABELS: dict[str, Kind] = {
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "jpeg_lossless",
    "1.2.840.10008.1.2.4.70": "jpeg_lossless",
    "1.2.840.10008.1.2.4.80": "jpeg_ls",
    "1.2.840.10008.1.2.4.81": "jpeg_ls",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
    "1.2.840.10008.1.2.4.201": "htj2k",
    "1.2.840.10008.1.2.4.202": "htj2k",
    "1.2.840.10008.1.2.4.203": "htj2k",
}
_RLE = "1.2.840.10008.1.2.5"
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
# PS3.5 A.4.11: native pixels in one fragment.
_NATIVE_IN_FRAGMENT = "1.2.840.10008.1.2.1.98"


@dataclass(frozen=True)
class Frame:
    """The bytes of one frame, and what they are."""

    data: bytes
    codestream: Codestream | None
    """None for native pixels and RLE, which carry no signature."""
    rle: bool = False

    @property
    def levels(self) -> int:
        """How many times the frame can be halved while it is decoded."""
        return self.codestream.levels if self.codestream else 0


def read_frame(pixels: PixelData, tags: Tags) -> Frame:
    """Read the frame, and hold it against the header before anything is allocated; its signature decides what it is.

    Raises:
        DicomError: the frame is incomplete, of another size than the header says, in colour, or unsupported.
    """
    label = tags.transfer_syntax
    native_length = tags.rows * tags.columns * tags.bits_allocated // 8
    if not pixels.encapsulated and (label in _NATIVE or pixels.length == native_length + native_length % 2):
        if label not in _NATIVE:
            log.warning("(0002,0010) Transfer Syntax UID says %s, the pixels are native", label)
        return Frame(pixels.read(limit=native_length + native_length % 2), None)
    # No codestream of a still image is much larger than its pixels.
    data = pixels.read(limit=2 * native_length + (1 << 16))
    codestream = parse_codestream(data)
    if codestream is None:
        if label in (_RLE, _NATIVE_IN_FRAGMENT):
            return Frame(data, None, rle=label == _RLE)
        if label in _LABELS:
            raise CorruptPixels(f"(7FE0,0010) Pixel Data does not start like {_LABELS[label]}")
        raise UnsupportedSyntax(f"(0002,0010) Transfer Syntax UID is {label}")
    if _LABELS.get(label) != codestream.kind:
        log.warning("(0002,0010) Transfer Syntax UID says %s, the codestream is %s", label, codestream.kind)
    _check(codestream, tags)
    if codestream.kind in ("jpeg2000", "htj2k") and codestream.signed != tags.signed:
        # The header reads the sign bit otherwise than the encoder did: filtered values would mean nothing.
        codestream = dataclasses.replace(codestream, levels=0)
    return Frame(data, codestream)


def _check(codestream: Codestream, tags: Tags) -> None:
    if codestream.components != 1:
        raise ColourImage(f"the {codestream.kind} codestream has {codestream.components} components")
    if (codestream.rows, codestream.columns) != (tags.rows, tags.columns):
        raise CorruptPixels(
            f"the header says {tags.rows}×{tags.columns}, the codestream {codestream.rows}×{codestream.columns}"
        )
    if not 2 <= codestream.precision <= 16:
        raise UnsupportedPixels(f"the {codestream.kind} codestream has {codestream.precision} bits a sample")


def decode_frame(frame: Frame, tags: Tags, pixels: PixelData, level: int, box: Box | None) -> Stored:
    """Decode to the values that the header describes.

    Returns:
        (H, W) uint8, uint16 or int16: of the codestream's size at `level`, or of `box` (x0, y0, x1, y1) in its pixels.

    Raises:
        CorruptPixels, Truncated, or whatever the decoder raises.
    """
    codestream = frame.codestream
    if codestream is not None and codestream.kind in ("jpeg2000", "htj2k"):
        return _to_stored(decode_jpeg2000(frame.data, codestream, level, box), codestream.precision, tags)
    samples, bits = _decode_whole(frame, tags, pixels)
    if box is not None:
        samples = samples[box[1] : box[3], box[0] : box[2]]
    if codestream is not None and codestream.lossy and not tags.signed and codestream.precision > bits:
        # White may come back a little whiter: without its highest bit it would be black.
        samples = np.minimum(samples, samples.dtype.type((1 << bits) - 1))
    return _to_stored(samples, bits, tags)


def _decode_whole(frame: Frame, tags: Tags, pixels: PixelData) -> tuple[Samples, int]:
    """Samples of everything but JPEG 2000, and how many of their bits count."""
    codestream = frame.codestream
    if codestream is None:
        samples = _decode_rle(frame.data, tags) if frame.rle else _decode_native(frame.data, tags, pixels)
        return samples, tags.bits_stored
    if codestream.kind == "jpeg_ls":
        # JPEG-LS cannot say that its samples are signed: the sign bit is the codestream's last.
        return imagecodecs.jpegls_decode(frame.data), codestream.precision if tags.signed else tags.bits_stored
    return imagecodecs.jpeg8_decode(frame.data), tags.bits_stored


def _to_stored(samples: Samples, bits: int, tags: Tags) -> Stored:
    """Keep the last `bits` of each sample and read them as the header's sign says (PS3.5 8.1.1)."""
    width = 8 if tags.bits_allocated == 8 and samples.dtype.itemsize == 1 else 16
    samples = samples.astype(f"u{width // 8}", copy=False)
    if tags.signed:
        shift = width - min(bits, width)
        signed: Stored = (samples << shift).view(f"i{width // 8}") >> shift
        return signed
    return samples & ((1 << bits) - 1) if bits < width else samples


def _decode_native(data: bytes, tags: Tags, pixels: PixelData) -> Samples:
    size = tags.bits_allocated // 8
    count = tags.rows * tags.columns
    if len(data) < count * size:
        raise Truncated(f"(7FE0,0010) Pixel Data has {len(data)} of {count * size} bytes")
    if pixels.big_endian and size == 1 and pixels.as_words:
        data = np.frombuffer(data, "u2", len(data) // 2).byteswap().tobytes()
    dtype = np.dtype(f"{'>' if pixels.big_endian else '<'}u{size}")
    samples: Samples = np.frombuffer(data, dtype, count).reshape(tags.rows, tags.columns)
    return samples.astype(dtype.newbyteorder("="), copy=False)


def _decode_rle(data: bytes, tags: Tags) -> Samples:
    """PS3.5 annex G."""
    size = tags.bits_allocated // 8
    segments = int.from_bytes(data[:4], "little")
    if segments != size:
        raise CorruptPixels(f"RLE header: {segments} segments for pixels of {size} bytes")
    out = bytearray(tags.rows * tags.columns * size)
    written = len(imagecodecs.dicomrle_decode(data, np.dtype(f"u{size}"), out=out))
    if written != len(out):
        raise Truncated(f"(7FE0,0010) Pixel Data: RLE segments hold {written} of {len(out)} bytes")
    return np.frombuffer(out, f"<u{size}").reshape(tags.rows, tags.columns)
