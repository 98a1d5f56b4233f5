"""Verbs that train, and score what was trained; jobs of a sweep, each in a run folder of its own."""

import dataclasses
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from rsna.cli.verb import speaks_for_itself, verb
from rsna.config.schema import Config
from rsna.config.settings import digest
from rsna.config.verbs import ModelsOptions, ValidateOptions

_HASHED = ("data", "folds", "preprocess")
"""Groups whose keys may change between two starts as long as the hashes stay; swept, they change them."""
_LONGEST = 80
"""Characters that swept keys add to a folder's name at most."""


class JobError(RuntimeError):
    """A job of a sweep failed; the message was printed where it ran, which may be another machine."""


@verb("train", configured=True)
def _train(arguments: Sequence[str]) -> int:
    """Train folds of an experiment, predict them out of fold, score pF1 by breast."""
    from rsna.config.compose import compose, is_sweep, read_arguments

    flags, overrides, _ = read_arguments(arguments)
    if is_sweep(flags, overrides):
        return _sweep(arguments)
    config = compose(arguments)
    # torch is imported after the command line is read: what is mistyped is said at once.
    from rsna.training.run import train

    train(config)
    return 0


def _sweep(arguments: Sequence[str]) -> int:
    """Trains the jobs of a sweep by Hydra's sweeper and launcher. One that fails is said, and the others go on."""
    from hydra.core.hydra_config import HydraConfig

    from rsna.config.compose import freeze, read_arguments, run_hydra

    flags, overrides, said = read_arguments(arguments)
    if said:
        print(said, file=sys.stderr, flush=True)

    def job(composed: Any) -> float | None:
        """One job, perhaps in a process of its own or on another machine."""
        from rsna.training.run import train

        about = HydraConfig.get()
        try:
            return train(with_own_run(freeze(composed), composed, overrides, about.overrides.task)).objective
        except Exception as error:
            message = f"job {about.job.num} ({' '.join(about.overrides.task)}) failed: {error}"
            print(f"rsna train: {message}", file=sys.stderr, flush=True)
            if not speaks_for_itself(error):
                traceback.print_exc()
            raise JobError(message) from None

    try:
        run_hydra(flags, overrides, job)
    except JobError as first:
        print(f"rsna train: the sweep is done, but not all of it; first {first}", file=sys.stderr)
        return 1
    return 0


def with_own_run(config: Config, composed: Any, given: Sequence[str], job: Sequence[str]) -> Config:
    """The configuration of a job, whose run folder is named by the keys that differ between jobs.

    Keys that a run is not bound to (``fold``, ``tracking``) leave the folder as it is: their jobs are one run. A
    ``run`` or ``name`` made of other keys (``run=runs/x-${optim.lr}``) is left as it is.

    Args:
        composed: The job's configuration before interpolations were resolved.
        given: Overrides of the command line.
        job: Overrides of this job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from rsna.runs.run_directory import FREE

    if OmegaConf.is_interpolation(composed, "run") or OmegaConf.is_interpolation(composed, "name"):
        return config
    # Balanced batches are a device's, so there its size makes the epoch.
    balanced = config.sampler.kind == "balanced"
    free = tuple(f"{key}." for key in FREE if not (balanced and key == "batch_size_per_device"))
    parser = OverridesParser.create()
    fixed = {o.key_or_group for o in parser.parse_overrides(list(given)) if not o.is_sweep_override()}
    folder, parts = config.run_dir, []
    for override in parser.parse_overrides(list(job)):
        key, value = override.key_or_group, override.get_value_element_as_str().strip("'\"")
        named = key in ("run", "name") or (key == "experiment" and f"{folder.name}-".startswith(f"{value}-"))
        named |= key in ("data", "data.name", "data.root") and not config.run  # the set's name is in the folder's
        binds = key.split(".")[0] in _HASHED or not f"{key}.".startswith(free)
        if key in fixed or named or not binds:
            continue
        plain = re.sub(r"[^\w.+]+", "_", value.strip("[]")) if re.search(r"[^\w.+-]", value) else value
        parts.append(f"{key.rpartition('.')[2]}_{plain}" + (f"_{digest(value)[:4]}" if plain != value else ""))
    if not parts:
        return config
    suffix = "-".join(parts)
    if len(suffix) > _LONGEST:
        suffix = f"{suffix[: _LONGEST - 13]}-{digest(suffix)}"
    return dataclasses.replace(config, run=str(folder.with_name(f"{folder.name}-{suffix}")))


@verb("models", ModelsOptions)
def _models(options: ModelsOptions) -> None:
    """List every EfficientNet with its weights, parameters and multiply-adds.

    rsna models
    rsna models size=[2048,1024]
    rsna models format=json
    """
    from rsna.model.catalogue import list_models

    print(list_models(options))


@verb("validate", ValidateOptions)
def _validate(options: ValidateOptions) -> None:
    """Score any run or bundle on any labelled folder, in the table of out-of-fold metrics.

    rsna validate run=runs/demo input=/other/site
    rsna validate run=b3.zip input=/other/site flip=true
    """
    from rsna.inference.validate import validate

    validate(options)
