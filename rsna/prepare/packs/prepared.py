"""Where prepared images are read from: a cache, one file an image, or a pack of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rsna.config.schema import Config
from rsna.files import FileError, read_json
from rsna.prepare.cache import Cache
from rsna.prepare.geometry import Geometry

if TYPE_CHECKING:
    from rsna.prepare.image import Prepared


class PreparedImages(Protocol):
    """The prepared images of one set under one preprocessing hash; cheap to pickle.

    Whatever reads an image raises CacheError where it is not there or is damaged.
    """

    @property
    def preprocessing_hash(self) -> str:
        """Hash of the settings that the images were made with."""

    def read(self, image_id: str) -> "Prepared":
        """(H, W) uint8 or uint16 pixels, a fresh array."""

    def geometry(self, image_id: str) -> Geometry:
        """How the prepared image lies in its file."""

    def __hash__(self) -> int: ...

    def __contains__(self, image_id: object) -> bool: ...

    def __iter__(self) -> Iterator[str]:
        """Ids of the images, in no order."""

    def __len__(self) -> int: ...


def open_prepared(config: Config, name: str) -> PreparedImages:
    """The images of the set ``name`` that is prepared already: in the pack that is asked for, else in the cache.

    Raises:
        PackError: There is no such pack.
    """
    if config.pack:
        from rsna.prepare.packs.pack import Pack

        return Pack(config.pack)
    return Cache.create(config.cache_dir, name, config.preprocess)


def open_cache(folder: str | Path) -> Cache | None:
    """The cache in a folder; None where there is none."""
    folder = Path(folder).expanduser()
    return Cache(folder) if (folder / "settings.json").is_file() else None


def find_cache(config: Config, name: str, digest: str) -> Cache | None:
    """The cache of a set under a preprocessing hash, wherever in ``cache_dir`` it lies; None where there is none."""
    for file in Path(config.cache_dir).expanduser().glob(f"*/{digest}/settings.json"):
        with contextlib.suppress(FileError, OSError, KeyError, TypeError):  # damaged: others may be whole
            if read_json(file)["dataset"] == name:
                return Cache(file.parent)
    return None


def find_prepared(config: Config, name: str, digest: str) -> PreparedImages | None:
    """The images of a set under a preprocessing hash, in the pack that was read, or in a cache; None in neither."""
    if config.pack:
        from rsna.prepare.packs.index import PackError
        from rsna.prepare.packs.pack import Pack

        with contextlib.suppress(PackError):
            pack = Pack(config.pack)
            if (pack.record.dataset, pack.preprocessing_hash) == (name, digest):
                return pack
    return find_cache(config, name, digest)
