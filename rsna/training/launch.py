"""Starts the ranks of a fold: in this process where there is one, under torchrun where there are more."""

import os
import subprocess
import sys
from pathlib import Path

from rsna.config import Config
from rsna.dataset.pool import available_cores
from rsna.training.batch import plan_batch
from rsna.training.fit import fit_fold
from rsna.training.fold_data import FoldData
from rsna.training.hardware import choose_accelerator, choose_devices
from rsna.training.run_directory import write_config


class TrainingError(RuntimeError):
    """Training ended without weights; the ranks' own words stand above."""


def launch_fold(config: Config, fold: int, folder: Path, data: FoldData) -> None:
    """Trains a fold on the devices that the configuration asks for.

    Several ranks are processes of their own, started by torchrun, which ends all of them when one dies. What they
    need to know lies in a file: a rank that works out paths for itself can work out others.

    Raises:
        ConfigError: The batch cannot be spread over the devices.
        TrainingError: A rank died.
    """
    if "RANK" in os.environ:  # the user's own torchrun, over one machine or several
        fit_fold(config, fold, folder, data)
        return
    accelerator = choose_accelerator(config.trainer)
    devices = choose_devices(config.trainer, accelerator, config.global_batch_size)
    if devices == 1:
        fit_fold(config, fold, folder, data)
        return
    plan_batch(config.global_batch_size, config.batch_size_per_device, devices)  # ahead of starting anything
    write_config(config, folder / "config.yaml")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}",
        "-m", "rsna.training.worker", str(folder), str(fold),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, available_cores() // devices))}
    done = subprocess.run(command, env=environment)
    if done.returncode:
        raise TrainingError(
            f"fold {fold}: a training process ended with code {done.returncode}, and the others with it; its message "
            "stands above. The same command goes on from the last checkpoint"
        )
