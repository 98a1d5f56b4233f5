"""Settings: frozen pydantic dataclasses, read from mappings with errors that name key, value and what is allowed.

Every room's options are a class with the decorator :func:`settings`: types and ranges stand in the annotations, a
docstring under each field says what it is. Configuration files, command lines and bundles all arrive here as mappings,
so that a value is checked in one place, in the same words. ``dataclasses.replace`` makes a changed copy, and checks it.
"""

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import json
import re
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, cast, dataclass_transform, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass, rebuild_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, to_jsonable_python

T = TypeVar("T")
Kind = tuple[Any, tuple[Any, ...]]
"""One of the types that a field may have, with its limits."""

AtLeastOne = Annotated[int, Field(ge=1)]
Auto = Literal["auto"]
"""What a key is given where the program chooses; see :func:`unless_auto`."""
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""How true and false are typed."""
_ITEM = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,]*?)\s*(?:,|$)""")
"""One item of a typed list; a comma within quotes does not end it."""
_WHOLE = re.compile(r"[+-]?\d+")
_OUT_OF_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
_NAMES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", type(None): "null"}


class ConfigError(ValueError):
    """A key that does not exist, or a value that is not allowed. The message names key, value and what is."""


class Typed(str):
    """A value as it was typed on a command line: the type of its field decides what it means, so `0010` stays an id."""


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Makes a class of fields with docstrings a frozen pydantic dataclass that raises :class:`ConfigError`.

    Strict: true is no number, "3" is none either, and neither nan nor inf is one that can be used.
    """
    config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )
    made: Any = dataclass(frozen=True, config=config)(cls)
    check, fields = made.__init__, made.__pydantic_fields__
    for name, field in fields.items():  # a docstring stands where the field was first named
        before = (fields_of(base).get(name) for base in cls.__mro__[1:] if hasattr(base, "__pydantic_fields__"))
        field.description = field.description or next((one.description for one in before if one), None)

    @functools.wraps(check)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        if not made.__pydantic_complete__:  # of forty classes a verb uses a few
            made.__pydantic_config__ = config | {"use_attribute_docstrings": False}  # their source was read before
            rebuild_dataclass(made)
            made.__init__, made.__pydantic_fields__ = __init__, fields  # which it has replaced
        try:
            check(self, *values, **named)
        except ValidationError as error:
            raise ConfigError(_explain(fields_of(made), error.errors(include_url=False))) from None

    made.__init__ = __init__
    return cast("type[T]", made)


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Builds the settings class ``cls`` from ``mapping``; keys left out keep their defaults.

    Args:
        mapping: Plain values, as YAML gives them, or those of :func:`parse_assignments`.
        where: Dotted key of ``mapping`` itself, put before each key in errors.

    Raises:
        ConfigError: An unknown key (with the nearest known ones), a value of the wrong type or out of range, nothing
            for a key that is required.
    """
    require(isinstance(mapping, Mapping), f"{where or 'settings'}: expected a group of keys, got {mapping!r}")
    prefix, fields = f"{where}." if where else "", fields_of(cls)
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        if key not in fields:
            raise unknown_key(f"{prefix}{key}", str(key), fields)
        kind = fields[key].annotation
        # Strict pydantic takes no mapping for a class; and so each class is told its own dotted key.
        values[key] = from_mapping(kind, value, f"{prefix}{key}") if is_group(kind) else _read(kind, value)
    try:
        made = cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None
    for key in values:
        # input=$EXAMS where the shell knows no EXAMS: an empty path would be the current folder.
        if fields[key].is_required() and values[key] in ("", ()):
            raise ConfigError(f"{prefix}{key}: is required, and is empty: {fields[key].description}")
    return made


def to_mapping(settings: Any) -> dict[str, Any]:
    """The inverse of :func:`from_mapping`: plain JSON types, tuples as lists."""
    return cast("dict[str, Any]", to_jsonable_python(settings))


def digest(*parts: Any) -> str:
    """12 hexadecimal characters of the SHA-256 over the canonical JSON of ``parts`` (settings or plain values)."""
    plain = to_jsonable_python(parts)
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lines ``key: ours → theirs`` for every leaf in which two nested mappings differ."""
    sides = [flatten(ours), flatten(theirs)]
    keys = sorted(set().union(*sides))
    leaves = [(key, *(side.get(key, "(absent)") for side in sides)) for key in keys]
    return [f"{key}: {our} → {their}" for key, our, their in leaves if our != their]


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def parse_assignments(arguments: Iterable[str]) -> dict[str, Typed]:
    """``["size=[256, 128]", "crop=none"]`` → values for :func:`from_mapping`, whose types say what the text means.

    Raises:
        ConfigError: An argument that is not ``key=value``, or a key that is given twice.
    """
    mapping: dict[str, Typed] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        require(bool(equals and key), f"{argument!r}: write options as key=value")
        known = mapping.get(key, text)
        twice = f"{key}: is given twice, as {known} and as {text}; give it once, several values as {key}=[A,B]"
        require(known == text, twice)
        mapping[key] = Typed(text)
    return mapping


def fields_of(cls: type[Any]) -> dict[str, FieldInfo]:
    """Fields of a settings class by name: annotation, default, ranges, and its docstring as ``description``."""
    return cast("dict[str, FieldInfo]", cls.__pydantic_fields__)


def is_group(kind: Any) -> TypeGuard[type[Any]]:
    """Whether a field of this type is a settings class itself."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def allowed(field: FieldInfo) -> str:
    """What a field takes, for people: ``a whole number ≥ 1, or auto``."""
    return _in_words(_kinds(field.annotation, *field.metadata))


