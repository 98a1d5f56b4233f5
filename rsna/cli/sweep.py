"""Jobs of a sweep: each in a run folder of its own."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from rsna.config.schema import Config
from rsna.config.settings import digest
from rsna.runs.run_directory import FREE

_HASHED = ("data", "folds", "preprocess")
"""Groups whose keys may change between two starts as long as the hashes stay; swept, they change them."""
_LONGEST = 80
"""Characters that swept keys add to a folder's name at most."""


def with_own_run(config: Config, composed: Any, given: Sequence[str], job: Sequence[str]) -> Config:
    """The configuration of a job, whose run folder is named by the keys that differ between jobs.

    Keys that a run is not bound to (``fold``, ``tracking``) leave the folder as it is: their jobs are one run. A
    ``run`` or ``name`` made of other keys (``run=runs/x-${optim.lr}``) is left as it is.

    Args:
        config: Of the job.
        composed: The same before interpolations were resolved.
        given: Overrides of the command line.
        job: Overrides of this job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    if OmegaConf.is_interpolation(composed, "run") or OmegaConf.is_interpolation(composed, "name"):
        return config
    parser = OverridesParser.create()
    fixed = {o.key_or_group for o in parser.parse_overrides(list(given)) if not o.is_sweep_override()}
    folder, parts = config.run_dir, []
    for override in parser.parse_overrides(list(job)):
        key, value = override.key_or_group, override.get_value_element_as_str().strip("'\"")
        named = key in ("run", "name") or (key == "experiment" and value in folder.name)
        named |= key in ("data", "data.name", "data.root") and not config.run  # the set's name is in the folder's
        if key in fixed or named or not _binds(key, config):
            continue
        plain = re.sub(r"[^\w.+]+", "_", value.strip("[]")) if re.search(r"[^\w.+-]", value) else value
        parts.append(f"{key.rpartition('.')[2]}_{plain}" + (f"_{digest(value)[:4]}" if plain != value else ""))
    if not parts:
        return config
    suffix = "-".join(parts)
    if len(suffix) > _LONGEST:
        suffix = f"{suffix[: _LONGEST - 13]}-{digest(suffix)}"
    return dataclasses.replace(config, run=str(folder.with_name(f"{folder.name}-{suffix}")))


def _binds(key: str, config: Config) -> bool:
    if key.split(".")[0] in _HASHED:
        return True
    if key == "batch_size_per_device" and config.sampler.kind == "balanced":
        return True  # balanced batches are a device's, so its size makes the epoch
    return not any(key == free or key.startswith(f"{free}.") for free in FREE)
