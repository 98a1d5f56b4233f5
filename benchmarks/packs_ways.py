"""The ways of packing that `packs.py` measures: how each writes files of images, and reads one by its place."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rsna.prepare import tiff
from rsna.prepare.cache import Cache

SHARD_BYTES = 64 * 2**20

Read = Callable[[int], bytes]
"""Place in the order of writing → the TIFF of an image, as bytes."""


class Files:
    """One file an image, as the cache has them."""

    needs = package = ""

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from rsna.files import write_atomic

        for file in source:
            write_atomic(out / file.name, file.read_bytes())

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        files = sorted(file for file in out.iterdir() if not file.name.startswith("."))
        return len(files), lambda place: files[place].read_bytes()


class LitData:
    """The library's own chunks."""

    needs = "litdata"
    package = "litdata"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from litdata import optimize

        options: dict[str, Any] = {"num_workers": 1, "keep_data_ordered": True, "verbose": False}
        optimize(_item, [str(file) for file in source], str(out), chunk_bytes=SHARD_BYTES, **options)

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from litdata import StreamingDataset

        held = StreamingDataset(str(out))
        return len(held), lambda place: held[place]["image"]


def _item(path: str) -> dict[str, Any]:
    return {"image_id": Path(path).stem, "image": Path(path).read_bytes()}


class WebDataset:
    """Shards of tar, read from front to back; what is shuffled is the order of shards and a buffer."""

    needs = "webdataset"
    package = "webdataset"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from webdataset import ShardWriter

        with ShardWriter(str(out / "shard-%05d.tar"), maxsize=SHARD_BYTES, verbose=0) as shards:
            for file in source:
                shards.write({"__key__": file.stem, "tif": file.read_bytes()})

    @staticmethod
    def stream(out: Path) -> Any:
        from webdataset import WebDataset

        shards = sorted(map(str, out.glob("*.tar")))
        return (
            WebDataset(shards, shardshuffle=len(shards), seed=0, empty_check=False)
            .shuffle(512)
            .map(lambda item: item["tif"])
        )

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from webdataset import WebDataset

        held = [item["tif"] for item in WebDataset(sorted(map(str, out.glob("*.tar"))), shardshuffle=False)]
        return len(held), lambda place: held[place]


class Wids:
    """The same shards of tar by index, mapped into memory."""

    needs = "wids"
    package = "webdataset"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        WebDataset.write(source, out)
        import tarfile

        shards = []
        for shard in sorted(out.glob("*.tar")):
            with tarfile.open(shard) as file:
                shards.append({"url": str(shard), "nsamples": len(file.getnames())})
        about = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}
        (out / "index.json").write_text(json.dumps(about), encoding="utf-8")

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from wids import ShardListDataset

        held = ShardListDataset(str(out / "index.json"), transformations=[], cache_dir=None, keep=True)
        return len(held), lambda place: held[place][".tif"].read()


class Mosaic:
    """MDS, without the part that draws and downloads, which has an order of its own."""

    needs = "streaming"
    package = "mosaicml-streaming"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from streaming import MDSWriter

        columns = {"image_id": "str", "image": "bytes"}
        shutil.rmtree(out)  # which it wants to make
        with MDSWriter(out=str(out), columns=columns, size_limit=SHARD_BYTES, hashes=["xxh64"]) as shards:
            for file in source:
                shards.write(_item(str(file)))

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from streaming.base.local import LocalDataset

        held = LocalDataset(str(out))
        return len(held), lambda place: held[place]["image"]


class Arrow:
    """One file of Arrow, 64 images a record batch, mapped into memory."""

    needs = "pyarrow"
    package = "pyarrow"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        import pyarrow

        schema = pyarrow.schema([("image_id", pyarrow.string()), ("image", pyarrow.binary())])
        with pyarrow.OSFile(str(out / "images.arrow"), "wb") as file, pyarrow.ipc.new_file(file, schema) as writer:
            for start in range(0, len(source), 64):
                part = source[start : start + 64]
                columns = [[one.stem for one in part], [one.read_bytes() for one in part]]
                arrays = [pyarrow.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
                writer.write_batch(pyarrow.record_batch(arrays, schema=schema))

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        import pyarrow

        held = pyarrow.ipc.open_file(pyarrow.memory_map(str(out / "images.arrow")))
        batches = [held.get_batch(i).column(1) for i in range(held.num_record_batches)]
        n = sum(map(len, batches))
        return n, lambda place: batches[place // 64][place % 64].as_py()


class Frames:
    """One file of Zstandard frames, one an image, with a table of where each begins, mapped into memory."""

    needs = "imagecodecs"
    package = "imagecodecs"

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        import imagecodecs

        ends = [0]
        with (out / "images.zst").open("wb") as file:
            for one in source:
                ends.append(ends[-1] + file.write(imagecodecs.zstd_encode(one.read_bytes(), 1)))
        np.save(out / "ends.npy", np.array(ends))

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        import imagecodecs

        ends, held = np.load(out / "ends.npy"), np.memmap(out / "images.zst", mode="r")
        return len(ends) - 1, lambda place: imagecodecs.zstd_decode(held[ends[place] : ends[place + 1]].tobytes())


class Zip:
    """Shards of zip, stored as they are, by Python's zipfile."""

    needs, package = "zipfile", ""

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from zipfile import ZipFile

        size, shard, number = 0, None, 0
        with contextlib.ExitStack() as stack:
            for file in source:
                if shard is None or size > SHARD_BYTES:
                    stack.close()
                    shard, size = stack.enter_context(ZipFile(out / f"shard-{number:05d}.zip", "w")), 0
                    number += 1
                content = file.read_bytes()
                shard.writestr(file.name, content)
                size += len(content)

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from zipfile import ZipFile

        shards = [ZipFile(shard) for shard in sorted(out.glob("*.zip"))]
        places = [(shard, name) for shard in shards for name in shard.namelist()]
        return len(places), lambda place: places[place][0].read(places[place][1])


class Pack:
    """What `rsna pack` writes and training reads: shards of zip and an index of Arrow."""

    needs, package = "rsna", ""

    @staticmethod
    def write(source: list[Path], out: Path) -> None:
        from rsna.prepare.packs.writer import write_pack

        write_pack(Cache(source[0].parents[1]), str(out), SHARD_BYTES)

    @staticmethod
    def open(out: Path) -> tuple[int, Read]:
        from rsna.prepare.packs.pack import Pack

        held = Pack(str(out))
        image_ids = sorted(held)  # as they were written
        return len(image_ids), lambda place: held.content(image_ids[place])

    @staticmethod
    def checked(out: Path) -> tuple[int, Read]:
        """As training reads it, pixels and all."""
        n, content = Pack.open(out)

        def read(place: int) -> bytes:
            tiff.decode(content(place))
            return content(place)

        return n, read


WAYS: dict[str, Any] = {
    "files": Files,
    "LitData": LitData,
    "WebDataset": WebDataset,
    "wids": Wids,
    "MosaicML streaming": Mosaic,
    "Arrow": Arrow,
    "Zstandard frames": Frames,
    "zip": Zip,
    "rsna pack": Pack,
}
