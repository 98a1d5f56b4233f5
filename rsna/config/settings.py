"""Settings: frozen dataclasses, built from plain mappings with errors that name key, value and what is allowed.

Every room describes its options as a frozen dataclass whose fields carry a docstring each. Configuration files, command
lines and bundles all arrive here as plain mappings, so that a value is checked in one place, in the same words.
"""

import ast
import contextlib
import dataclasses
import difflib
import enum
import hashlib
import inspect
import json
import math
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""How true and false are typed."""
_ITEM = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,]*?)\s*(?:,|$)""")
"""One item of a typed list; a comma within quotes does not end it."""


class ConfigError(ValueError):
    """A key that does not exist, or a value that is not allowed. The message names key, value and what is."""


class Typed(str):
    """A value as it was typed on a command line: the type of its field decides what it means, so `0010` stays an id."""


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Builds the frozen dataclass ``cls`` from ``mapping``; keys left out keep their defaults.

    Args:
        cls: A dataclass; nested dataclasses, ``Literal``, ``X | None``, tuples and scalars as field types.
        mapping: Plain values, as YAML gives them, or those of :func:`parse_assignments`.
        where: Dotted key of ``mapping`` itself, put before each key in errors.

    Raises:
        ConfigError: An unknown key (with the nearest known ones), a value of the wrong type or out of range.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        dotted = f"{where}.{key}" if where else str(key)
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"{dotted}: there is no such key; {hint}")
        values[key] = _convert(hints[key], value, dotted)
    missing = [
        name
        for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        prefix = f"{where}." if where else ""
        raise ConfigError(f"{prefix}{missing[0]}: is required: {field_docs(cls).get(missing[0], '')}".rstrip(": "))
    try:
        return cls(**values)
    except ConfigError as error:
        # A dataclass names its own fields only; the reader needs the whole key.
        raise ConfigError(f"{where}.{error}" if where else str(error)) from None


def to_mapping(settings: Any) -> dict[str, Any]:
    """The inverse of :func:`from_mapping`: plain JSON types, tuples as lists, enums and paths as strings."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings) if f.init}


def digest(*parts: Any) -> str:
    """12 hexadecimal characters of the SHA-256 over the canonical JSON of ``parts`` (settings or plain values)."""
    canonical = json.dumps([_plain(part) for part in parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lines ``key: ours → theirs`` for every leaf in which two nested mappings differ."""
    flat_ours, flat_theirs = flatten(ours), flatten(theirs)
    absent = "(absent)"
    return [
        f"{key}: {flat_ours.get(key, absent)} → {flat_theirs.get(key, absent)}"
        for key in sorted(flat_ours.keys() | flat_theirs.keys())
        if flat_ours.get(key, absent) != flat_theirs.get(key, absent)
    ]


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def parse_assignments(arguments: list[str]) -> dict[str, Any]:
    """``["size=[256, 128]", "crop=none"]`` → nested :class:`Typed` values for :func:`from_mapping`; dotted keys nest.

    Raises:
        ConfigError: An argument that is not ``key=value``.
    """
    mapping: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"{argument!r}: write options as key=value")
        target = mapping
        *parents, leaf = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            require(isinstance(target, dict), f"{key}: {parent} was given a value already, so it has no keys")
        target[leaf] = Typed(text)
    return mapping


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Docstrings that stand under the fields of a dataclass, by field; they are what ``--help`` prints."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                docs[node.target.id] = " ".join(after.value.value.split())
    return docs


def describe(cls: type[Any]) -> str:
    """One line ``key=default  what it is`` for every field of a dataclass, for ``--help``."""
    docs = field_docs(cls)
    rows = []
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            default = json.dumps(_plain(f.default)).strip('"')
        elif f.default_factory is not dataclasses.MISSING:
            default = json.dumps(_plain(f.default_factory())).strip('"')
        else:
            default = "…"
        rows.append((f"{f.name}={default}", docs.get(f.name, "")))
    width = min(max(len(key) for key, _ in rows), 36) if rows else 0
    return "\n".join(f"  {key:<{width}}  {doc}".rstrip() for key, doc in rows)


def require(condition: bool, message: str) -> None:
    """Raises ``ConfigError(message)`` unless ``condition`` holds; for range checks in ``__post_init__``."""
    if not condition:
        raise ConfigError(message)


def _read_typed(hint: Any, text: Typed) -> Any:
    """What was typed → the plain value that a field of this type takes; text stays as it is, without quotes around."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if text == "null" and type(None) in arguments else text
    if origin is tuple:
        return [Typed(item) for item in _split(text)]
    if hint is bool:
        return _TRUTHS.get(text.lower(), str(text))
    if hint is int:
        try:
            return int(text)
        except ValueError:
            return str(text)
    plain = str(text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text)
    if origin is typing.Literal:
        return next((allowed for allowed in arguments if str(allowed) == plain), plain)
    return plain


def _split(text: str) -> list[str]:
    """``[a, "b, c"]`` → its items, quotes and all; without brackets the whole text is the only one."""
    if text.startswith("[") and text.endswith("]"):
        return [item for item in _ITEM.findall(text[1:-1]) if item]
    return [text] if text else []


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, Typed):
        value = _read_typed(hint, value)
    if hint is Any:
        return value
    if origin is typing.Literal:
        if not any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is dict:
        _expect(isinstance(value, Mapping), "a mapping", value, where)
        return {str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        _expect(isinstance(value, Mapping), "a group of keys", value, where)
        return from_mapping(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    errors = []
    for argument in (a for a in arguments if a is not type(None)):
        try:
            return _convert(argument, value, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(errors[0] if len(errors) == 1 else " / ".join(errors))


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) and arguments[-1] is Ellipsis and arguments[0] is str:
        value = [value] if value else []  # targets=cancer means targets=[cancer]
    _expect(isinstance(value, (list, tuple)), "a list", value, where)
    if arguments[-1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    _expect(len(value) == len(arguments), f"a list of {len(arguments)} values", value, where)
    return tuple(_convert(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool:
        _expect(isinstance(value, bool), "true or false", value, where)
        return value
    if hint is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), "a whole number", value, where)
        return value
    if hint is float:
        if isinstance(value, str):  # YAML reads 1e-3 as text
            with contextlib.suppress(ValueError):
                value = float(value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        _expect(number, "a finite number", value, where)
        return float(value)
    if hint is str:
        _expect(isinstance(value, (str, int, float)) and not isinstance(value, bool), "text", value, where)
        return str(value)
    if hint is Path:
        _expect(isinstance(value, (str, Path)), "a path", value, where)
        return Path(value)
    raise TypeError(f"{where}: settings cannot hold a {hint}")


def _expect(condition: bool, what: str, value: Any, where: str) -> None:
    if not condition:
        raise ConfigError(f"{where}: expected {what}, got {value!r}")
