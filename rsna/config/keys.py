"""Keys that several verbs have, in the same words; nothing heavy is imported here."""

import os
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, PositiveFloat

from rsna.config.data import ORDERS, JoinMethod
from rsna.config.settings import AtLeastOne, Auto, require
from rsna.config.shard import Shard
from rsna.config.training import WantedPrecision


def _one_or_several(run: Any) -> Any:
    """A run by itself is a list of one."""
    return (run,) if isinstance(run, str) else run


def require_distinct(key: str, names: Sequence[str], what: str) -> None:
    """Refuses a file or folder that a key names twice, however it is spelt; ``what`` says what one is."""
    files = [Path(name).expanduser().resolve() for name in names]
    twice = [name for i, name in enumerate(names) if files[i] in files[:i]]
    require(not twice, f"{key}: {twice and twice[0]} is there twice; name each {what} once")


def require_file(out: str, key: str = "out", example: str = "report.html") -> None:
    """Refuses what no file can be written to, ahead of the work that fills it."""
    require(bool(out), f"{key}: name the file to write, such as {example}")
    require(not Path(out).is_dir(), f"{key}: {out} is a folder; name a file, such as {Path(out) / example}")
    require(not Path(out).exists() or Path(out).is_file(), f"{key}: {out} is a pipe, a socket or a device; name a file")
    above = next(parent for parent in Path(out).absolute().parents if parent.exists())
    require(above.is_dir(), f"{key}: {out} cannot be written: {above} is a file")
    require(os.access(above, os.W_OK), f"{key}: {out} cannot be written: {above} is not yours to write in")


def require_apart(out: str, read: Iterable[str | Path], key: str = "out") -> None:
    """Refuses to write over what is read: it would be lost."""

    def places(file: str | Path) -> set[Path]:
        """Its own, and where a link leads."""
        path = Path(file).expanduser()
        return {path.resolve(), path.parent.resolve() / path.name}

    lost = [one for one in read if str(one) and out and places(one) & places(out)]
    require(not lost, f"{key}: {out} is what is read, and would be lost; name another file")


def require_folder(folder: str, key: str) -> None:
    """Refuses a folder that is named and is not there: what is looked for in it would be taken for missing."""
    require(not folder or Path(folder).is_dir(), f"{key}: there is no folder {folder}")


def _distinct_runs(run: tuple[str, ...]) -> tuple[str, ...]:
    require_distinct("run", run, "run or file")
    return run


def _shard(text: str) -> str:
    """Refuses what names no shard."""
    return text and str(Shard.parse(text))


Runtime = Literal["torch", "onnxruntime", "openvino"]
Backend = Runtime | Auto
BackendKey = Annotated[
    Backend,
    Field(
        description="torch, or on the CPU onnxruntime or openvino; auto is torch on GPUs, and on the CPU OpenVINO "
        "where it is installed and networks were converted before, or there is enough to predict."
    ),
]
PrecisionKey = Annotated[
    WantedPrecision,
    Field(description="Arithmetic of the networks; auto is that of training on GPUs, and 32 bits on the CPU."),
]
ToleranceKey = Annotated[
    PositiveFloat,
    Field(
        description="Largest difference of a probability from torch in 32 bits at which another runtime, or bf16, "
        "predicts on the CPU; beyond it torch does, and says so."
    ),
]
FoldsKey = Annotated[tuple[int, ...], Field(description="Folds to use; every trained one where empty.")]
WorkersKey = Annotated[AtLeastOne | Auto, Field(description="Preparing processes; auto is one a core.")]
EngineKey = Annotated[
    Literal["processes", "ray"],
    Field(description="What does the work: processes of this machine, or ray, a cluster's nodes (`.[cluster]`)."),
]
AddressKey = Annotated[
    str,
    Field(
        min_length=1,
        description="With engine=ray: auto is the cluster that this machine is part of, or RAY_ADDRESS names; "
        "ray://HOST:10001 another; local this machine alone.",
    ),
]
TimeoutKey = Annotated[PositiveFloat, Field(description="Seconds after which a file is given up as unreadable.")]
AverageKey = Annotated[Literal["logits", "probabilities"], Field(description="What is averaged over the folds.")]
# The threshold was chosen on out-of-fold predictions, so by default new images are predicted as those were.
FlipKey = Annotated[
    bool | Auto,
    Field(description="Predict mirrored images, too, in twice the time, and average; auto does as it was out of fold."),
]
BatchKey = Annotated[AtLeastOne, Field(description="Images per forward pass.")]
ResamplesKey = Annotated[int, Field(ge=100, description="Patient-level bootstrap resamples behind every interval.")]
RunsKey = Annotated[str, Field(description="Folder that holds run folders.")]
OneOrSeveral = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]
DistinctRuns = Annotated[tuple[str, ...], BeforeValidator(_one_or_several), AfterValidator(_distinct_runs)]
ModelsKey = Annotated[
    DistinctRuns, Field(description="Run folder, or bundle (folder, .zip or .tar); or several run folders, joined.")
]
CalibrationKey = Annotated[
    str, Field(description="JSON file of `rsna calibrate`: probabilities are calibrated by a site's line, not home's.")
]
ShardKey = Annotated[
    str,
    AfterValidator(_shard),
    Field(description="One of n parts, such as 3/8, to be merged when each was done; everything where empty."),
]
MethodKey = Annotated[
    JoinMethod | Auto,
    Field(
        description="How several runs are joined: mean of probabilities, of logits, of ranks; the highest rank (any "
        "recalls); or weights on logits, fitted on other folds. auto is weights where they are given, else logit_mean. "
        "rank_mean and any order one set alone, so they are for ensemble and report."
    ),
]
WeightsKey = Annotated[
    tuple[NonNegativeFloat, ...],
    Field(description="Weights of several runs, in their order, in place of fitted ones; divided by their sum."),
]


