import random

import pyarrow
import pytest

from rsna.prepare.packs import index
from rsna.prepare.packs.index import Index, Place, key_of

IDS = [f"{number:05d}" for number in range(5000)]


def index_of(image_ids: list[str]) -> Index:
    """Each image in a shard of its last digit, at a place of its number."""
    rows = [
        {"key": key_of(one), "image_id": one, "shard": int(one[-1]), "start": int(one), "length": 7}
        for one in image_ids
    ]
    schema = pyarrow.schema(
        {"key": pyarrow.uint64(), "image_id": pyarrow.large_string(), "shard": pyarrow.int32(),
         "start": pyarrow.int64(), "length": pyarrow.int64()}
    )  # fmt: skip
    table = pyarrow.Table.from_pylist(rows, schema=schema).sort_by("key").combine_chunks()
    return Index(table, tuple(f"shard-{digit}" for digit in range(10)))


@pytest.mark.parametrize("bits", [64, 8, 0])
def test_every_image_is_found_and_no_other_even_where_keys_are_equal(bits, monkeypatch):
    whole = index.key_of
    monkeypatch.setattr(index, "key_of", lambda image_id: whole(image_id) >> (64 - bits))
    monkeypatch.setitem(globals(), "key_of", index.key_of)
    held = IDS if bits == 64 else IDS[:300]
    found = index_of(held)
    assert len(found) == len(held)
    assert set(found) == set(held)
    for image_id in random.Random(0).sample(held, 200):
        assert found.find(image_id) == Place(f"shard-{image_id[-1]}", int(image_id), 7)
    for image_id in ("", "0", "000000", "99999", "ä"):
        assert found.find(image_id) is None
