"""`rsna browse batches=` shows the batches that training draws."""

import pytest

from rsna.cli.main import main
from rsna.config.settings import ConfigError


@pytest.mark.parametrize(("typed", "seed"), [([], 0), (["seed=3"], 3)])
def test_the_seed_is_that_of_training(typed, seed, tmp_path, monkeypatch, capsys):
    def resolve(config):
        raise ConfigError(f"batches of seed {config.seed}")

    monkeypatch.setattr("rsna.training.experiment.resolve", resolve)
    assert main(["browse", "batches=2", f"data.root={tmp_path}", f"out={tmp_path / 'out'}", *typed]) == 2
    assert f"batches of seed {seed}" in capsys.readouterr().err
