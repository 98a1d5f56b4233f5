"""Which runs of a ranking are shown, and in what order; what they are ranked and compared by stays as it is."""

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rsna.board.leaderboard import Group, Member, Place
from rsna.board.ranking import row
from rsna.config.settings import ConfigError, flatten, to_mapping
from rsna.evaluation.metrics import METRICS
from rsna.runs.errors import RunError
from rsna.runs.run import Run

_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|>=|<=|=|>|<)\s*(?![=<>])(.*?)\s*")
_BIG_IS_BEST = ("public", "private", "folds_done", "n_folds")
"""Values beside metrics that the best run has most of."""


@dataclass(frozen=True)
class Condition:
    """`backbone=*b3*`, `model.drop_rate>0.2`: one that every run shown fulfils."""

    name: str
    """A key of :func:`rsna.board.ranking.row`, or of the configuration."""
    sign: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value}"

    @property
    def orders(self) -> bool:
        """Whether it compares numbers by their size."""
        return self.sign not in ("=", "!=")

    def holds(self, found: Any) -> bool:
        """Whether a run's value fulfils it: numbers as numbers, text by case-insensitive patterns (`*`, `?`)."""
        typed, own = _number(self.value), _number(found)
        if not self.orders:
            equal = own == typed if typed is not None and own is not None else _matches(_text(found), self.value)
            return equal == (self.sign == "=")
        if own is None or typed is None:
            return False
        return {">": own > typed, "<": own < typed, ">=": own >= typed, "<=": own <= typed}[self.sign]


@dataclass(frozen=True)
class Choice:
    """Order and conditions of the runs that are shown."""

    sort: str = "rank"
    """Key that they are in the order of, the best first where it is a metric; a minus before it turns that round."""
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, sort: str, filters: Sequence[str]) -> "Choice":
        """From what was typed.

        Raises:
            ConfigError: A filter that is no condition, or compares with what is no number.
        """
        found = [_CONDITION.fullmatch(text) for text in filters]
        for text, match in zip(filters, found, strict=True):
            if match is None:
                raise ConfigError(
                    f"filter: {text!r}: write NAME=VALUE, such as backbone=*b3*; also !=, >, <, >=, <=, and these in "
                    "quotes, since a shell writes into a file at >"
                )
        conditions = tuple(Condition(*match.groups()) for match in found if match)
        for one in conditions:
            if one.orders and (_number(one.value) is None or math.isnan(float(one.value))):
                raise ConfigError(f"filter: {one}: {one.value!r} is no number, and {one.sign} compares numbers")
        return cls(sort, conditions)

    def check(self, runs: Sequence[Run]) -> None:
        """Refuses names that no run knows, ahead of the work of ranking.

        Raises:
            ConfigError: sort= or a filter names neither a column nor a key of the configuration, or a filter compares
                one that is no number.
        """
        alone = [Place((Member(run, run.evaluate),), None, "not compared") for run in runs]
        values = [_values(_empty(place.run), place) for place in alone]
        known = sorted({name for one in values for name in one})
        asked = {"sort": [self.sort.removeprefix("-")], "filter": [one.name for one in self.conditions]}
        for key, name in ((key, name) for key, names in asked.items() for name in names if name not in known):
            near = difflib.get_close_matches(name, known, n=3)
            columns = ", ".join(name for name in known if "." not in name)
            hint = f"did you mean {', '.join(near)}?" if near else f"columns: {columns}"
            raise ConfigError(f"{key}: {name!r} is neither a column nor a key of the configuration; {hint}")
        for one in self.conditions:
            found = [value[one.name] for value in values if value.get(one.name) is not None]
            if one.orders and found and all(_number(value) is None for value in found):
                raise ConfigError(
                    f"filter: {one}: {one.name} is no number, as in {_text(found[0])!r}, and {one.sign} compares "
                    "numbers; write = or !="
                )

    def places(self, group: Group) -> tuple[Place, ...]:
        """Those of a group that are shown, in their order; what lacks the value that they are sorted by stands last."""
        values = {id(place): _values(group, place) for place in group.places}
        chosen = [
            place
            for place in group.places
            if any(
                all(one.holds(known.get(one.name)) for one in self.conditions) for known in _of_members(group, place)
            )
        ]
        if self.sort == "rank":
            return tuple(chosen)
        name = self.sort.removeprefix("-")
        falling = most_is_best(name) != self.sort.startswith("-")
        there = [place for place in chosen if values[id(place)].get(name) is not None]
        there.sort(key=lambda place: _order(values[id(place)][name]), reverse=falling)
        return (*there, *(place for place in chosen if values[id(place)].get(name) is None))

    def settings(self, places: Sequence[Place]) -> tuple[str, ...]:
        """Keys of the configuration among what is asked for: whoever asks for them wants to see them."""
        names = dict.fromkeys([self.sort.removeprefix("-"), *(one.name for one in self.conditions)])
        columns = {"name", *(key for place in places[:1] for key in row(_empty(place.run), place))}
        return tuple(name for name in names if name not in columns)

    def remark(self, group: Group) -> str:
        """That not all of a group is shown; empty where all of it is."""
        shown = len(self.places(group))
        if shown == len(group.places):
            return ""
        said = ", ".join(map(str, self.conditions))
        return f"shown are {shown} of {len(group.places)} runs ({said}); ranks, leader and p are those of all of them"

    def require_some(self, groups: Sequence[Group]) -> None:
        """RunError where the conditions leave no run: what there is instead is said."""
        if not any(self.places(group) for group in groups):
            name = self.conditions[0].name
            there = {
                _text(known.get(name))
                for group in groups
                for place in group.places
                for known in _of_members(group, place)
            }
            said = ", ".join(map(str, self.conditions))
            raise RunError(f"no run has {said}; {name} is {' or '.join(sorted(there))}")


def setting(place: Place, name: str) -> str:
    """A key of the configuration, in words; each value once, where seeds or names of its runs differ."""
    return ", ".join(dict.fromkeys(_text(flatten(to_mapping(run.config)).get(name)) for run in place.runs))


def _empty(run: Run) -> Group:
    return Group(run.comparable, run.record.data.name, run.record.data.sampling, (), run.record.data.simulated)


def _values(group: Group, place: Place) -> dict[str, Any]:
    """Name → value of every column and every key of the configuration."""
    return flatten(to_mapping(place.run.config)) | row(group, place) | {"name": place.run.name}


def _of_members(group: Group, place: Place) -> Iterator[dict[str, Any]]:
    """The same as each of its runs has them: one of several seeds is found by its own seed and name, too."""
    own = _values(group, place)
    yield own
    for run in place.runs[1:]:
        yield own | flatten(to_mapping(run.config)) | {"run": str(run.path), "name": run.name}


def most_is_best(name: str) -> bool:
    """Whether the best run has most of it; the ends of a metric's interval are in the order of the metric."""
    metric = METRICS.get(re.sub("_(low|high)$", "", name))
    return not metric.low_is_best if metric else name.rpartition(".")[2] in _BIG_IS_BEST


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """As a filter names it: what a message lists may be typed."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _matches(words: str, pattern: str) -> bool:
    # × is not on every keyboard.
    plain = [text.lower().replace("×", "x") for text in (words, pattern)]
    return fnmatchcase(*plain)


def _order(value: Any) -> tuple[int, float, str]:
    number = _number(value)
    return (1, 0.0, _text(value).lower()) if number is None else (0, number, "")
