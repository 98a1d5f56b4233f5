"""What is said where shards are missing: how much, which, and the commands that give it."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rsna.cluster.script import ranges
from rsna.config.settings import fields_of
from rsna.config.shard import IncompleteError

_SHOWN = 20
"""Commands that are printed before they are only counted."""


def say_incomplete(error: IncompleteError, verb: str, arguments: Sequence[str]) -> int:
    """Says why nothing was merged, and on standard output the commands to run; returns the exit code.

    Args:
        error: Names the shards; without any, the verb does everything itself.
        verb: The verb that does a shard.
        arguments: What the merge was given.
    """
    missing = ranges([shard.number for shard in error.shards])
    where = f"; shards {missing} of {error.shards[0].count}" if error.shards else ""
    print(f"rsna {verb} merge: {error}{where}. Nothing is merged; run, then merge again:", file=sys.stderr)
    parts = [f"shard={shard}" for shard in error.shards] or [""]
    for part in parts[:_SHOWN]:
        print(shlex.join(["rsna", verb, *([part] if part else []), *arguments]))
    if len(parts) > _SHOWN:
        print(f"and {len(parts) - _SHOWN:,} more", file=sys.stderr)
    return 1


def to_arguments(options: Any) -> list[str]:
    """Options as they are typed, those left out that have their defaults."""
    fields = fields_of(type(options))
    given = {key: getattr(options, key) for key in fields if getattr(options, key) != fields[key].default}
    return [f"{key}={_typed(value)}" for key, value in given.items()]


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        items = [f'"{item}"' if "," in str(item) else str(item) for item in value]
        return items[0] if len(items) == 1 else f"[{','.join(items)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
