"""What a job on SLURM asks for: the keys of `rsna slurm train`, `prepare` and `infer` beside those of the work."""

import re
from typing import Annotated

from pydantic import Field, NonNegativeInt

from rsna.config.settings import AtLeastOne, require, settings

SLURM = "slurm"
"""In a run folder: the files of jobs that were submitted for it, and their logs."""

_TIME = re.compile(r"\d+|\d+:\d+(:\d+)?|\d+-\d+(:\d+){0,2}")
"""sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes[:seconds]."""


@settings
class SlurmOptions:
    partition: str = ""
    """Partition; the cluster's default where empty. So it is with time, memory, account and qos."""
    time: str = ""
    """Time limit as sbatch takes it, 8:00:00 or 1-12 for a day and a half; what is not done by then is queued again."""
    gpus: NonNegativeInt = 1
    """GPUs of each node."""
    cpus: AtLeastOne = 8
    """Cores of each node."""
    memory: str = ""
    """Memory of each node, such as 32G."""
    account: str = ""
    """Account that the time is charged to."""
    qos: str = ""
    """Quality of service."""
    constraint: str = ""
    """Features that a node must have, such as a100."""
    at_once: NonNegativeInt = 0
    """Tasks of the array that run at the same time; 0 for as many as there is room for."""
    after: str = ""
    """Jobs that have to end well first, such as those that prepare: 1234, or 1234:1240."""
    grace: Annotated[int, Field(ge=1, le=65535)] = 120
    """Seconds ahead of the time limit, or of what takes the nodes back, in which the step at hand is saved."""
    extra: tuple[str, ...] = ()
    """Other options of sbatch, a line each: [--exclude=n7,--mail-type=END]; quote one that holds a comma."""
    setup: tuple[str, ...] = ()
    """Lines of bash ahead of the work, in this order: [module load cuda,source /opt/venv/bin/activate]."""
    prefix: str = ""
    """What stands in front of the command, such as apptainer exec --nv image.sif."""
    python: str = ""
    """Python that runs the work, such as python3 within a container; the one that runs this verb where empty."""
    dry_run: bool = False
    """Only write the file."""

    def __post_init__(self) -> None:
        known = not self.time or _TIME.fullmatch(self.time) or self.time.lower() in ("infinite", "unlimited")
        require(bool(known), f"time: {self.time!r} is no limit such as 90 (minutes), 8:00:00 or 1-12")
        for key in ("extra", "setup"):
            for line in getattr(self, key):
                require("\n" not in line, f"{key}: {line!r} has several lines; give each as an item")
        for line in self.extra:
            require(line.startswith("-"), f"extra: {line!r} is no option of sbatch, such as --exclude=n7")
        require(
            re.fullmatch(r"(\d+(:\d+)*)?", self.after) is not None,
            f"after: {self.after!r} is no number of a job, nor several such as 1234:1240",
        )
        for key in ("partition", "memory", "account", "qos", "constraint"):
            value = getattr(self, key)
            require(not re.search(r"\s", value), f"{key}: {value!r} holds blanks")


@settings
class SlurmTrainOptions(SlurmOptions):
    nodes: AtLeastOne = 1
    """Nodes of each fold; where there are several, torchrun joins their GPUs."""


@settings
class SlurmPrepareOptions(SlurmOptions):
    gpus: NonNegativeInt = 0
    """GPUs of each node; preparing uses none."""
    shards: AtLeastOne = 8
    """Tasks of the array; each prepares one of so many shards."""


@settings
class SlurmInferOptions(SlurmOptions):
    shards: AtLeastOne = 8
    """Tasks of the array; each predicts one of so many shards."""


@settings
class SlurmStatusOptions:
    run: str
    """Run folder that `rsna slurm train` named."""
