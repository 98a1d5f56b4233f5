"""Images per second, from file to prepared 1024×512 and decoding alone: this package beside its peers.

    python benchmarks/decode.py [--data DIR] [--limit 12] [--repeats 3] [--json FILE]

Each reader has a process of its own, on one core, and is measured in seconds of that core; files are warm in memory.
Peers decode at full size, window through pydicom, invert MONOCHROME1, crop, resize and make it 8 bits. They are given
the crop, where this package looks for the breast. `pip install '.[bench]'` brings the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pydicom
from common import at_least, dicom_files, machine, parser_of, spread, write_result
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels import apply_voi_lut, pixel_array

from rsna.config.data import PreprocessSettings
from rsna.dicom import open_mammogram
from rsna.dicom.environment import HEAP
from rsna.prepare.geometry import Geometry
from rsna.prepare.image import prepare_image

SETTINGS = PreprocessSettings(size=(1024, 512), bits=8)
SYNTAXES = {
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
    "1.2.840.10008.1.2.4.57": "jpeg_lossless",
    "1.2.840.10008.1.2.4.70": "jpeg_lossless",
}
# The fastest plugin of pydicom under a permissive licence.
PLUGINS = {"jpeg2000": "pylibjpeg", "jpeg_lossless": "gdcm"}
NEEDED = {
    ("pydicom", "jpeg2000"): {"openjpeg": "pylibjpeg-openjpeg", "pylibjpeg": "pylibjpeg"},
    ("pydicom", "jpeg_lossless"): {"gdcm": "python-gdcm"},
    ("gdcm", "jpeg2000"): {"gdcm": "python-gdcm"},
    ("gdcm", "jpeg_lossless"): {"gdcm": "python-gdcm"},
    ("dicomsdl", "jpeg2000"): {"dicomsdl": "dicomsdl"},
    ("dicomsdl", "jpeg_lossless"): {"dicomsdl": "dicomsdl"},
}
"""Reader and syntax → modules that it needs beside this package's own, and the packages that bring them."""
PACKAGES = {
    "pydicom": ("pydicom", "pylibjpeg-openjpeg"),
    "gdcm": ("python-gdcm",),
    "dicomsdl": ("dicomsdl",),
    "imagecodecs": ("imagecodecs",),
}
"""Whose versions stand beside a reader."""

Decoder = Callable[[Path, str], NDArray[Any]]
"""(path, syntax) → (H, W) stored values at full size."""


def decode_rsna(path: Path, syntax: str) -> NDArray[Any]:
    """This package, at full size."""
    return open_mammogram(path).decode()


def decode_pydicom(path: Path, syntax: str) -> NDArray[Any]:
    """pydicom with a plugin."""
    return pixel_array(pydicom.dcmread(path), decoding_plugin=PLUGINS[syntax])


def decode_gdcm(path: Path, syntax: str) -> NDArray[Any]:
    """GDCM's own reader."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise RuntimeError(f"GDCM cannot read {path}")
    image = reader.GetImage()
    columns, rows = image.GetDimensions()[:2]
    data = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    return np.frombuffer(data, np.uint16 if image.GetPixelFormat().GetBitsAllocated() == 16 else np.uint8).reshape(
        rows, columns
    )


def decode_dicomsdl(path: Path, syntax: str) -> NDArray[Any]:
    """dicomsdl, as its manual shows."""
    import dicomsdl

    return dicomsdl.open(str(path)).pixelData(storedvalue=True)


def decode_imagecodecs(path: Path, syntax: str) -> NDArray[Any]:
    """pydicom for the header, imagecodecs for the codestream."""
    frame = get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    return imagecodecs.jpeg2k_decode(frame) if syntax == "jpeg2000" else imagecodecs.jpeg8_decode(frame)


DECODERS: dict[str, Decoder] = {
    "rsna": decode_rsna,
    "pydicom": decode_pydicom,
    "gdcm": decode_gdcm,
    "dicomsdl": decode_dicomsdl,
    "imagecodecs": decode_imagecodecs,
}


def prepare_as_people_do(path: Path, syntax: str, decoder: Decoder, geometry: Geometry) -> NDArray[np.uint8]:
    """(1024, 512) uint8 of a peer, which is given the crop; whatever can wait until after the crop does."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    image = apply_voi_lut(decoder(path, syntax), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        image = image.max() - image
    x0, y0, x1, y1 = geometry.box
    image = cv2.resize(image[y0:y1, x0:x1], geometry.fitted[::-1], interpolation=cv2.INTER_AREA)
    image = ((image - image.min()) / (image.max() - image.min()) * 255).astype(np.uint8)
    prepared = np.zeros(geometry.size, np.uint8)
    prepared[geometry.content] = image[:, ::-1] if geometry.flipped else image
    return prepared


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Of the fastest of some runs, in the time that the processor spent: a busy neighbour is not the reader's cost."""
    fastest = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        fastest = min(fastest, time.process_time() - start)
    return fastest