def unknown_key(key: str, part: str, known: Iterable[str]) -> ConfigError:
    """The error for a key of which ``part`` is not among the ``known``, with those that are near."""
    near = difflib.get_close_matches(part, list(known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}"
    return ConfigError(f"{key}: there is no such key; {hint}")


def unless_auto(value: T | Auto) -> T | None:
    """A key's value, None where the program chooses."""
    return None if value == "auto" else value


def require(condition: bool, message: str) -> None:
    """Raises ``ConfigError(message)`` unless ``condition`` holds; for what fields must be together."""
    if not condition:
        raise ConfigError(message)


def _kinds(annotation: Any, *limits: Any) -> list[Kind]:
    """``Annotated[int, Field(ge=0)] | Literal["all"]`` → each type with its limits, and with those of the field."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [kind for argument in arguments for kind in _kinds(argument, *limits)]
    if origin is Annotated:
        inner = [limit for a in arguments[1:] for limit in (a.metadata if isinstance(a, FieldInfo) else [a])]
        return _kinds(arguments[0], *limits, *inner)
    return [(annotation, limits)]


def _options(kinds: Iterable[Any]) -> list[Any]:
    return [option for kind in kinds if get_origin(kind) is Literal for option in get_args(kind)]


def _read(annotation: Any, value: Any) -> Any:
    """A value as pydantic's strict mode wants it for this type; what does not fit is left as it is, to be refused."""
    names = [kind for kind, _ in _kinds(annotation)]
    items = next((get_args(kind) for kind in names if get_origin(kind) is tuple), ())
    if items and isinstance(value, str) and value in _options(names):
        return str(value)  # auto, where a list could stand
    if items and isinstance(value, Typed):
        value = [Typed(item) for item in _split(value)]
    if items and isinstance(value, str):  # targets=cancer means targets=[cancer]
        value = [value] if value else []
    if items and isinstance(value, (list, tuple)):
        # Every item of our lists has the same type, so the first stands for all.
        return tuple(_read(items[0], item) for item in value)
    if not isinstance(value, str):
        # YAML reads `name: 2024` as a number.
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return str(value) if number and str in names and not {int, float} & set(names) else value
    if isinstance(value, Typed):
        if value == "null" and type(None) in names:
            return None
        if bool in names and value.lower() in _TRUTHS:
            return _TRUTHS[value.lower()]
        if int in names and _WHOLE.fullmatch(value):
            return int(value)
        value = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else str(value)
        value = next((option for option in _options(names) if str(option) == value), value)
    if float in names and isinstance(value, str):  # YAML reads 1e-3 as text
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _split(text: str) -> list[str]:
    """``[a, "b, c"]`` → its items, quotes and all; without brackets the whole text is the only one."""
    if text.startswith("[") and text.endswith("]"):
        return [item for item in _ITEM.findall(text[1:-1]) if item]
    return [text] if text else []


def _explain(fields: Mapping[str, FieldInfo], errors: list[ErrorDetails]) -> str:
    """pydantic's errors → one line on the first key: the key, what was wrong with the value, what is allowed."""
    first = errors[0]
    if first["type"] == "value_error":  # of a __post_init__, which names its keys
        return str(first["ctx"]["error"])
    name, *inner = first["loc"]
    if isinstance(name, int):  # given by position
        name = list(fields)[name]
    if name not in fields:
        return str(unknown_key(name, name, fields))
    field, value = fields[name], first["input"]
    if first["type"] == "missing" and not inner:
        return f"{name}: is required: {field.description}"
    if first["type"] in ("missing", "too_short", "too_long"):
        return f"{name}: expected {allowed(field)}, got {list(value)!r}"
    key, kinds = name, _kinds(field.annotation, *field.metadata)
    if inner and isinstance(inner[0], int):  # within a list
        key, kinds = f"{name}[{inner[0]}]", _kinds(get_args(kinds[0][0])[0])
    # Of several types that a field may have, the one whose value is merely out of range was meant.
    if any(error["type"] in _OUT_OF_RANGE for error in errors if error["loc"][:1] == first["loc"][:1]):
        limits = _limits(limit for _, found in kinds for limit in found)
        if limits.keys() in ({"ge"}, {"gt"}):
            return f"{key}: {value} is {'below' if 'ge' in limits else 'not above'} {max(limits.values()):g}"
        return f"{key}: {value} is not {_interval(limits)}"
    if first["type"] == "literal_error" and len(kinds) == 1:
        return f"{key}: {value!r} is not one of {_in_words(kinds)}"
    return f"{key}: expected {_in_words(kinds)}, got {value!r}"


def _limits(limits: Iterable[Any]) -> dict[str, Any]:
    """Lower and upper limits of a number by pydantic's names: ge, gt, le, lt."""
    names = ("ge", "gt", "le", "lt")
    return {name: getattr(limit, name) for limit in limits for name in names if hasattr(limit, name)}


def _interval(limits: Mapping[str, Any]) -> str:
    """``≥ 1``, ``> 0``, ``in [0, 1)``; empty without limits."""
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if high is None:
        return "" if low is None else f"{'≥' if 'ge' in limits else '>'} {low:g}"
    return f"in {'[' if 'ge' in limits else '('}{low:g}, {high:g}{']' if 'le' in limits else ')'}"


def _in_words(kinds: Iterable[Kind]) -> str:
    return ", or ".join(_kind_in_words(kind, limits) for kind, limits in kinds)


def _kind_in_words(kind: Any, limits: tuple[Any, ...]) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        one = _in_words(_kinds(items[0], *limits)[:1])
        if items[-1] is not ...:
            return f"a list of {len(items)} values, {one} each"
        return "a list of " + re.sub("^a (.*) number", r"\1 numbers", one)
    return f"{_NAMES.get(kind, 'settings')} {_interval(_limits(limits))}".rstrip()
