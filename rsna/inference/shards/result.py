"""What a shard knows of each of its images, exactly, and what it was made of."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsna.config.settings import differences
from rsna.file_stamp import is_stamped
from rsna.files import FileError, read_json, write_json
from rsna.inference.exam import TestSet
from rsna.inference.pass_plan import Stages, Work
from rsna.parallel.progress import Progress
from rsna.runs.record_file import checksum

_ENDING = "_result.json"
_BY = ("backends", "precisions", "batch_size")
"""What may differ from machine to machine, and in the last digits; everything else may not."""
_READERS = 16
"""Files that are looked at at once: on a network disk each is waited for."""
_TIMES = ("read", "decode", "prepare", "wall", "prepared")


@dataclass(frozen=True)
class ShardResult:
    """The outcome of a shard."""

    made_with: Mapping[str, Any]
    """Models, units, flips, the average over folds; backends, precisions and images at once."""
    table: str
    """Hash over the shard's part of the table."""
    stamps: Sequence[str]
    """(n,) of the file of each row of that part, from before it was read, also where that failed; "" where it was not
    its turn."""
    scores: npt.NDArray[np.float64]
    """(members, n) probability of each row of that part, NaN where there is none."""
    passes: npt.NDArray[np.int64]
    """(members, n) forward passes behind it."""
    failures: npt.NDArray[np.object_]
    """(members, n) why there is none, "" where there is."""
    stages: Stages

    def unfit(self, made_with: Mapping[str, Any], table: str, paths: Sequence[str]) -> str:
        """Why it is none of these models, this table and these files, one a row; "" where it is."""
        if self.table != table:
            return "the table has changed since"
        ours, theirs = ({key: v for key, v in one.items() if key not in _BY} for one in (self.made_with, made_with))
        if differ := "; ".join(differences(ours, theirs)):
            return differ
        with Progress("compare", len(paths), "files") as progress, ThreadPoolExecutor(_READERS) as pool:
            same = [*progress.over(pool.map(_is_same, paths, self.stamps))]
        return "" if all(same) else "files have changed since"

    @property
    def by(self) -> str:
        """What predicted, in words."""
        backends, precisions, batch_size = (self.made_with[key] for key in _BY)
        pairs = zip(backends, precisions, strict=True)
        runtimes = dict.fromkeys(f"{one} in {'32 bits' if bits == '32' else bits}" for one, bits in pairs)
        return f"{', '.join(runtimes)}, {batch_size} images at once"

    def write(self, out: Path) -> None:
        """Writes it beside the shard's submission; a start that found everything predicted leaves it as it is."""
        file = out.with_name(f"{out.stem}{_ENDING}")
        known = ShardResult.read(out)
        if known and not self.stages.prepared and known._arrays() == self._arrays():
            return
        stages = {key: getattr(self.stages, key) for key in _TIMES} | {
            "doubts": self.stages.doubts,
            "told": self.stages.told,
        }
        members = {str(member): asdict(work) for member, work in self.stages.members.items()}
        values = {**self._arrays(), "stages": {**stages, "members": members}}
        write_json(file, {**values, "checksum": checksum(values)})  # a changed digit is still a probability

    @staticmethod
    def read(out: Path) -> "ShardResult | None":
        """What lies beside a shard's submission; None where nothing does, or something else than was written."""
        with contextlib.suppress(OSError, FileError, KeyError, TypeError, ValueError, AttributeError):
            told = read_json(out.with_name(f"{out.stem}{_ENDING}"))
            if told.pop("checksum") != checksum(told):
                raise ValueError("is not what was written")
            shape = len(told["scores"]), -1
            return ShardResult(
                told["made_with"],
                told["table"],
                told["stamps"],
                np.array(told["scores"], dtype=np.float64).reshape(shape),  # null is NaN
                np.array(told["passes"], dtype=np.int64).reshape(shape),
                np.array(told["failures"], dtype=object).reshape(shape),
                _stages(told["stages"]),
            )
        return None

    def _arrays(self) -> dict[str, Any]:
        return {
            "made_with": dict(self.made_with),
            "table": self.table,
            "stamps": [*self.stamps],
            "scores": [[one if isfinite(one) else None for one in scores] for scores in self.scores.tolist()],
            "passes": self.passes.tolist(),
            "failures": self.failures.tolist(),
        }


def _is_same(path: str, known: str) -> bool:
    """Whether a file is the one that was predicted, or that could not be."""
    return not known or is_stamped(path, known)


def table_hash(part: TestSet, root: str) -> str:
    """64 hexadecimal characters over everything that is known of a shard's images; files by their place below ``root``.

    So machines may have the set under different folders.
    """
    top = f"{Path(root).expanduser().absolute()}/"
    text = part.images.assign(path=[path.removeprefix(top) for path in part.images["path"]]).to_csv(index=False)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def joined(stages: Iterable[Stages]) -> Stages:
    """The work of several processes, added up as if one had done theirs after the other's."""
    total = Stages()
    for one in stages:
        total.add(one)
        total.wall += one.wall
    return total


def _stages(told: Mapping[str, Any]) -> Stages:
    stages = Stages(**{key: told[key] for key in _TIMES}, doubts=Counter(told["doubts"]), told=Counter(told["told"]))
    for member, work in told["members"].items():
        stages.members[int(member)] = Work(**work)
    return stages
