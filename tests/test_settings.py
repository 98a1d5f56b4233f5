"""Settings are built from plain values, and what is wrong with them is said by key."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.settings import (
    ConfigError,
    describe,
    differences,
    digest,
    field_docs,
    from_mapping,
    parse_assignments,
    require,
    to_mapping,
)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    """A rate."""
    kind: Literal["a", "b"] = "a"
    """A kind."""

    def __post_init__(self) -> None:
        require(0 <= self.rate <= 1, f"rate: {self.rate} is not in [0, 1]")


@dataclass(frozen=True)
class Outer:
    n: int = 1
    """A count,
    over two lines."""
    fold: int | Literal["all"] = 0
    size: tuple[int, int] = (2, 3)
    names: tuple[str, ...] = ()
    maybe: float | None = None
    inner: Inner = field(default_factory=Inner)


def test_nested_values_are_converted_and_given_back():
    outer = from_mapping(Outer, {"n": 2, "fold": "all", "size": [4, 5], "names": "x", "inner": {"rate": "1e-3"}})
    assert outer == Outer(2, "all", (4, 5), ("x",), None, Inner(0.001))
    assert from_mapping(Outer, to_mapping(outer)) == outer


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"inner": {"rat": 1}}, r"inner\.rat: there is no such key; did you mean rate"),
        ({"zzz": 1}, r"zzz: there is no such key; known keys: n, fold"),
        ({"inner": {"rate": 2}}, r"inner\.rate: 2\.0 is not in \[0, 1\]"),
        ({"inner": {"kind": "c"}}, r"inner\.kind: 'c' is not one of a, b"),
        ({"n": True}, "n: expected a whole number, got True"),
        ({"n": "two"}, "n: expected a whole number"),
        ({"size": [1]}, "size: expected a list of 2 values"),
        ({"fold": "some"}, "fold: .*whole number.*all"),
        ({"maybe": float("nan")}, "maybe: expected a finite number"),
        ({"inner": 3}, "inner: expected a group of keys"),
    ],
)
def test_wrong_values_are_refused_by_key(mapping, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, mapping)


def test_required_keys_are_named():
    @dataclass(frozen=True)
    class Needs:
        run: str

    with pytest.raises(ConfigError, match="run: is required"):
        from_mapping(Needs, {})


def test_assignments_nest_and_keep_odd_text():
    parsed = parse_assignments(["a.b=[1, 2]", "a.c=none", "path=x: y", "empty=", "n=1e-3"])
    assert parsed == {"a": {"b": [1, 2], "c": "none"}, "path": "x: y", "empty": "", "n": "1e-3"}
    with pytest.raises(ConfigError, match="write options as key=value"):
        parse_assignments(["folds"])


def test_help_holds_keys_defaults_and_docs():
    assert field_docs(Outer)["n"] == "A count, over two lines."
    assert "n=1" in describe(Outer)
    assert "A rate." in describe(Inner)


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.lists(st.integers()), max_size=5))
def test_digest_depends_on_content_not_on_order(mapping):
    assert digest(mapping) == digest(dict(reversed(mapping.items())))
    assert digest(mapping) != digest(mapping | {"one more key": 1})
    assert len(digest(mapping)) == 12


def test_differences_show_both_sides():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}) == ["a.b: 1 → 3"]
