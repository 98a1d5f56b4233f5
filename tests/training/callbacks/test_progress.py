"""Plain lines of progress, as a log or a notebook shows them."""

import functools

from rsna.training.callbacks import progress
from tests.training.tiny import tiny_config, train_here


def test_every_batch_is_told_and_no_loss_before_it_is_known(tiny, capsys, monkeypatch):
    always = functools.partial(progress.PlainProgress, every_s=-1.0)
    monkeypatch.setattr(progress, "PlainProgress", always)
    train_here(tiny_config(tiny, trainer__epochs=1, trainer__progress="plain"))
    lines = [line for line in capsys.readouterr().out.splitlines() if ", batch " in line]
    assert lines[0] == f"fold 0: epoch 1/1, batch 1/{len(lines)}"
    assert len(lines) >= 2
    assert all(f", batch {number}/{len(lines)}, loss 0." in line for number, line in enumerate(lines[1:], 2))
