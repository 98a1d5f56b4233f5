"""Rows of history.csv, whose seconds are those of every start of a fold."""

from types import SimpleNamespace

import pytest

from rsna.config.schema import Config
from rsna.training.callbacks import history
from rsna.training.callbacks.history import History, seconds_of_epochs


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the start, set by the test."""
    now = SimpleNamespace(value=0.0)
    stopped = SimpleNamespace(perf_counter=lambda: 1000.0 + now.value, monotonic=lambda: 0.0)
    monkeypatch.setattr(history, "time", stopped)
    return now


def a_start(folder):
    """History without a picture, and the trainer and module that it asks."""
    watch = SimpleNamespace(mean=lambda trainer: 0.5)
    made = History(folder, watch, SimpleNamespace(seconds=0.0), Config())
    made._drawn = 0.0
    return made, SimpleNamespace(callback_metrics={}, global_step=4, is_global_zero=True, world_size=1)


def test_the_seconds_of_an_epoch_that_was_resumed_are_those_of_both_starts(tmp_path, clock):
    module, batch = SimpleNamespace(last_lr=0.1), {"images": [0] * 8}
    first, trainer = a_start(tmp_path)
    first.on_train_epoch_start(trainer, module)
    clock.value = 10.0
    first.on_train_epoch_end(trainer, module)
    clock.value = 11.0  # its checkpoint is written
    first.on_train_epoch_start(trainer, module)
    clock.value = 18.0
    saved = first.state_dict()
    clock.value = 500.0  # it was killed, and is started again

    second, trainer = a_start(tmp_path)
    second.load_state_dict(saved)
    second.on_train_batch_start(trainer, module, batch, 1)  # within the epoch
    clock.value = 502.0
    second.on_train_batch_end(trainer, module, None, batch, 1)
    clock.value = 503.0
    second.on_train_epoch_end(trainer, module)
    assert [row["seconds"] for row in second.rows] == [10.0, 7.0 + 3.0]
    assert second.rows[1]["images_per_s"] == 4.0  # of the start that it was measured in
    assert seconds_of_epochs(tmp_path) == 20.0


def test_a_fold_that_lost_its_history_does_not_say_how_long_it_took(tmp_path):
    assert seconds_of_epochs(tmp_path) is None
