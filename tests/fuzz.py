"""Mutations of valid files of every syntax: `python -m tests.fuzz minutes=20`, `python -m tests.fuzz try=4711`.

Each try is a function of its number, and runs in a child process with bounded memory. Allowed outcomes: pixels, or one
of the documented error classes. A crash, a hang, another exception or more memory than the limit is a failure.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import logging
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import BreastTomosynthesisImageStorage

from rsna.dicom import DicomError, open_mammogram
from rsna.dicom.syntax import GE_PRIVATE
from tests.dicom_files import (
    LOSSLESS,
    SYNTAXES,
    breast,
    code,
    dicom_bytes,
    encode_jpeg2000,
    encode_strips,
    encode_tiles,
    lut_item,
    relabel,
)

HANG_SECONDS = 20.0
"""A try that takes longer counts as a hang; a valid file of the corpus takes milliseconds."""
MAX_PIXELS = 1 << 20
"""What the reader is told to refuse."""
MEMORY = 1 << 29
"""Bytes that a child may use above what its imports take."""
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclasses.dataclass
class Outcome:
    """What a run of tries came to."""

    tries: int = 0
    seconds: float = 0.0
    pixels: int = 0
    """Tries that returned an image."""
    errors: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Tries by documented error class."""
    failures: list[str] = dataclasses.field(default_factory=list)
    peak_bytes: int = 0
    """The largest memory that a child used above its imports."""


def corpus() -> list[bytes]:
    """One valid file at least for every syntax, precision, sign and grayscale element."""
    files = []
    for syntax in SYNTAXES:
        bits = {"jpeg_baseline": 8, "jpeg_extended": 12}.get(syntax, 12)
        files.append(dicom_bytes(breast(56, 41, bits), bits, syntax))
    for syntax in LOSSLESS:
        files.append(dicom_bytes(breast(33, 64, 8), 8, syntax))
        files.append(dicom_bytes(breast(64, 33, 16, signed=True), 16, syntax, fragments=3))
    for syntax in ("jpeg2000", "jpeg2000_lossy", "htj2k"):  # several code blocks, of which a part needs some
        files.append(dicom_bytes(breast(150, 130), 12, syntax))
    stored = breast(40, 40)
    lut = lut_item(0, 12, np.arange(4096))
    files.append(dicom_bytes(stored, VOILUTSequence=[lut], ModalityLUTSequence=[lut], PixelPaddingValue=0))
    files.append(
        dicom_bytes(
            stored,
            12,
            "jpeg2000",
            WindowCenter=[2000, 1000],
            WindowWidth=[3000, 500],
            WindowCenterWidthExplanation=["A", "B"],
            VOILUTFunction="SIGMOID",
            RescaleSlope=2,
            RescaleIntercept=-5,
            PixelPaddingValue=5,
            PixelPaddingRangeLimit=9,
            PhotometricInterpretation="MONOCHROME1",
        )
    )
    files += _files_with_restarts()
    # Raw and left-justified, as old machines write them; padding that lossy codecs made uneven.
    ge = stored.astype(">u2").tobytes()
    files.append(dicom_bytes(stored, 12, "implicit", frame=ge, label=GE_PRIVATE, PixelPaddingValue=4095))
    files += [
        dicom_bytes(
            stored << 4,
            12,
            syntax,
            precision=16,
            HighBit=15,
            PresentationIntentType="FOR PROCESSING",
            PixelIntensityRelationshipSign=1,
        )
        for syntax in ("explicit", "rle", "jpeg_lossless", "jpeg2000")
    ]
    for syntax in ("jpeg_ls_lossy", "jpeg_extended", "jpeg2000_lossy"):
        elements = {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}
        files.append(dicom_bytes(breast(150, 130), 12, syntax, **elements))
    files += [_vendors_file(stored, syntax) for syntax in ("explicit", "implicit", "big_endian", "jpeg2000")]
    for options in ({"codecformat": "jp2"}, {"resolutions": 1}):
        files.append(dicom_bytes(stored, 12, "jpeg2000", frame=encode_jpeg2000(stored, 12, **options)))
    stored = breast(40, 40, bits=8)
    files.append(dicom_bytes(stored, 8, "jpeg2000", frame=encode_tiles(stored, (16, 16))))
    for data in files:
        if read(data) != "pixels":
            raise RuntimeError("a file of the corpus is not valid")
    return files


def _files_with_restarts() -> list[bytes]:
    """JPEG whose scan has markers in it."""
    stored = breast(64, 48, 8)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=95, restart_marker_rows=2)
    return [
        dicom_bytes(stored, 8, "jpeg_baseline", frame=buffer.getvalue()),
        dicom_bytes(np.tile(breast(8, 48), (4, 1)), 12, "jpeg_lossless", frame=encode_strips(breast(8, 48), 4)),
    ]


