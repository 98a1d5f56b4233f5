"""The part of a test set that is one shard's, and where its files lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.shard import Shard, shard_numbers
from rsna.dataset.exams import EXAM, exams_of, names_exams
from rsna.inference.exam import TestSet


def part_of(tests: TestSet, shard: Shard, numbers: npt.NDArray[np.int64] | None = None) -> TestSet:
    """The images and breasts of one shard, in their order.

    Args:
        numbers: What :func:`shard_of_rows` says, where it is known.
    """
    images = tests.images
    mine = (shard_of_rows(tests, shard.count) if numbers is None else numbers) == shard.number
    own = images[mine].reset_index(drop=True)
    if names_exams(images):  # of several columns the whole set says which one tells exams apart
        own = own.drop(columns=[*EXAM], errors="ignore").assign(exam_id=exams_of(images)[mine].to_numpy())
    named = set(own["prediction_id"])
    prediction_ids = tuple(one for one in tests.prediction_ids if one in named)
    return replace(tests, images=own, prediction_ids=prediction_ids, usable_in_all=tests.usable)


def shard_of_rows(tests: TestSet, count: int) -> npt.NDArray[np.int64]:
    """(n,) number of the shard that each row of the table is in: exams stay whole.

    A network looks at all images of a breast, and may look at the exam's other one, so that this follows from patient
    and exam.
    """
    return np.array(shard_numbers(_units(tests.images), count), dtype=np.int64)


def _units(images: pd.DataFrame) -> list[str]:
    """(n,) patient and exam of each image; where images share breast or file, the least of theirs for all of them.

    Of what cannot be read so far, no more than a path is known.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    patient = images["patient_id"].astype(str)
    own = (patient + "\0" + exams_of(images).astype(str)).mask(patient.eq(""), images["image_id"].astype(str))
    columns = [own, images["prediction_id"], images["image_id"], images["path"]]
    codes = [pd.factorize(column.where(column.ne("")))[0] for column in columns]  # -1 where nothing is known
    starts = np.cumsum([0, *(int(code.max(initial=-1)) + 1 for code in codes)]) + len(images)
    rows = np.concatenate([np.flatnonzero(code >= 0) for code in codes])
    nodes = np.concatenate([code[code >= 0] + start for code, start in zip(codes, starts, strict=False)])
    size = int(starts[-1])
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, nodes)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][: len(images)]
    return own.groupby(component).transform("min").tolist()


def folder_of(out: str | Path) -> Path:
    """Where the shards of a submission leave what is merged."""
    return Path(out).with_name(f"{Path(out).stem}_shards")


def shard_out(out: str | Path, shard: Shard) -> Path:
    """The submission of one shard; the rest of what it leaves lies beside it."""
    return folder_of(out) / f"{shard.name}{Path(out).suffix}"


def logs_beside(out: str | Path) -> list[Path]:
    """Progress of all shards beside that of one, however many they were."""
    return sorted(Path(out).parent.glob("*-of-*_progress.jsonl"))
