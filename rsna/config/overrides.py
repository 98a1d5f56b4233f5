"""One ``key=value`` for Hydra, whose grammar has numbers, lists and sweeps of its own, read by the type of its key."""

import re
from typing import Any, Literal, get_args, get_origin

from rsna.config.settings import ConfigError

_NO_TEXT = re.compile(r"[+-]?[\d._]*\d[\d._]*(e[+-]?\d+)?|[+-]?inf|nan|true|false", re.IGNORECASE)
"""What Hydra takes for a number or a truth."""
_ITEM = re.compile(r"'[^']*'|\"[^\"]*\"|[^\[\],\s][^\[\],]*")
"""A value, an item of a list, or one choice of a sweep; quoted as a whole or not at all."""


def fit_override(argument: str, kind: Any) -> str:
    """The override as Hydra must be given it: to Hydra ``name=1.50`` is 1.5, so numbers are quoted where text is meant.

    Args:
        argument: ``key=value``.
        kind: Type of the key.

    Raises:
        ConfigError: A value that Hydra cannot read unless it is quoted.
    """
    _check_grammar(argument, kind)
    key, _, value = argument.partition("=")
    return f"{key}={_ITEM.sub(_as_text, value)}" if _is_text(kind) else argument


def _as_text(item: re.Match[str]) -> str:
    bare = item[0].rstrip()
    return f"'{bare}'" if _NO_TEXT.fullmatch(bare) else item[0]


def _check_grammar(argument: str, kind: Any) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(argument)
    except HydraException as error:
        if not _is_text(kind):
            raise ConfigError(f"{argument}: Hydra cannot read this value: {str(error).splitlines()[0]}") from None
        key, _, value = argument.partition("=")
        listed = get_args(kind) == (str, ...)
        items = [_in_quotes(item) for item in (value.strip("[]").split(",") if listed else [value])]
        quoted = f"[{','.join(items)}]" if listed else items[0]
        raise ConfigError(
            f"{argument}: blanks and signs in this value mean something to Hydra; put it into two pairs of quotes, "
            f"the outer one for the shell: '{key}={quoted}'"
        ) from None


def _in_quotes(text: str) -> str:
    bare = text.strip(" '\"")
    return f'"{bare}"'


def _is_text(kind: Any) -> bool:
    """Whether the type is text, a list of it, or a choice among words."""
    options = get_args(kind)
    choice = get_origin(kind) is Literal and all(isinstance(option, str) for option in options)
    return kind is str or options == (str, ...) or choice