def _vendors_file(stored: NDArray[Any], syntax: str) -> bytes:
    """A generated view that says everything somewhere else: in functional groups, codes, texts and second values."""
    voi, anatomy, group = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = [1000, 2000], [0, 900]
    anatomy.FrameLaterality = "R"
    group.FrameVOILUTSequence, group.FrameAnatomySequence = [voi], [anatomy]
    return dicom_bytes(
        stored,
        12,
        syntax,
        SOPClassUID=BreastTomosynthesisImageStorage,
        ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"],
        SpecificCharacterSet=["ISO_IR 100", "ISO 2022 IR 87"],
        PhotometricInterpretation=None,
        PresentationLUTShape="INVERSE",
        ImageLaterality="U",
        ViewPosition="R MLO",
        ViewCodeSequence=code("399368009", "medio-lateral oblique", ViewModifierCodeSequence=code("399163009")),
        AnatomicRegionSequence=code("76752008", AnatomicRegionModifierSequence=code("G-A100")),
        AcquisitionDeviceProcessingDescription="RMLO",
        SeriesDescription="R MLO C-View",
        PatientBirthDate="19500615",
        StudyDate="20200615",
        DetectorElementSpacing=[0.1, 0.1],
        RescaleSlope=2,
        VOILUTSequence=[Dataset(), lut_item(0, 12, np.zeros(4096))],
        ModalityLUTSequence=[Dataset()],
        PerFrameFunctionalGroupsSequence=[group],
        SharedFunctionalGroupsSequence=[group],
    )


def mutate(files: list[bytes], number: int) -> bytes:
    """The file of try `number`."""
    rng = random.Random(number)
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_MUTATIONS)(data, rng, files)
    return bytes(data)


