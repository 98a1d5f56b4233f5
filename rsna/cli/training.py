"""Verbs that train."""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

from rsna.cli.verb import ConfiguredVerb, Verb, speaks_for_itself
from rsna.config.verbs import ModelsOptions, ValidateOptions


class JobError(RuntimeError):
    """A job of a sweep failed; the message was printed where it ran, which may be another machine."""


def _train(arguments: Sequence[str], own: None) -> int:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from rsna.config.compose import read_arguments, run_hydra
    from rsna.training.ranks import is_first_rank

    flags, overrides, said = read_arguments(arguments)
    if said and is_first_rank():
        print(said, file=sys.stderr, flush=True)
    failed: list[Exception] = []

    def job(composed: Any) -> float | None:
        """One job; of a sweep perhaps in a process of its own."""
        about = HydraConfig.get()
        if about.mode != RunMode.MULTIRUN:
            try:
                return _train_composed(composed)
            except Exception as error:
                failed.append(error)  # raised below; Hydra would add words of its own
                return None
        try:
            return _train_composed(composed, overrides, about.overrides.task)
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
    if failed:
        raise failed[0]
    return 0


def _train_composed(composed: Any, given: Sequence[str] = (), job: Sequence[str] = ()) -> float | None:
    """Trains a composed configuration, as a job of a sweep if there are overrides of its own; returns the objective."""
    from rsna.cli.sweep import with_own_run
    from rsna.config.compose import freeze
    from rsna.training.run import train

    config = freeze(composed)
    if job:
        config = with_own_run(config, composed, given, job)
    return train(config).objective


def _train_help() -> str:
    from rsna.config.reference import train_help

    return train_help()


def _models(options: ModelsOptions) -> int:
    from rsna.model.catalogue import list_models

    print(list_models(options))
    return 0


def _validate(options: ValidateOptions) -> int:
    from rsna.inference.validate import validate

    validate(options)
    return 0


VERBS: tuple[Verb | ConfiguredVerb, ...] = (
    ConfiguredVerb(
        "train",
        "Train folds of an experiment, predict them out of fold, score pF1 by breast.",
        _train,
        page=_train_help,
    ),
    Verb(
        "models",
        "List every EfficientNet with its weights, parameters and multiply-adds.",
        ModelsOptions,
        _models,
        ("rsna models", "rsna models size=[2048,1024]", "rsna models format=json"),
    ),
    Verb(
        "validate",
        "Score any run or bundle on any labelled folder, in the table of out-of-fold metrics.",
        ValidateOptions,
        _validate,
        ("rsna validate run=runs/demo input=/other/site", "rsna validate run=b3.zip input=/other/site flip=true"),
    ),
)
