"""Verbs that have SLURM do the work of other verbs, and tell what has become of it."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rsna.cli.verb import verb
from rsna.config.settings import from_mapping, parse_assignments, require
from rsna.config.slurm import (
    SLURM,
    SlurmInferOptions,
    SlurmOptions,
    SlurmPrepareOptions,
    SlurmStatusOptions,
    SlurmTrainOptions,
)
from rsna.config.verbs import InferOptions

if TYPE_CHECKING:
    from rsna.cluster.script import Job

_TASK_LOG = "{}%a-%A.log"


@verb(
    "slurm train",
    SlurmTrainOptions,
    configured=True,
    says=lambda given, o: f"{_does(o)} a job for each fold",
)
def _slurm_train(given: Sequence[str], options: SlurmTrainOptions) -> None:
    """Submit the training of folds to SLURM, an array with a task a fold; what is preempted goes on where it was.

    rsna slurm train experiment=strong_b3 fold=all partition=gpu time=8:00:00
    rsna slurm train experiment=strong_b3 fold=0,2 gpus=2 cpus=16 memory=64G account=mammo constraint=a100
    rsna slurm train experiment=strong_b3 fold=all after=1234 nodes=2 gpus=4 batch_size_per_device=2
    rsna slurm train experiment=strong_b3 'setup=[module load cuda,source /opt/venv/bin/activate]' dry_run=true
    """
    from rsna.cluster.script import TASK, Job, ranges
    from rsna.config.compose import compose

    require(
        not any(one.startswith("seeds=") for one in given),
        "seeds: submit each seed by itself, into a folder of its own: seed=0 run=runs/NAME-seed_0",
    )
    said = list(dict.fromkeys(one.partition("=")[2] for one in given if one.startswith("fold=")))
    require(len(said) < 2, f"fold: is given twice, as {' and as '.join(said)}; give it once")
    asked = said[0] if said else "0"
    others = [one for one in given if not one.startswith("fold=")]
    listed = re.fullmatch(r"\d+(,\d+)*", asked)
    config = compose([*others, f"fold={asked.split(',')[0] if listed else asked}"])
    folds = sorted({int(one) for one in asked.split(",")}) if listed else list(range(config.folds.n_folds))
    require(
        bool(listed) or not (config.folds.file or config.folds.by != "chance"),
        "fold: how many folds there are is known when the table is read, which no login node is for; name them: "
        "fold=0,1,2,3",
    )
    for fold in folds:
        replace(config, fold=fold)  # refuses one that is not there
    job = Job(
        name=config.run_dir.name,
        folder=config.run_dir.absolute() / SLURM,
        file="train.sbatch",
        log=_TASK_LOG.format("fold"),
        verb=("train",),
        arguments=(*others, f"fold={TASK}"),
        tasks=ranges(folds),
        nodes=options.nodes,
    )
    _launch([job], options)
    if not options.dry_run:
        print(shlex.join(["rsna", "slurm", "status", f"run={config.run_dir}"]))


@verb(
    "slurm prepare",
    SlurmPrepareOptions,
    configured=True,
    says=lambda given, o: f"{_does(o)} {o.shards} tasks that prepare a shard each, and the merging",
)
def _slurm_prepare(given: Sequence[str], options: SlurmPrepareOptions) -> None:
    """Submit the preparing of a set to SLURM: an array with a task a shard, then the job that merges them.

    rsna slurm prepare data.root=/archive shards=32 partition=cpu
    rsna slurm train data.root=/archive fold=all after=1235    # the number of the job that merges
    """
    from rsna.config.compose import compose

    config = compose(given)
    folder = Path(config.cache_dir).expanduser().absolute() / "slurm" / config.data_name
    _launch(_shards("prepare", given, f"prepare-{config.data_name}", folder, options.shards), options)


@verb(
    "slurm infer",
    SlurmInferOptions,
    configured=True,
    others="Keys of the prediction: those of `rsna infer --help`.",
    says=lambda given, o: f"{_does(o)} {o.shards} tasks that predict a shard each, and the merging",
)
def _slurm_infer(given: Sequence[str], options: SlurmInferOptions) -> None:
    """Submit predicting to SLURM: an array with a task a shard, then the job that merges them into one submission.

    rsna slurm infer run=runs/b3-rsna input=/exams out=exams.parquet shards=16 partition=gpu
    """
    out = Path(from_mapping(InferOptions, parse_assignments(given)).out).expanduser().absolute()
    _launch(_shards("infer", given, f"infer-{out.stem}", out.with_suffix(".slurm"), options.shards), options)


@verb("slurm status", SlurmStatusOptions, bare="run", says=lambda o: f"asks SLURM, and looks into {o.run}")
def _slurm_status(options: SlurmStatusOptions) -> None:
    """Tell what SLURM and the run folder say of each fold that was submitted.

    rsna slurm status run=runs/strong_b3-rsna
    """
    from rsna.cluster.status import status

    print("\n".join(status(Path(options.run).expanduser())))


def _does(options: SlurmOptions) -> str:
    return "writes" if options.dry_run else "submits"


def _shards(name: str, given: Sequence[str], title: str, folder: Path, shards: int) -> list["Job"]:
    """The array of a verb that takes shards, and the job that merges what they leave."""
    from rsna.cluster.script import TASK, Job

    require(not any(one.startswith("shard=") for one in given), "shard: each task has its own; shards=N says how many")
    array = Job(
        title, folder, f"{name}.sbatch", _TASK_LOG.format("shard"), (name,), (*given, f"shard={TASK}/{shards}"),
        f"1-{shards}",
    )  # fmt: skip
    merge = Job(f"{title}-merge", folder, "merge.sbatch", "merge-%A.log", (name, "merge"), tuple(given))
    return [array, merge]


def _launch(jobs: Sequence["Job"], options: SlurmOptions) -> None:
    from rsna.cluster.jobs import launch

    for line in launch(jobs, options, Path.cwd()):
        print(line, flush=True)
