"""The ranks of a run that torchrun started: who is first, and who waits for whom."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

PATIENCE = timedelta(days=1)
"""How long ranks wait for the first one, which prepares all images before training and predicts afterwards. A rank
that dies ends the wait at once: torchrun ends the others."""


def rank() -> int:
    """Number of this process among all machines' processes; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Processes over all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Processes on this machine, which share its cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_rank() -> bool:
    """Whether this process speaks and writes: the only one, or rank 0 of torchrun's."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Connects torchrun's processes for as long as the block lasts; does nothing for a single process."""
    if world_size() == 1:
        yield
        return
    import torch
    import torch.distributed

    if torch.distributed.is_initialized():
        yield
        return
    # Both: tensors of the GPU go through NCCL, objects through gloo. Lightning takes the group that it finds.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    yield
    # Not on an error: the others would be waited for, and torchrun ends them anyway.
    torch.distributed.destroy_process_group()


def any_rank(answer: bool) -> bool:
    """Whether any rank says yes; each asks at the same step, and gets the same answer."""
    if world_size() == 1:
        return answer
    import torch
    import torch.distributed

    if not torch.distributed.is_initialized():
        return answer
    said = torch.tensor(int(answer))  # on the CPU: gloo carries it, and no GPU is waited for
    torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
    return bool(said)


def mean(value: float) -> float:
    """The mean of every rank's value; each asks at the same step, and gets the same answer."""
    if world_size() == 1:
        return value
    import torch
    import torch.distributed

    if not torch.distributed.is_initialized():
        return value
    total = torch.tensor(value, dtype=torch.float64)  # on the CPU, as above
    torch.distributed.all_reduce(total)
    return float(total) / world_size()


def wait_for_first() -> None:
    """Every rank goes on once all have come here, so what the first one did before is done."""
    if world_size() == 1:
        return
    import torch
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list([None], src=0, device=torch.device("cpu"))
