"""Settings are built from plain values, and what is wrong with them is said by key."""

from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from rsna.config.data import PreprocessSettings
from rsna.config.settings import (
    ConfigError,
    Fraction,
    allowed,
    differences,
    digest,
    fields_of,
    from_mapping,
    parse_assignments,
    require,
    settings,
    to_mapping,
)


@settings
class Inner:
    rate: Fraction = 0.5
    """A rate."""
    kind: Literal["a", "b"] = "a"
    """A kind."""

    def __post_init__(self) -> None:
        require(self.kind == "a" or self.rate > 0, "rate: b needs one above 0")


@settings
class Outer:
    n: int = 1
    """A count,
    over two lines."""
    fold: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = (2, 3)
    names: tuple[str, ...] = ()
    kinds: tuple[Literal["a", "b"], ...] = ()
    maybe: float | None = None
    window: int | str | None = 0
    inner: Inner = Field(default_factory=Inner)


def test_nested_values_are_converted_and_given_back():
    outer = from_mapping(Outer, {"n": 2, "fold": "all", "size": [4, 5], "names": "x", "inner": {"rate": "1e-3"}})
    assert outer == Outer(2, "all", (4, 5), ("x",), inner=Inner(0.001))
    assert from_mapping(Outer, to_mapping(outer)) == outer


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"inner": {"rat": 1}}, r"inner\.rat: there is no such key; did you mean rate"),
        ({"zzz": 1}, r"zzz: there is no such key; known keys: n, fold"),
        ({"inner": {"rate": 2}}, r"inner\.rate: 2 is not in \[0, 1\]"),
        ({"inner": {"kind": "c"}}, r"inner\.kind: 'c' is not one of a, b"),
        ({"inner": {"kind": "b", "rate": 0}}, r"^inner\.rate: b needs one above 0$"),
        ({"kinds": ["a", "c"]}, r"kinds\[1\]: 'c' is not one of a, b"),
        ({"size": [1, 0]}, r"size\[1\]: 0 is not above 0"),
        ({"size": [1, 2, 3]}, "size: expected a list of 2 values"),
        ({"fold": -1}, "^fold: -1 is below 0$"),
        ({"fold": True}, "fold: expected a whole number ≥ 0, or all, got True"),
        ({"n": 2.0}, "n: expected a whole number, got 2.0"),
        ({"n": "2"}, "n: expected a whole number, got '2'"),
        ({"maybe": True}, "maybe: expected a finite number, or null, got True"),
        ({"maybe": "inf"}, "maybe: expected a finite number, or null, got inf"),
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


@settings
class Needs:
    run: str
    """A folder."""


def test_required_keys_are_named():
    with pytest.raises(ConfigError, match=r"^run: is required: A folder\.$"):
        from_mapping(Needs, {})
    with pytest.raises(ConfigError, match=r"^run: is required, and is empty: A folder\.$"):
        from_mapping(Needs, parse_assignments(["run="]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": "3"}, "n: expected a whole number, got '3'"),
        ({"fold": -1}, "fold: -1 is below 0"),
        ({"inner": {"rate": 1}}, "inner: expected settings, got"),
        ({"nams": 1}, "nams: there is no such key; did you mean names"),
    ],
)
def test_a_changed_copy_is_checked(changes, message):
    assert replace(Outer(), n=3).n == 3
    with pytest.raises(ConfigError, match=f"^{message}"):
        replace(Outer(), **changes)


def test_settings_made_in_python_are_checked_and_do_not_change():
    with pytest.raises(ConfigError, match="n: expected a whole number, got True"):
        Outer(True)
    with pytest.raises(FrozenInstanceError):
        Outer().n = 3  # type: ignore[misc]


def test_text_and_numbers_stay_apart_through_a_file():
    for window in (0, "0", "null", None):
        outer = Outer(window=window)
        assert from_mapping(Outer, to_mapping(outer)) == outer
    assert from_mapping(Needs, {"run": 7}) == Needs("7")  # YAML reads `run: 7` as a number


def test_assignments_keep_what_was_typed():
    parsed = parse_assignments(["b=[1, 2]", "path=x: y", "empty=", "n=1e-3"])
    assert parsed == {"b": "[1, 2]", "path": "x: y", "empty": "", "n": "1e-3"}
    for wrong in ("folds", "=1"):
        with pytest.raises(ConfigError, match="write options as key=value"):
            parse_assignments([wrong])


@settings
class Line:
    """Fields of every type that a command line fills."""

    text: str = ""
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
    window: int | str | None = 1
    inner: Inner = Field(default_factory=Inner)


@pytest.mark.parametrize(
    "text",
    ["arch/Mäx & co #2 [x]", "2024_01_02", "0010", "0010130", "1:30", "1.50", "2024-01-02", "yes", "null", "[a]",
     "a: b", "{a}", "*x", "&x", "!x", "@x", "`x`", "%x", "C:\\x", "- a", "it's", " ", "~", "a=b", "=", "1e3"],
)  # fmt: skip
def test_text_is_taken_as_it_was_typed(text):
    assert from_mapping(Line, parse_assignments([f"text={text}"])).text == text
    quoted = [f"text='{text}'", f'maybe_text="{text}"', f'texts=["{text}", "a, b"]']
    line = from_mapping(Line, parse_assignments(quoted))
    assert (line.text, line.maybe_text, line.texts) == (text, text, (text, "a, b"))


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
        ("window=0", 0),
        ("window=null", None),
        ("window=harder", "harder"),
        ("window='0'", "0"),
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
        ("inner.rate=2", r"inner\.rate: there is no such key; did you mean inner"),
    ],
)
def test_what_was_typed_wrongly_is_shown_as_it_was_typed(argument, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Line, parse_assignments([argument]))


def test_what_a_field_takes_is_said():
    said = {name: allowed(field) for name, field in fields_of(Outer).items() if name != "inner"}
    assert said["fold"] == "a whole number ≥ 0, or all"
    assert said["size"] == "a list of 2 values, a whole number > 0 each"
    assert said["kinds"] == "a list of a, b"
    assert said["window"] == "a whole number, or text, or null"
    assert allowed(fields_of(Inner)["rate"]) == "a finite number in [0, 1]"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "5652b9dab37e"),
        ({"size": [160, 80]}, "b31746a553fe"),
        ({"bits": 16, "window": None, "margin": 0.03}, "742d8538b5a2"),
        ({"window": "harder", "crop": "none", "orientation": "left"}, "4155c1254ed0"),
        ({"full_resolution": True}, "0e1fa1b3f5f2"),
    ],
)
def test_the_digest_of_settings_is_the_one_that_caches_and_bundles_carry(values, expected):
    read = from_mapping(PreprocessSettings, values)
    assert digest(2, replace(read, crop="none", boxes=""), read.crop, "") == expected


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.lists(st.integers()), max_size=5))
def test_digest_depends_on_content_not_on_order(mapping):
    assert digest(mapping) == digest(dict(reversed(mapping.items())))
    assert digest(mapping) != digest(mapping | {"one more key": 1})
    assert len(digest(mapping)) == 12


def test_differences_show_both_sides():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}) == ["a.b: 1 → 3"]
