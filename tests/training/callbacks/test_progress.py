"""The clock of a fold: every batch counts, and at the end none is left."""

import re
from functools import partial

import pytest

from rsna.parallel.progress import Progress
from rsna.training.callbacks import progress
from tests.training.tiny import die_at_step, tiny_config, train_here


class Told(Progress):
    """Keeps what could have been shown after each batch."""

    def __init__(self, told, what, **more):
        super().__init__(what, **more)
        self.told = told

    def step(self, count=1, failed=0):
        super().step(count, failed)
        self.told.append((self.done, self.total, self.note))


@pytest.fixture
def told(monkeypatch):
    found = []
    monkeypatch.setattr(progress, "Progress", partial(Told, found))
    return found


def test_every_batch_counts_and_no_loss_is_told_before_it_is_known(tiny, told, capsys):
    train_here(tiny_config(tiny, trainer__epochs=2, trainer__progress="auto"))
    done, totals, notes = zip(*told, strict=True)
    assert done == tuple(range(1, totals[0] + 1))
    assert set(totals) == {len(told)}
    assert notes[0] == "epoch 1/2"
    assert all(re.fullmatch(r"epoch [12]/2, (loss \d\.\d{4}|validates)", note) for note in notes[1:])
    assert notes[-1] == "epoch 2/2, validates"
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("fold 0: epoch ")]) == 2


def test_resumed_within_an_epoch_what_is_left_is_counted(tiny, told):
    config = tiny_config(tiny, trainer__epochs=2, trainer__progress="auto", trainer__checkpoint_every_steps=1)
    die_at_step(config, 1)
    train_here(config)
    done, totals, _ = zip(*told, strict=True)
    assert (done[-1], set(totals)) == (totals[-1], {len(told)})


def test_nothing_is_printed_where_nobody_wants_it(tiny, capsys):
    train_here(tiny_config(tiny, trainer__epochs=1, trainer__progress="none"))
    assert "epoch 1/1," not in capsys.readouterr().out