def _truncate(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _flip_bits(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _edit_number(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    """Lengths, sizes and counts are numbers of 1, 2 or 4 bytes anywhere before the coded samples."""
    size = rng.choice((1, 2, 4))
    start = rng.randrange(min(len(data), rng.choice((200, 900, 1200, 4000))) + 1)
    value = rng.choice((*EXTREMES, rng.randrange(1 << 16)))
    data[start : start + size] = (value % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))


def _edit_codestream(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    starts = [at for mark in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff") if (at := data.find(mark)) >= 0]
    if starts:
        at = min(len(data), starts[0] + rng.randrange(120))
        data[at : at + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])


def _overwrite(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    data[start : start + 64] = rng.randbytes(rng.randrange(1, 64))


def _repeat(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.randrange(1, 200)] * rng.choice((1, 2, 50))


def _cut(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randrange(1, 200)]


def _splice(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    other = rng.choice(files)
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other)) :]


def _relabel(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    for uid in sorted(SYNTAXES.values(), key=len, reverse=True):
        if uid.encode() in data[:400]:
            try:
                data[:] = relabel(bytes(data), uid, rng.choice(list(SYNTAXES.values())))
            except (AssertionError, ValueError, OverflowError, UnicodeDecodeError):
                return  # An earlier mutation hit the element.
            return


def _resize(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    """Header and codestream agree on a size that the coded samples do not have."""
    size = rng.choice((1, 2, 15, 16, 17, 100, 255, 1000, rng.randrange(1, 1 << 12)))
    axis = rng.randrange(2)  # 0: rows, 1: columns
    element = data.find(bytes((0x28, 0, 0x10 + axis, 0)) + b"US\2\0")
    if element >= 0:
        data[element + 8 : element + 10] = size.to_bytes(2, "little")
    if (siz := data.find(b"\xff\x4f\xff\x51")) >= 0:
        at = siz + (12 if axis == 0 else 8)
        data[at : at + 4] = size.to_bytes(4, "big")
        if rng.random() < 0.5:  # One tile as large as the image.
            data[at + 16 : at + 20] = size.to_bytes(4, "big")
    for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7"):
        if (sof := data.find(marker + b"\0\x0b")) >= 0:
            at = sof + (5 if axis == 0 else 7)
            data[at : at + 2] = size.to_bytes(2, "big")


def _edit_scan(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    """Bytes of a scan removed, doubled or replaced, or a marker put there; the fragment's length is mended."""
    start, end = data.find(b"\xff\xda"), data.rfind(b"\xff\xd9")
    item = data.rfind(b"\xfe\xff\0\xe0", 0, max(start, 0))
    if item < 0 or end < start + 40:
        return
    at = rng.randrange(start + 10, end - 4)
    count = rng.randrange(1, min(300, end - at))
    marker = bytes((0xFF, rng.choice((0xC4, 0xD0, 0xD4, 0xD9, 0xDA, 0xDD, rng.randrange(1, 256)))))
    more = rng.choice((b"", rng.randbytes(count), bytes(count), bytes(data[max(start, at - count) : at]), marker))
    removed = rng.choice((0, 1, 2, count))
    length = int.from_bytes(data[item + 4 : item + 8], "little") + len(more) - removed
    data[at : at + removed] = more
    data[item + 4 : item + 8] = (length % (1 << 32)).to_bytes(4, "little")


_MUTATIONS: tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...] = (
    _truncate, _flip_bits, _flip_bits, _edit_number, _edit_number, _edit_codestream, _edit_codestream, _overwrite,
    _repeat, _cut, _splice, _relabel, _resize, _resize, _edit_scan, _edit_scan,
)  # fmt: skip


def read(data: bytes) -> str:
    """Do everything that the package does with a file; the name of the outcome.

    Raises:
        MemoryError: an image within MAX_PIXELS took more than MEMORY.
    """
    try:
        mammogram = open_mammogram(data, max_pixels=MAX_PIXELS)
        for level in {0, mammogram.levels, mammogram.levels // 2}:
            stored = mammogram.decode(level)
            for window in (0, None):
                image = mammogram.display(stored, window=window)
                assert image.dtype == np.float32
                assert image.shape == mammogram.size_at(level)
                assert 0.0 <= image.min() <= image.max() <= 1.0
            rows, columns = stored.shape
            box = (columns // 3, rows // 3, columns - columns // 4, rows - rows // 4)
            assert mammogram.display(level, box=box).shape == (box[3] - box[1], box[2] - box[0])
    except DicomError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from error
        return type(error).__name__
    return "pixels"


def _child(first: int, last: int, pipe: multiprocessing.connection.Connection) -> None:
    """Run tries and report each before and after; the parent watches."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Decoders print warnings of their own.
    warnings.simplefilter("ignore")
    logging.disable()
    files = corpus()
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, virtual + MEMORY))
    before = _peak()
    for number in range(first, last):
        pipe.send(("start", number, 0))
        try:
            outcome = read(mutate(files, number))
        except BaseException:
            outcome = "failure: " + traceback.format_exc()
        pipe.send((outcome, number, _peak() - before))


def _peak() -> int:
    """The most memory that this process ever held, in bytes; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def fuzz(seconds: float, first: int = 0, last: int = 1 << 60) -> Outcome:
    """Run tries `first`, `first` + 1, … until the time is over; a child that dies is replaced after its try."""
    corpus()  # What does not read here would only show as dead children.
    outcome = Outcome()
    context = multiprocessing.get_context("spawn")
    begin = time.monotonic()
    number = first
    while number < last and time.monotonic() - begin < seconds:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(number, last, there), daemon=True)
        process.start()
        there.close()
        number = _watch(process, here, outcome, begin + seconds, number)
        process.kill()
        process.join()
    outcome.seconds = time.monotonic() - begin
    return outcome


def _watch(
    process: multiprocessing.context.SpawnProcess,
    pipe: multiprocessing.connection.Connection,
    outcome: Outcome,
    end: float,
    number: int,
) -> int:
    """Collect a child's reports until it dies, hangs or the time is over; the number to go on with."""
    started = False
    while time.monotonic() < end:
        if not pipe.poll(HANG_SECONDS if started else 120.0):
            outcome.failures.append(f"try {number}: hangs")
            return number + 1
        try:
            report, number, peak = pipe.recv()
        except EOFError:
            process.join()
            if process.exitcode != 0 or not started:
                outcome.failures.append(f"try {number}: ends the process, exit code {process.exitcode}")
            return number + 1
        if report == "start":
            started = True
            continue
        outcome.tries += 1
        outcome.peak_bytes = max(outcome.peak_bytes, peak)
        if report == "pixels":
            outcome.pixels += 1
        elif report.startswith("failure"):
            outcome.failures.append(f"try {number}: {report}")
        else:
            outcome.errors[report] += 1
    return number + 1


def main(arguments: list[str]) -> int:
    """Print the counts; exit code 1 after a failure."""
    logging.disable()  # The corpus holds files that need interpreting.
    options = dict(argument.split("=", 1) for argument in arguments)
    if "try" in options:
        number = int(options["try"])
        outcome = fuzz(600.0, number, number + 1)
    else:
        outcome = fuzz(60 * float(options.get("minutes", 1)), int(options.get("first", 0)))
    print(f"{outcome.tries:,} tries in {outcome.seconds / 60:.1f} minutes: {outcome.pixels:,} images")
    for name, count in outcome.errors.most_common():
        print(f"{count:>12,} {name}")
    print(f"peak memory {outcome.peak_bytes / 2**20:.0f} MiB above imports, {len(outcome.failures)} failures")
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for failure in outcome.failures:
        number, _, text = failure.partition(":")
        kinds[text].append(number)
    for text, numbers in kinds.items():
        print(f"{', '.join(numbers[:10])}{' …' if len(numbers) > 10 else ''}:{text}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
