"""The loss of an epoch is the mean over its batches on all ranks, also where a checkpoint cut it in two."""

import os
import socket
from types import SimpleNamespace

import pytest
import torch

from rsna.training import ranks
from rsna.training.callbacks.watch import LossWatch
from tests.training.tiny import PROCESSES

LOSSES = ([0.5, 0.25, 1.0, 0.75], [2.0, 1.5, 3.0, 4.0])
"""Of two ranks, by batch."""


def see(watch: LossWatch, losses: list[float]) -> None:
    run = SimpleNamespace(accumulate_grad_batches=1, device=torch.device("cpu"))
    for loss in losses:
        watch.on_train_batch_end(run, run, {"loss": torch.tensor(loss)}, {"index": torch.zeros(1)}, 0)
    watch.read(run)


def cut_epoch(rank: int, port: int, answers) -> None:
    """A rank that sees three batches, goes on from what the first one saved, and sees the last."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with ranks.joined():
        before, behind = LossWatch(0), LossWatch(0)
        see(before, LOSSES[rank][:3])
        saved = [before.state_dict()]
        torch.distributed.broadcast_object_list(saved, src=0)
        behind.load_state_dict(saved[0])
        see(behind, LOSSES[rank][3:])
        answers.put(behind.mean(SimpleNamespace()))


def test_ranks_that_go_on_within_an_epoch_have_its_mean_loss():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    answers = PROCESSES.Queue()
    processes = [PROCESSES.Process(target=cut_epoch, args=(rank, port, answers)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(300)
    assert found == [pytest.approx(sum(map(sum, LOSSES)) / 8)] * 2
