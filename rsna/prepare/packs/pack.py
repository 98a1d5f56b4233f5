"""Prepared images read from a pack as they are from a cache."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rsna.config.data import PreprocessSettings
from rsna.config.settings import differences, to_mapping
from rsna.files import first_few
from rsna.prepare import tiff
from rsna.prepare.cache import CacheError
from rsna.prepare.complete import Complete
from rsna.prepare.geometry import Geometry
from rsna.prepare.hashing import preprocessing_hash
from rsna.prepare.packs.index import Index, PackError, PackRecord, Place
from rsna.prepare.packs.storage import Storage
from rsna.prepare.value_range import FEW_LEVELS

if TYPE_CHECKING:
    import pandas as pd

    from rsna.prepare.image import Prepared


class Pack:
    """The prepared images of one set under one preprocessing hash, in shards; cheap to pickle.

    Whatever reads an image raises CacheError, which names shard and image, where it is not there or is damaged.
    """

    def __init__(self, place: str) -> None:
        """Opens the pack in a folder or under a URL.

        Raises:
            PackError: There is none, or it is not whole.
        """
        self._storage = Storage(place)
        try:
            record = PackRecord.read(self._storage)
        except OSError as error:
            raise PackError(f"pack: {error}") from error
        if record is None:
            raise PackError(f"{place}: there is no pack (no pack.json, which is written last); `rsna pack` writes one")
        self.record = record
        self._index = Index.read(self._storage, record)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self._storage.place,)

    @property
    def place(self) -> str:
        """The folder or URL."""
        return self._storage.place

    @property
    def preprocessing_hash(self) -> str:
        """Hash of the settings that the images were made with."""
        return self.record.preprocessing_hash

    def read(self, image_id: str) -> "Prepared":
        """(H, W) uint8 or uint16 pixels, a fresh array."""
        try:
            return tiff.decode(self.content(image_id))
        except ValueError as error:
            raise self._damaged(image_id, error) from error

    def geometry(self, image_id: str) -> Geometry:
        """How the prepared image lies in its file."""
        try:
            return Geometry.from_json(json.loads(tiff.description(self.content(image_id))))
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(image_id, error) from error

    def content(self, image_id: str) -> bytes:
        """The file of an image as the cache had it; its header was checked, and is of that image."""
        place = self._find(image_id)
        try:
            content = self._storage.read(place.shard, place.start, place.length)
            if len(content) < place.length:
                raise ValueError("the shard ends before it")
            held = json.loads(tiff.description(content))["image_id"]
            if held != image_id:
                raise ValueError(f"the shard holds the image {held} there")
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(image_id, error) from error
        except OSError as error:
            raise CacheError(
                f"image {image_id}: shard {self._storage.path(place.shard)} cannot be read: "
                f"{error.strerror or error}; copy the pack again, or run `rsna pack` again"
            ) from error
        return content

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._index.find(image_id) is not None

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[str]:
        """Ids of the images, in no order."""
        return iter(self._index)

    def _find(self, image_id: str) -> Place:
        place = self._index.find(image_id)
        if place is None:
            raise CacheError(f"image {image_id} is not in the pack {self.place}; run `rsna pack` again")
        return place

    def _damaged(self, image_id: str, error: Exception) -> CacheError:
        shard = self._storage.path(self._find(image_id).shard)
        return CacheError(
            f"image {image_id} in shard {shard} is damaged: {error}; copy the pack again, or remove that shard and run "
            "`rsna pack` again"
        )

    def check(
        self, dataset: str, settings: PreprocessSettings, table: "pd.DataFrame", max_missing: float
    ) -> tuple[tuple[str, ...], Complete]:
        """Whether it is of this set and these settings, and of its files as they are now; none of them is opened.

        Args:
            dataset: Name of the set.
            settings: How its images are to be prepared.
            table: Columns image_id and path.
            max_missing: Share of the table, 0 to 1, that the pack may lack.

        Returns:
            Images that it lacks, and what else is to be said of the others.

        Raises:
            PackError: It is of another set or other settings, lacks shards or images, or files were changed since.
        """
        ours, record = preprocessing_hash(settings), self.record
        if record.preprocessing_hash != ours:
            differs = differences(dict(record.settings), to_mapping(settings))
            raise PackError(
                f"{self.place} was made with preprocessing {record.preprocessing_hash}, these settings are {ours} "
                f"({', '.join(differs) or 'by another version'}); name another pack (pack=…), or leave it out"
            )
        if record.dataset != dataset:
            raise PackError(
                f"{self.place} holds the set {record.dataset}, not {dataset}; name another pack (pack=…), or the set "
                "as it was named then (data.name=…)"
            )
        lost = sorted({*record.shards} - {*self._storage.names()})
        if lost:
            raise PackError(
                f"{self.place} lacks {len(lost):,} of {len(record.shards):,} shards (first: {first_few(lost)}); copy "
                "the pack again, or run `rsna pack` again"
            )
        held = (
            self._index.table.select(["image_id", "fingerprint", "source", "mtime_ns", "breast_found", "grey_levels"])
            .to_pandas()
            .set_index("image_id")
        )
        images = held.reindex(table["image_id"].astype(str))
        lacks = images["fingerprint"].isna().to_numpy()
        missing = tuple(images.index[lacks])
        if len(missing) > max_missing * len(table):
            raise PackError(
                f"{self.place} lacks {len(missing):,} of {len(table):,} images (first: {first_few(missing)}), more "
                f"than prepare.max_failed={max_missing:g} allows; run `rsna prepare` and `rsna pack` again"
            )
        images, paths = images[~lacks], table["path"].to_numpy(object)[~lacks]
        told = zip(images.index, paths, images["fingerprint"], images["source"], images["mtime_ns"], strict=True)
        changed = [image_id for image_id, *file in told if _has_changed(*file)]
        if changed:
            raise PackError(
                f"{len(changed):,} files have changed since they were packed into {self.place} (first: "
                f"{first_few(changed)}); run `rsna prepare` and `rsna pack` again"
            )
        no_breast = tuple(images.index[~images["breast_found"].astype(bool)])
        return missing, Complete(no_breast, tuple(images.index[images["grey_levels"] < FEW_LEVELS]))


def _has_changed(path: str, fingerprint: str, source: str, mtime_ns: int) -> bool:
    """Whether a file is another one by its size or, where it lies as before, was written since; one put away is not."""
    try:
        now = os.stat(path)
    except OSError:
        return False
    if now.st_size != int(fingerprint.partition("-")[0]):
        return True
    return bool(source == os.path.abspath(path) and now.st_mtime_ns != mtime_ns)
