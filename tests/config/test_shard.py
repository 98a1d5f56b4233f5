"""Which shard an id is in follows from the id alone, for ever and on every machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.config.settings import ConfigError
from rsna.config.shard import Shard, shard_numbers

IDS = st.lists(st.text(max_size=12), unique=True)
COUNTS = st.integers(1, 40)


def test_a_shard_is_the_same_in_every_version():
    ids = ["1000", "1001", "a/b", "Ä", "\udcff", ""]
    assert shard_numbers(ids, 8) == [3, 6, 1, 3, 2, 5]
    assert shard_numbers(["10006_L"], 1_000_000) == [962219]


@given(IDS, COUNTS)
def test_every_id_is_in_one_shard(ids, count):
    held = [Shard(number, count).holds(ids) for number in range(1, count + 1)]
    assert all(sum(column) == 1 for column in zip(*held, strict=True))


@given(IDS, IDS, COUNTS)
def test_other_ids_move_nothing(ids, more, count):
    alone = dict(zip(ids, shard_numbers(ids, count), strict=True))
    beside = dict(zip([*more, *ids], shard_numbers([*more, *ids], count), strict=True))
    assert all(beside[one] == number for one, number in alone.items())


@pytest.mark.parametrize("ids", [[str(n) for n in range(16_000)], [f"{n}_{s}" for n in range(8000) for s in "LR"]])
def test_shards_are_of_about_one_size(ids):
    numbers = shard_numbers(ids, 16)
    assert all(900 < numbers.count(number) < 1100 for number in range(1, 17))


@pytest.mark.parametrize(("text", "number", "count"), [("1/1", 1, 1), ("3/8", 3, 8), ("08/8", 8, 8)])
def test_a_shard_is_read_as_it_is_written(text, number, count):
    shard = Shard.parse(text)
    assert shard == Shard(number, count)
    assert Shard.parse(str(shard)) == shard


def test_names_sort_as_shards_do():
    names = [Shard(number, 12).name for number in range(1, 13)]
    assert names[0] == "01-of-12"
    assert sorted(names) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0/4", "shard: 0/4 is none of 1/4 to 4/4; the first is 1, not 0"),
        ("5/4", "shard: 5/4 is none of 1/4 to 4/4"),
        ("1/0", "shard: 1/0 has 0 shards; there are 1 to 1,000,000"),
        ("1/2000000", "shard: 1/2000000 has 2,000,000 shards"),
    ],
)
def test_a_shard_beyond_the_last_is_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        Shard.parse(text)


@pytest.mark.parametrize(
    "text", ["", "a", "1", "1/", "/4", "-1/4", "1/4/2", "1.0/4", "1 / 4", "\u0661/\u0664", "1/1000000000"]
)
def test_what_is_not_written_like_a_shard_is_refused(text):
    with pytest.raises(ConfigError, match="is not like 3/8"):
        Shard.parse(text)
