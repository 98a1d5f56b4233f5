"""Verbs that train."""

import sys
from collections.abc import Sequence

from rsna.cli.verb import ConfiguredVerb


def _train(arguments: Sequence[str], _: None) -> int:
    import hydra
    from omegaconf import DictConfig

    from rsna.config import check_overrides, conf_dir, freeze, register_schema, resolve_overrides
    from rsna.training.hardware import is_first_rank

    overrides, said = resolve_overrides(arguments)
    check_overrides(overrides)
    register_schema()

    def run(composed: DictConfig) -> None:
        from rsna.training.run import train

        config = freeze(composed)
        if said and is_first_rank():
            print(said, flush=True)
        train(config)

    # Hydra reads the command line itself: -m, --help, --cfg and the rest are its own.
    sys.argv = ["train.py", *overrides]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()
    return 0


VERBS = (
    ConfiguredVerb(
        "train",
        "Train folds of an experiment, predict them out of fold, score pF1 by breast.",
        _train,
        examples=("rsna train fold=0", "rsna train experiment=demo fold=all", "rsna train -m fold=0,1"),
    ),
)