def joined_by(method: JoinMethod | Auto, weights: Sequence[float]) -> JoinMethod:
    """The method, where it is auto the one that goes with the weights or without them."""
    if method == "auto":
        return "weights" if len(weights) else "logit_mean"
    return method


def require_submittable(method: JoinMethod | Auto) -> None:
    """Refuses what has no meaning for a new image."""
    require(
        method not in ORDERS,
        f"method: {method} is an order within one set, and a new image has no rank: nothing can be submitted by it. "
        "Take logit_mean, mean or weights",
    )


def check_joining(run: Sequence[str], method: JoinMethod | Auto, weights: Sequence[float]) -> None:
    """Refuses weights that are not those of the runs, and what joins nothing."""
    require(len(run) > 0, "run: is required: name a run folder")
    several, known = len(run) > 1, get_args(JoinMethod)
    require(several or not len(weights), "weights: there is one run; they join several, run=[a,b]")
    require(several or method == "auto", "method: there is one run; it joins several, run=[a,b]")
    require(method in ("auto", *known), f"method: {method} is none of auto, {', '.join(known)}")
    require(joined_by(method, weights) == "weights" or not len(weights), "weights: they go with method=weights")
    fits = not len(weights) or len(weights) == len(run)
    require(fits, f"weights: {len(weights)} for {len(run)} runs; give one for each, in their order")
    odd = [one for one in weights if not 0 <= one < float("inf")]
    require(not odd, f"weights: {odd and odd[0]} is no finite number ≥ 0")
    require(not len(weights) or any(weights), "weights: none is above 0")


class Several:
    """Options with the keys run, method and weights."""

    run: DistinctRuns
    method: MethodKey
    weights: WeightsKey

    def check_joining(self) -> None:
        """Refuses weights that are not those of the runs, and what joins nothing."""
        check_joining(self.run, self.method, self.weights)

    def check_submittable(self) -> None:
        """Refuses, beside what :meth:`check_joining` does, what has no meaning for a new image."""
        self.check_joining()
        require_submittable(self.method)


class Distributed:
    """Options with the keys engine and address."""

    engine: EngineKey
    address: AddressKey

    def check_engine(self, workers: int | Auto = "auto", key: str = "workers") -> None:
        """Refuses an engine that is not installed, and what is said of one and belongs to another."""
        installed = self.engine == "processes" or find_spec("ray") is not None
        require(installed, "engine: ray is not installed; pip install 'rsna-mammography[cluster]'")
        require(self.engine == "ray" or self.address == "auto", "address: it goes with engine=ray")
        require(self.engine == "processes" or workers == "auto", f"{key}: with engine=ray it is one for each CPU")
