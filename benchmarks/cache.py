"""What a prepared image costs on disk and to read, by file format: the table in docs/cache.md.

    python benchmarks/cache.py [--data DIR] [--size 1024 512] [--bits 8] [--images 64] [--json FILE]

DIR holds DICOM files at any depth. One core; files are read from the page cache, as a training set that fits is.
"""

import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
from common import at_least, dicom_files, parser_of, write_result

from rsna.config.data import PreprocessSettings
from rsna.prepare import tiff
from rsna.prepare.image import Prepared, prepare_image

try:
    import tifffile
except ModuleNotFoundError:
    tifffile = None


@dataclass(frozen=True)
class Format:
    """A way to keep (H, W) pixels."""

    name: str
    encode: Callable[[Prepared], bytes] | None
    """None where the package is not installed."""
    decode: Callable[[bytes, Prepared], npt.NDArray[np.generic]]
    """Bytes, and an array that has the shape and type which raw formats do not say."""


def raw(decoded: bytes, like: Prepared) -> npt.NDArray[np.generic]:
    return np.frombuffer(decoded, like.dtype).reshape(like.shape)


def png(pixels: Prepared, level: int) -> bytes:
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()


def from_opencv(content: bytes) -> npt.NDArray[np.generic]:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def npy(pixels: Prepared) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def by_tifffile(pixels: Prepared) -> bytes:
    file = io.BytesIO()
    options = {"compression": "zstd", "compressionargs": {"level": 1}, "predictor": True, "metadata": None}
    tifffile.imwrite(file, pixels, photometric="minisblack", rowsperstrip=len(pixels), description="{}", **options)
    return file.getvalue()


FORMATS = [
    Format("PNG, level 6", lambda p: png(p, 6), lambda b, _: from_opencv(b)),
    Format("PNG, level 1", lambda p: png(p, 1), lambda b, _: from_opencv(b)),
    Format("JPEG-LS", imagecodecs.jpegls_encode, lambda b, _: imagecodecs.jpegls_decode(b)),
    Format(
        "JPEG XL, lossless, effort 1",
        lambda p: imagecodecs.jpegxl_encode(p, lossless=True, effort=1, numthreads=1),
        lambda b, _: imagecodecs.jpegxl_decode(b, numthreads=1),
    ),
    Format("NumPy (.npy)", npy, lambda b, _: np.load(io.BytesIO(b))),
    Format(
        "LZ4 of the pixels",
        lambda p: imagecodecs.lz4_encode(p.tobytes()),
        lambda b, p: raw(imagecodecs.lz4_decode(b, out=p.nbytes), p),
    ),
    Format(
        "Zstandard 1 of the pixels",
        lambda p: imagecodecs.zstd_encode(p.tobytes(), 1),
        lambda b, p: raw(imagecodecs.zstd_decode(b, out=p.nbytes), p),
    ),
    Format(
        "Blosc2, bit shuffle, Zstandard",
        lambda p: imagecodecs.blosc2_encode(
            p.tobytes(), level=5, compressor="zstd", shuffle="bitshuffle", typesize=p.itemsize, numthreads=1
        ),
        lambda b, p: raw(imagecodecs.blosc2_decode(b, numthreads=1), p),
    ),
    Format(
        "the same TIFF by tifffile",
        by_tifffile if tifffile else None,
        lambda b, _: tifffile.imread(io.BytesIO(b), key=0),
    ),
    Format("**TIFF, row differences, Zstandard 1**", lambda p: tiff.encode(p, "{}"), lambda b, _: tiff.decode(b)),
]


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of several calls: other processes only ever add."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best * 1000


def measure(format: Format, images: list[Prepared], folder: Path) -> tuple[float, float, float]:
    """(KiB, ms to encode, ms from file to array), each the mean over the images."""
    path = folder / "image"
    assert format.encode is not None
    sizes, writes, reads = [], [], []
    for pixels in images:
        content = format.encode(pixels)
        path.write_bytes(content)
        assert np.array_equal(format.decode(path.read_bytes(), pixels), pixels), format.name
        sizes.append(len(content) / 1024)
        writes.append(fastest(partial(format.encode, pixels), 3))
        reads.append(fastest(lambda like=pixels: format.decode(path.read_bytes(), like), 20))
    return float(np.mean(sizes)), float(np.mean(writes)), float(np.mean(reads))


def main() -> None:
    parser = parser_of(__doc__, data=True)
    parser.add_argument("--size", type=at_least(1), nargs=2, default=(1024, 512), help="rows and columns, pixels")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8)
    parser.add_argument("--images", type=at_least(1), default=64, help="how many files at most")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    settings = PreprocessSettings(size=tuple(options.size), bits=options.bits)
    images = [prepare_image(path, settings)[0] for path in dicom_files(options.data, options.images)]
    rows, columns = settings.size
    print(f"{len(images)} images, {rows}×{columns}, {settings.bits} bits\n")
    print("| format | KiB | × PNG | write, ms | read, ms |\n|---|---:|---:|---:|---:|")
    reference = 0.0
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for format in FORMATS:
            if format.encode is None:
                print(f"| {format.name} | not installed: pip install '.[bench]' | | | |")
                continue
            size, write, read = measure(format, images, Path(folder))
            reference = reference or size
            print(f"| {format.name} | {size:.0f} | {size / reference:.2f} | {write:.1f} | {read:.2f} |", flush=True)
            name = format.name.strip("*")
            found.append(
                {"format": name, "size_kib": round(size), "write_ms": round(write, 2), "read_ms": round(read, 3)}
            )
    about = {"images": len(images), "size": list(settings.size), "bits": settings.bits}
    write_result(options.json, about | {"formats": found})


if __name__ == "__main__":
    main()
