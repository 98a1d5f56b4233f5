"""Verbs that train."""

import sys
from collections.abc import Sequence

from rsna.cli.verb import ConfiguredVerb, Verb
from rsna.config.verbs import ModelsOptions, ValidateOptions


class _Carried(BaseException):
    """Carries an error past Hydra, which would turn any Exception into a traceback of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _train(arguments: Sequence[str], _: None) -> int:
    import hydra
    from omegaconf import DictConfig

    from rsna.config.compose import check_overrides, conf_dir, freeze, register_schema, resolve_overrides
    from rsna.training.ranks import is_first_rank

    overrides, said = resolve_overrides(arguments)
    overrides = check_overrides(overrides)
    register_schema()

    def run(composed: DictConfig) -> None:
        from rsna.training.run import train

        try:
            config = freeze(composed)
            if said and is_first_rank():
                print(said, flush=True)
            train(config)
        except Exception as error:
            raise _Carried(error) from error

    # Hydra reads the command line itself: -m, --help, --cfg and the rest are its own. It wants overrides in one row.
    flags = [argument for argument in overrides if argument.startswith("-") or not _is_override(argument)]
    sys.argv = ["train.py", *(argument for argument in overrides if argument not in flags), *flags]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()
    except _Carried as carried:
        raise carried.error from None
    return 0


def _is_override(argument: str) -> bool:
    return "=" in argument or argument.startswith("~")


def _models(options: ModelsOptions) -> int:
    from rsna.model.listing import list_models

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
        examples=("rsna train fold=0", "rsna train experiment=demo fold=all", "rsna train -m fold=0,1"),
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
        "Score any run or bundle on any labelled folder, in the table of out-of-fold figures.",
        ValidateOptions,
        _validate,
        ("rsna validate run=runs/demo input=/other/site", "rsna validate run=b3.zip input=/other/site flip=true"),
    ),
)