def measure(reader: str, files: list[tuple[Path, str]], repeats: int) -> list[dict[str, Any]]:
    """One reader over every file; a row for each syntax."""
    decoder = DECODERS[reader]
    whole: dict[str, list[float]] = defaultdict(list)
    alone: dict[str, list[float]] = defaultdict(list)
    for path, syntax in files:
        if missing(reader, syntax):
            continue
        expected, geometry = prepare_image(path, SETTINGS)
        if reader == "rsna":
            whole[syntax].append(seconds(lambda p=path: prepare_image(p, SETTINGS), repeats))
        else:
            arguments = path, syntax, decoder, geometry
            check_alike(expected, prepare_as_people_do(*arguments), f"{reader}, {path}")
            whole[syntax].append(seconds(lambda a=arguments: prepare_as_people_do(*a), repeats))
        alone[syntax].append(seconds(lambda p=path, s=syntax: decoder(p, s), repeats))
    return [
        {
            "syntax": syntax,
            "reader": reader,
            "images_per_s": round(len(times) / sum(times), 2),
            "decode_images_per_s": round(len(times) / sum(alone[syntax]), 2),
        }
        for syntax, times in whole.items()
    ]


def measure_apart(reader: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one reader from a process of its own; this package's is set up like a worker of `rsna prepare`."""
    command = [sys.executable, __file__, "--repeats", str(options.repeats), "--limit", str(options.limit)]
    if options.data:
        command += ["--data", str(options.data)]
    environment = os.environ | (HEAP if reader == "rsna" else {})
    result = subprocess.run([*command, "--reader", reader], env=environment, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def check_alike(expected: NDArray[Any], other: NDArray[Any], where: str) -> None:
    """A peer that makes another picture must not be compared.

    Only roughly: it stretches each image to its own range, and keeps what lies around the breast.
    """
    shown = expected > 0
    alike = np.corrcoef(expected[shown], other[shown])[0, 1]
    if alike < 0.99:
        raise RuntimeError(f"{where}: another picture, correlation {alike:.3f}")


def find_files(data: Path | None, limit: int) -> list[tuple[Path, str]]:
    """(path, syntax) of the DICOM files below `data` that one of the two syntaxes codes: at most so many of each,
    evenly spread."""
    files: dict[str, list[Path]] = defaultdict(list)
    # The headers of a whole archive would take longer than the measurement.
    for path in dicom_files(data, 20 * limit):
        if syntax := SYNTAXES.get(open_mammogram(path).tags.transfer_syntax):
            files[syntax].append(path)
    return [(path, syntax) for syntax, paths in sorted(files.items()) for path in spread(paths, limit)]


def missing(reader: str, syntax: str) -> list[str]:
    """The packages that a reader lacks here."""
    return [package for module, package in NEEDED.get((reader, syntax), {}).items() if find_spec(module) is None]


def main() -> None:
    """Measure each reader in its own process, print a table, write the JSON."""
    parser = parser_of(__doc__, data=True)
    parser.add_argument("--limit", type=at_least(1), default=12, help="files of each syntax at most, evenly spread")
    parser.add_argument(
        "--repeats", type=at_least(1), default=3, help="runs of every file, of which the fastest counts"
    )
    parser.add_argument("--reader", choices=list(DECODERS), help="measure this one alone, and print its rows as JSON")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    files = find_files(options.data, options.limit)
    if not files:
        raise SystemExit(f"{options.data}: no JPEG 2000 or JPEG Lossless file with the ending .dcm")
    if options.reader:
        print(json.dumps(measure(options.reader, files, options.repeats)))
        return
    rows = [row for reader in DECODERS for row in measure_apart(reader, options)]
    about = machine()
    print(f"{len(files)} files, {about['cpu']}, one core, {time.strftime('%Y-%m-%d')}")
    print(f"{'syntax':<14} {'reader':<12} {'images/s':>9} {'ours ÷ it':>9} {'decode/s':>9}  versions")
    for syntax in dict.fromkeys(syntax for _, syntax in files):
        found = {row["reader"]: row for row in rows if row["syntax"] == syntax}
        for reader in sorted(DECODERS, key=lambda name: -found[name]["images_per_s"] if name in found else 0):
            start = f"{syntax:<14} {reader:<12}"
            if lacks := missing(reader, syntax):
                print(f"{start} not installed: pip install {' '.join(lacks)}")
                continue
            row, packages = found[reader], PACKAGES.get(reader, ())
            row["ours_ratio"] = round(found["rsna"]["images_per_s"] / row["images_per_s"], 2)
            said = ", ".join(f"{name} {about['packages'].get(name, '–')}" for name in packages)
            rates = f"{row['images_per_s']:>9.2f} {row['ours_ratio']:>9.2f} {row['decode_images_per_s']:>9.2f}"
            print(f"{start} {rates}  {said}")
    write_result(options.json, {"files": len(files), "readers": rows})


if __name__ == "__main__":
    main()
