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

from rsna.codecs.codestream import Codestream
from rsna.codecs.libjpeg import decode_jpeg
from rsna.codecs.openjpeg import decode_jpeg2000
from rsna.codecs.signature import parse_codestream
from rsna.dicom.box import Box
from rsna.dicom.errors import ColourImage, CorruptHeader, CorruptPixels, Truncated, UnsupportedPixels, UnsupportedSyntax
from rsna.dicom.frame import PixelData
from rsna.dicom.syntax import CODESTREAMS, COMPRESSED, GE_PRIVATE, IN_FRAGMENT, LOSSY, NATIVE, RLE
from rsna.dicom.tags import Tags

log = logging.getLogger(__name__)

Samples = NDArray[Any]
"""(H, W) unsigned numbers as a decoder returns them, in the machine's byte order."""

Stored = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]
"""(H, W) stored values."""

_OVERSHOOT = 0.5
"""Of the wavelet at edges between black and white, as a share of these: 0.40 was measured at burned-in labels."""
_IMPOSSIBLE = 1.0
"""What no edge reaches: pixels would have to alternate as the filter does."""


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
    label, name = tags.transfer_syntax, pixels.name
    native_length = tags.rows * tags.columns * tags.bits_allocated // 8
    fits = label in COMPRESSED and pixels.length == native_length + native_length % 2
    if not pixels.encapsulated and (label in NATIVE or fits):
        if label == GE_PRIVATE and tags.bits_allocated == 8:
            raise UnsupportedSyntax(
                f"(0002,0010) Transfer Syntax UID is {label}: whether 8-bit pixels are swapped is open"
            )
        if fits:
            log.warning("%s: (0002,0010) Transfer Syntax UID says %s, the pixels are native", name, label)
        _check_length(pixels.length or 0, native_length, tags, name)
        return Frame(pixels.read(limit=native_length + native_length % 2), None)
    # No codestream of a still image is much larger than its pixels.
    data = pixels.read(limit=2 * native_length + (1 << 16))
    codestream = parse_codestream(data)
    if codestream is None:
        if label == IN_FRAGMENT:
            _check_length(len(data), native_length, tags, name)
        if label in (RLE, IN_FRAGMENT):
            return Frame(data, None, rle=label == RLE)
        if label in CODESTREAMS:
            raise CorruptPixels(f"(7FE0,0010) Pixel Data does not start like {CODESTREAMS[label]}")
        raise UnsupportedSyntax(f"(0002,0010) Transfer Syntax UID is {label}")
    if CODESTREAMS.get(label) != codestream.kind:
        log.warning("%s: (0002,0010) Transfer Syntax UID says %s, the codestream is %s", name, label, codestream.kind)
    _check(codestream, tags)
    if codestream.signed and not tags.signed:
        log.warning("%s: the codestream's samples have signs, (0028,0103) Pixel Representation says none", name)
    if codestream.kind in ("jpeg2000", "htj2k") and (
        codestream.signed != tags.signed or _may_be_left(codestream, tags) or _more_is_coded(data, codestream, tags)
    ):
        # The header reads the bits otherwise than the encoder did: filtered values would mean nothing.
        codestream = dataclasses.replace(codestream, levels=0)
    return Frame(data, codestream)


def _check_length(length: int, described: int, tags: Tags, name: str) -> None:
    """Native pixels have just the bytes that the header describes, and one to make them even (PS3.5 8.1.1). Some
    writers fill up a block; where whole columns are left over, rows are longer than Columns says, or frames follow."""
    more, column = length - described, tags.rows * tags.bits_allocated // 8
    if more >= column and more % column <= 1:  # one makes them even
        raise CorruptPixels(
            f"(7FE0,0010) Pixel Data has {length:,} bytes, and (0028,0010) Rows {tags.rows} × (0028,0011) Columns "
            f"{tags.columns} of (0028,0100) Bits Allocated {tags.bits_allocated} are {described:,}"
        )
    if more > described % 2:
        log.warning("%s: (7FE0,0010) Pixel Data has %d bytes more than the pixels, passed over", name, more)


