"""Verbs that train."""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

from rsna.cli.verb import speaks_for_itself, verb
from rsna.config.verbs import ModelsOptions, ValidateOptions


class JobError(RuntimeError):
    """A job of a sweep failed; the message was printed where it ran, which may be another machine."""


@verb("train", configured=True)
def _train(arguments: Sequence[str]) -> int:
    """Train folds of an experiment, predict them out of fold, score pF1 by breast."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from rsna.cli.sweep import with_own_run
    from rsna.config.compose import freeze, read_arguments, run_hydra

    flags, overrides, said = read_arguments(arguments)
    # torch is imported after the command line is read: what is mistyped is said at once.
    from rsna.training.ranks import is_first_rank
    from rsna.training.run import train

    if said and is_first_rank():
        print(said, file=sys.stderr, flush=True)
    failed: list[Exception] = []

    def job(composed: Any) -> float | None:
        """One job; of a sweep perhaps in a process of its own."""
        about = HydraConfig.get()
        swept = about.mode == RunMode.MULTIRUN
        try:
            config = freeze(composed)
            if swept:
                config = with_own_run(config, composed, overrides, about.overrides.task)
            return train(config).objective
        except Exception as error:
            if not swept:
                failed.append(error)  # raised below; Hydra would add words of its own
                return None
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
    if failed:
        raise failed[0]
    return 0


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
