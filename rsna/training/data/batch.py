"""devices × examples per device × accumulation = global batch, exactly."""

from dataclasses import dataclass

from rsna.config.settings import ConfigError

SPREAD = {"machine_id": "machine_id", "site_id": "site_id", "set": "source_set"}
"""sampler.spread → the column whose values every batch mixes."""


@dataclass(frozen=True)
class BatchPlan:
    """How an optimiser step is made up."""

    devices: int
    """Ranks over all machines."""
    per_device: int
    """Examples per rank and forward pass."""
    accumulate: int
    """Forward passes per optimiser step."""

    def __str__(self) -> str:
        total = self.devices * self.per_device * self.accumulate
        return f"{total} examples a step = {self.devices} device(s) × {self.per_device} × {self.accumulate} accumulated"


def plan_batch(global_batch_size: int, per_device: int, devices: int) -> BatchPlan:
    """Spreads the global batch over devices and accumulation.

    Raises:
        ConfigError: It cannot be done exactly; names numbers that work.
    """
    step = devices * min(per_device, global_batch_size)
    if global_batch_size % step:
        works = [b for b in range(1, global_batch_size + 1) if global_batch_size % (b * devices) == 0]
        if works:
            mend = f"batch_size_per_device can be {', '.join(map(str, works))}"
        else:
            counts = [d for d in range(1, global_batch_size + 1) if global_batch_size % d == 0]
            mend = f"trainer.devices can be {', '.join(map(str, counts))}"
        raise ConfigError(
            f"global_batch_size: {global_batch_size} is no multiple of {devices} device(s) × "
            f"batch_size_per_device={per_device}; {mend}"
        )
    return BatchPlan(devices, min(per_device, global_batch_size), global_batch_size // step)