def _check(codestream: Codestream, tags: Tags) -> None:
    if codestream.components != 1:
        raise ColourImage(f"the {codestream.kind} codestream has {codestream.components} components")
    if (codestream.rows, codestream.columns) != (tags.rows, tags.columns):
        raise CorruptPixels(
            f"the header says {tags.rows}×{tags.columns}, the codestream {codestream.rows}×{codestream.columns}"
        )
    if not 2 <= codestream.precision <= 16:
        raise UnsupportedPixels(f"the {codestream.kind} codestream has {codestream.precision} bits a sample")
    if codestream.precision > tags.bits_allocated:
        raise CorruptPixels(
            f"(0028,0100) Bits Allocated is {tags.bits_allocated}, the {codestream.kind} codestream has "
            f"{codestream.precision} bits a sample"
        )


def _has_spare_bits(codestream: Codestream, tags: Tags) -> bool:
    """Whether samples come back bit by bit, and there are more bits than the stored ones: whatever stands there is no
    pixel's. A lossy codestream needs them for white that comes back whiter."""
    exact = not codestream.lossy and tags.transfer_syntax not in LOSSY  # the filter may be, and bits cut off
    return exact and codestream.precision > tags.bits_stored


def _more_is_coded(data: bytes, codestream: Codestream, tags: Tags) -> bool:
    """Whether the spare bits of JPEG 2000 seem to be used: by an overlay, or by a sign that was not extended.

    Level 0 alone can tell them from the pixels. They are looked for in the smallest level, which takes a thirtieth of
    the time that preparing an image does: most files with spare bits leave them empty.
    """
    if not (codestream.levels and _has_spare_bits(codestream, tags)):
        return False
    if tags.embedded_overlay:
        return True
    samples = decode_jpeg2000(data, codestream, codestream.levels, None)
    stored = _to_stored(samples, codestream.precision, tags)
    # Where a sign is not extended, nothing is negative, and what should be lies right above the greatest value.
    return _reach(stored, tags) > (0 if tags.signed and stored.min() >= 0 else _OVERSHOOT)


def _reach(stored: Stored, tags: Tags) -> float:
    """How far values lie beyond all that can be stored, as a share of that."""
    low, high = tags.stored_range
    return max(low - int(stored.min()), int(stored.max()) - high) / (high - low)


def decode_frame(frame: Frame, tags: Tags, pixels: PixelData, level: int, box: Box | None) -> Stored:
    """Decode to the values that the header describes.

    Returns:
        (H, W) uint8, uint16 or int16: of the codestream's size at `level`, or of `box` (x0, y0, x1, y1) in its pixels.

    Raises:
        CorruptPixels, Truncated, or whatever the decoder raises.
    """
    codestream = frame.codestream
    # Where spare bits of JPEG 2000 are used, no level is left: what stands in them is asked of the whole image.
    spare = codestream is not None and codestream.levels == 0 and _has_spare_bits(codestream, tags)
    left = codestream is None or spare or _may_be_left(codestream, tags)
    if codestream is not None and codestream.kind in ("jpeg2000", "htj2k") and not left:
        samples = decode_jpeg2000(frame.data, codestream, level, box)
        if level == 0:
            return _to_stored(samples, _bits(codestream, tags), tags)
        stored = _to_stored(samples, codestream.precision, tags)
        if _has_spare_bits(codestream, tags) and _reach(stored, tags) > _IMPOSSIBLE:
            raise CorruptPixels(f"bits above (0028,0101) Bits Stored are used, and in level {level} of the pixels")
        return stored
    samples, bits = _decode_whole(frame, tags, pixels)
    width = codestream.precision if codestream else tags.bits_allocated
    if left and (shift := _left_shift(samples, width, tags, pixels.name)):
        samples, bits = samples >> shift, tags.bits_stored
    if box is not None:
        samples = samples[box[1] : box[3], box[0] : box[2]]
    if codestream is not None and codestream.lossy and not tags.signed and codestream.precision > bits:
        # White may come back a little whiter: without its highest bit it would be black.
        samples = np.minimum(samples, samples.dtype.type((1 << bits) - 1))
    elif not tags.embedded_overlay and _is_used_above(samples, bits, width, tags.signed):
        log.warning("%s: bits above (0028,0101) Bits Stored %d are used, and dropped", pixels.name, bits)
    return _to_stored(samples, bits, tags)


