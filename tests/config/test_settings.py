"""Settings are built from plain values, and what is wrong with them is said by key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.config.settings import (
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


def test_assignments_nest_and_keep_what_was_typed():
    parsed = parse_assignments(["a.b=[1, 2]", "a.c=none", "path=x: y", "empty=", "n=1e-3"])
    assert parsed == {"a": {"b": "[1, 2]", "c": "none"}, "path": "x: y", "empty": "", "n": "1e-3"}
    with pytest.raises(ConfigError, match="write options as key=value"):
        parse_assignments(["folds"])
    with pytest.raises(ConfigError, match=r"a\.b: a was given a value already"):
        parse_assignments(["a=1", "a.b=2"])


@dataclass(frozen=True)
class Line:
    """Fields of every type that a command line fills."""

    text: str = ""
    path: Path = Path()
    texts: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    maybe_text: str | None = "x"
    maybe: bool | None = True
    n: int = 0
    rate: float = 0.0
    yes: bool = False
    bits: Literal[8, 16] = 8
    precision: Literal["auto", "32"] = "auto"
    fold: int | Literal["all"] = 0
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    "text",
    ["arch/Mäx & co #2 [x]", "2024_01_02", "0010", "0010130", "1:30", "1.50", "2024-01-02", "yes", "null", "[a]",
     "a: b", "{a}", "*x", "&x", "!x", "@x", "`x`", "%x", "C:\\x", "- a", "it's", " ", "~", "a=b", "=", "1e3"],
)  # fmt: skip
def test_text_is_taken_as_it_was_typed(text):
    line = from_mapping(Line, parse_assignments([f"text={text}", f"path={text}"]))
    assert (line.text, line.path) == (text, Path(text))
    quoted = [f"text='{text}'", f'path="{text}"', f'texts=["{text}", "a, b"]']
    line = from_mapping(Line, parse_assignments(quoted))
    assert (line.text, line.path, line.texts) == (text, Path(text), (text, "a, b"))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("texts=[2024_01_02,0010, 1.50 ,a #2 & b: c]", ("2024_01_02", "0010", "1.50", "a #2 & b: c")),
        ("texts=0010", ("0010",)),
        ("texts=[x] dir", ("[x] dir",)),
        ("texts=", ()),
        ("texts=[]", ()),
        ("numbers=[0, 10,]", (0, 10)),
        ("maybe_text=null", None),
        ("maybe_text=no", "no"),
        ("maybe=null", None),
        ("maybe=false", False),
        ("n=0010", 10),
        ("rate=1e-3", 0.001),
        ("rate=2", 2.0),
        ("yes=True", True),
        ("bits=16", 16),
        ("precision=32", "32"),
        ("fold=all", "all"),
        ("fold=2", 2),
    ],
)
def test_the_type_of_its_field_says_what_a_typed_value_means(argument, value):
    assert getattr(from_mapping(Line, parse_assignments([argument])), argument.partition("=")[0]) == value


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("n=1:30", "n: expected a whole number, got '1:30'"),
        ("n=1.0", "n: expected a whole number, got '1.0'"),
        ("n=", "n: expected a whole number, got ''"),
        ("rate=fast", "rate: expected a finite number, got 'fast'"),
        ("yes=1", "yes: expected true or false, got '1'"),
        ("bits=12", "bits: '12' is not one of 8, 16"),
        ("numbers=[a]", r"numbers\[0\]: expected a whole number, got 'a'"),
        ("inner=3", "inner: expected a group of keys, got '3'"),
        ("inner.rate=2", r"inner\.rate: 2\.0 is not in"),
    ],
)
def test_what_was_typed_wrongly_is_shown_as_it_was_typed(argument, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Line, parse_assignments([argument]))


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
