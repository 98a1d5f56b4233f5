"""By what the predictions of `benchmarks/accuracy.py` were made, and whether that has changed since."""

import functools
import json
from collections.abc import Mapping

from rsna.config.schema import Config
from rsna.config.settings import flatten, to_mapping
from rsna.runs.run_directory import FREE

FIRST = "first"
"""Key of a recipe that holds the recipe of the first stage, as JSON."""


def recipe_of(config: Config, first: Config | None = None) -> dict[str, str]:
    """Every option that the predictions depend on, and none that says where they are made; those of a first stage as
    one."""
    values = flatten(to_mapping(config))
    kept = {key: value for key, value in values.items() if not any(key == k or key.startswith(f"{k}.") for k in FREE)}
    recipe = {key: str(value) for key, value in kept.items()} | {"folds.n_folds": str(config.folds.n_folds)}
    return recipe | ({FIRST: json.dumps(recipe_of(first), sort_keys=True)} if first else {})


def same_recipe(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether they train the same; an option that did not exist then and stands at its default now changes nothing."""
    return not changes(then, now)


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What two recipes differ in, as `optim.lr was 0.001 and is 0.002`."""
    if (FIRST in then) != (FIRST in now):
        return ["one has a first stage, the other none"]
    defaults = _defaults()
    before, after = ({key: one.get(key, defaults.get(key)) for key in {*then, *now} - {FIRST}} for one in (then, now))
    found = [f"{key} was {before[key]} and is {after[key]}" for key in sorted(before) if before[key] != after[key]]
    stages = [json.loads(one[FIRST]) for one in (then, now) if FIRST in one]
    return found + ([f"first stage: {line}" for line in changes(*stages)] if stages else [])


@functools.cache
def _defaults() -> dict[str, str]:
    return recipe_of(Config())


def without_seed(recipe: Mapping[str, str]) -> dict[str, str]:
    """A recipe, of both stages, whatever the seed."""
    kept = {key: value for key, value in recipe.items() if key != "seed"}
    if FIRST in kept:
        kept[FIRST] = json.dumps(without_seed(json.loads(kept[FIRST])), sort_keys=True)
    return kept