def _decode_whole(frame: Frame, tags: Tags, pixels: PixelData) -> tuple[Samples, int]:
    """Samples of everything but JPEG 2000, and how many of their bits count."""
    codestream = frame.codestream
    if codestream is None:
        samples = _decode_rle(frame.data, tags) if frame.rle else _decode_native(frame.data, tags, pixels)
        return samples, tags.bits_stored
    if codestream.kind in ("jpeg2000", "htj2k"):
        return decode_jpeg2000(frame.data, codestream, 0, None), _bits(codestream, tags)
    if codestream.kind == "jpeg_ls":
        # JPEG-LS cannot say that its samples are signed: the sign bit is the last that counts.
        return imagecodecs.jpegls_decode(frame.data), _bits(codestream, tags) if tags.signed else tags.bits_stored
    samples = decode_jpeg(frame.data, codestream)
    room = 8 * samples.itemsize > codestream.precision
    if codestream.kind == "jpeg_lossless" and room and not tags.signed and samples.max() >> codestream.precision:
        # Differences add up modulo 2**16 (ISO/IEC 10918-1 H.1.2.1): after damage they leave the encoder's range.
        raise CorruptPixels(f"JPEG Lossless: samples beyond their {codestream.precision} bits")
    return samples, tags.bits_stored


def _is_used_above(samples: Samples, bits: int, width: int, signed: bool) -> bool:
    """Whether the bits above the last `bits` of `width` hold more than zeros, or the sign."""
    if bits >= width or not int(samples.max()) >> bits:
        return False
    beyond = samples[samples >= 1 << bits]
    return not signed or int(beyond.min()) < (1 << width) - (1 << (bits - 1))


def _bits(codestream: Codestream, tags: Tags) -> int:
    """How many of a sample's bits count."""
    return tags.bits_stored if _has_spare_bits(codestream, tags) else codestream.precision


def _may_be_left(codestream: Codestream, tags: Tags) -> bool:
    """Whether a codestream has room for bits below the stored ones, where the header says that there are."""
    return tags.high_bit >= tags.bits_stored and codestream.precision > tags.bits_stored


def _left_shift(samples: Samples, width: int, tags: Tags, name: str) -> int:
    """How many unused bits stand below the stored ones: old machines put High Bit above Bits Stored − 1 (PS3.5 8.1.1).

    Args:
        samples: (H, W), as they stand in the file.
        width: bits a sample.
        tags: what the header says.
        name: the file's, for the log.

    Raises:
        CorruptHeader: the samples stand neither where the header says nor in the last bits.
    """
    stored, shift = tags.bits_stored, tags.high_bit + 1 - tags.bits_stored
    if shift <= 0 and (unsaid := _unsaid_left_shift(samples, width, tags)):
        log.warning(
            "%s: (0028,0102) High Bit is %d, the pixels stand in the first %d bits", name, tags.high_bit, stored
        )
        return unsaid
    if shift == 0:
        return 0
    if 0 < shift <= width - stored and not (samples & ((1 << shift) - 1)).any():
        return shift
    says = f"(0028,0102) High Bit is {tags.high_bit}, (0028,0101) Bits Stored {stored}"
    # Where the bits above the last ones are 0, or the sign's, values stand in these, and High Bit alone is wrong.
    fit = {0, 1, (1 << (width - stored + 1)) - 1} if tags.signed else {0}
    if shift > 0 and not np.isin(samples >> (stored - tags.signed), list(fit)).all():
        raise CorruptHeader(f"{says}, but bits outside of these are used")
    log.warning("%s: %s: the pixels stand in the last bits", name, says)
    return 0


def _unsaid_left_shift(samples: Samples, width: int, tags: Tags) -> int:
    """The same where High Bit says that there are none, and yet all that is stored stands in the first bits."""
    shift = width - tags.bits_stored
    if shift <= 0 or tags.signed or tags.embedded_overlay:
        return 0
    last = (1 << shift) - 1
    # Nearly every image ends at the first of these: a few of its rows are read, not all.
    if (samples[::64] & last).any() or not int(samples.max()) >> tags.bits_stored or (samples & last).any():
        return 0
    return shift


def _to_stored(samples: Samples, bits: int, tags: Tags) -> Stored:
    """Keep the last `bits` of each sample and read them as the header's sign says (PS3.5 8.1.1)."""
    width = 8 if tags.bits_allocated == 8 and samples.dtype.itemsize == 1 else 16
    samples = samples.astype(f"u{width // 8}", copy=False)
    if tags.signed:
        shift = width - min(bits, width)
        signed: Stored = (samples << shift).view(f"i{width // 8}") >> shift
        return signed
    if bits == width:
        return samples
    # In place where a decoder made them for us: other memory would have to be found and emptied first.
    out = samples if samples.flags.writeable else None
    cut: Stored = np.bitwise_and(samples, samples.dtype.type((1 << bits) - 1), out=out)
    return cut


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
