"""The Python API: ``Predictor("runs/b3").predict("exam_folder")``."""

import os
import pickle
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydicom.dataset import Dataset

from rsna.archive.patients import identity, name_patients
from rsna.config.data import JoinMethod
from rsna.config.keys import Backend
from rsna.config.model import TableInputName
from rsna.config.settings import Auto
from rsna.config.training import WantedPrecision
from rsna.dataset.examples import examples_of
from rsna.dataset.exams import EXAM, name_breasts
from rsna.dataset.table import image_id_of
from rsna.dicom import Tags
from rsna.inference.backends.choice import WORTH, choose, load_members
from rsna.inference.batch import ImageFacts, count_that_fits, stack_batch
from rsna.inference.devices import choose_devices
from rsna.inference.exam import load_test_set
from rsna.inference.pass_plan import PassPlan
from rsna.inference.report import told_by_headers, unknown_inputs
from rsna.inference.results import BreastResult, ImageResult, Prediction
from rsna.inference.stream import NO_NUMBER
from rsna.inference.submission import Average, complete_breasts, join_folds
from rsna.parallel.pool import LocalProcesses
from rsna.parallel.progress import Progress
from rsna.prepare.file_task import PickledDataset, Source, prepare_source_each
from rsna.prepare.image import Prepared
from rsna.runs.site_calibration import with_calibration
from rsna.runs.trained_ensemble import TrainedEnsemble, load_ensemble

Input = str | Path | bytes | Dataset
"""A folder or a file, a DICOM file's bytes, or a data set with pixels."""


@dataclass
class _Item:
    """One image on its way."""

    result: ImageResult
    """What is known of it so far."""
    source: Source | None
    pixels: tuple[Prepared, ...] = ()
    """As every member wants them; none where the file failed."""
    tags: Tags | None = None
    folder: int | None = None
    """Place among what was given, of an image of a folder."""
    named: bool = False
    """test.csv says which breast it shows."""
    row: dict[str, Any] = field(default_factory=dict)
    """Patient and exam, and what the table of its folder says of it for table inputs."""


class Predictor:
    """Predicts exams with a bundle or a run; safe to use from several threads."""

    def __init__(
        self,
        run: str | Path | Sequence[str | Path],
        *,
        method: JoinMethod | Auto = "auto",
        weights: Sequence[float] = (),
        folds: tuple[int, ...] = (),
        average: Average = "logits",
        flip: bool | None = None,
        backend: Backend = "auto",
        precision: WantedPrecision = "auto",
        tolerance: float = 1e-3,
        images: int | None = None,
        batch_size: int = 16,
        workers: int | None = None,
        file_timeout: float = 60.0,
        calibration: str = "",
    ) -> None:
        """Loads the networks; worker processes start with the first prediction.

        Args:
            run: A run folder, or a bundle (folder, .zip, .tar); or several run folders, whose predictions are joined.
            method: How several runs are joined: mean, logit_mean or weights; auto is weights where they are given, else
                logit_mean.
            weights: Of several runs, in place of fitted ones.
            folds: Folds to use; every one where empty.
            average: What is averaged over the folds.
            flip: Whether the mirrored image is predicted, too; None as out of fold.
            backend: torch, or on the CPU onnxruntime or openvino, whose networks are converted at the first start and
                kept in the user's cache; auto is torch on GPUs, and on the CPU OpenVINO where it is installed.
            precision: Arithmetic of the networks; auto is that of training on GPUs, and 32 bits on the CPU.
            tolerance: Largest difference of a probability from torch in 32 bits at which another runtime, or bf16,
                predicts on the CPU; beyond it torch does, and every prediction's notes say so.
            images: How many will be predicted, where that is known: for a few auto converts no networks.
            batch_size: Images per forward pass; the images of one example stay together.
            workers: Preparing processes; None is one a core.
            file_timeout: Seconds after which a file is given up.
            calibration: File of `rsna calibrate`, whose line calibrates in place of the run's own.

        Raises:
            RunError: It cannot be used; the message says why.
            ConfigError, PredictionError: Several runs cannot be joined.
        """
        self.trained = with_calibration(load_ensemble(run, folds, method, weights), calibration)
        devices, count = choose_devices()[:1], WORTH if images is None else images
        members = self.trained.members
        self.choices = [choose(one, backend, precision, devices, tolerance, count) for one in members]
        self._networks = load_members(members, self.choices, devices=devices)[0]
        self._plans = [PassPlan.of(member, flip) for member in members]
        self._average: Average = average
        self._batch_size = batch_size
        self._network_lock = threading.Lock()
        task = partial(prepare_source_each, settings=[member.preprocess for member in members])
        self._pool = LocalProcesses(task, workers=workers, timeout=file_timeout)

    def predict(self, exam: Input | Sequence[Input]) -> Prediction:
        """Predicts images and their breasts; a file that fails, hangs or crashes is an error value.

        Args:
            exam: A folder (with test.csv and test_images, or of DICOM files), a file, bytes, a data set, or a list of
                these. Images of one breast that come in one call are joined.

        Raises:
            TableError: A folder without any mammogram.
        """
        given: Sequence[Input] = [exam] if isinstance(exam, (str, Path, bytes, Dataset)) else exam
        items: list[_Item] = []
        notes: list[str] = []
        for place, one in enumerate(given):
            if isinstance(one, (str, Path)) and Path(one).expanduser().is_dir():
                found, lines = _of_folder(Path(one), place, self.trained)
                items += found
                notes += lines
            else:
                items.append(_item(one, place))
        notes += [f"calibration: {self.trained.calibrated_on}"] if self.trained.calibrated_on else []
        notes += dict.fromkeys(why for choice in self.choices for why in choice.given_up)
        notes += self.trained.notes(item.source for item in items if item.source is not None)
        notes += self._prepare(items)
        if any(item.folder is None for item in items) or len(given) > 1:  # a folder alone is named by itself
            notes += _name_breasts([item for item in items if not item.named])
        scores, lines = self._predict(items)
        notes += lines
        for item, probability in zip(items, self.trained.join(scores).tolist(), strict=True):
            if np.isnan(probability):
                item.result = replace(item.result, failure=item.result.failure or NO_NUMBER)
            else:
                item.result = replace(item.result, probability=probability)
        images = tuple(item.result for item in items)
        runtimes = " + ".join(dict.fromkeys(map(str, self.choices)))
        return Prediction(images, self._breasts(images, scores), self.trained.threshold, tuple(notes), runtimes)

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _prepare(self, items: list[_Item]) -> list[str]:
        """Fills in pixels and what nothing but the header says; returns how that was read."""
        notes: list[str] = []
        futures = [(item, self._pool.submit(item.source)) for item in items if item.source is not None]
        with Progress("prepare", len(futures)) as progress:
            for _, future in progress.over(futures):
                progress.failed += future.result().value is None
        for item, future in futures:
            outcome, known = future.result(), item.result
            if (value := outcome.value) is None:
                failure = outcome.failure
                item.result = replace(known, failure=f"{failure.kind}: {failure.message}" if failure else "no pixels")
                continue
            first = value[0]
            item.pixels, item.tags = tuple(one.pixels for one in value), first.tags
            item.result = replace(
                known,
                image_id=known.image_id or (first.tags.sop_instance_uid if first.tags else ""),
                view=known.view or (first.tags.view if first.tags else ""),
                geometry=first.geometry,
            )
            notes += [f"{known.name}: {doubt}" for doubt in dict.fromkeys(d for one in value for d in one.doubts)]
            if not known.prediction_id:
                notes += [f"{known.name}: {note}" for note in (first.tags.notes if first.tags else ())]
        return notes

    def _predict(self, items: list[_Item]) -> tuple[npt.NDArray[np.float64], list[str]]:
        """(members, items) probabilities of each image's example, NaN where a file failed; lines on table inputs."""
        scores, told = np.full((len(self.trained.members), len(items)), np.nan), Counter[str]()
        at = [place for place, item in enumerate(items) if item.pixels]
        rows = []
        for place in at:
            # An image that does not say which breast it shows stays by itself.
            known, alone = items[place].result, f"{place} {items[place].result.name}"
            whose = {} if known.prediction_id else {"patient_id": alone}
            names = {"prediction_id": known.prediction_id or alone, "image_id": known.name}
            rows.append(items[place].row | names | whose)
        for member in range(len(scores)) if rows else ():
            own = Counter[str]()
            scores[member, at] = self._predict_member(member, [items[place] for place in at], pd.DataFrame(rows), own)
            told |= own
        return scores, told_by_headers(told)

    def _predict_member(
        self, member: int, items: list[_Item], table: pd.DataFrame, told: Counter[str]
    ) -> npt.NDArray[np.float64]:
        """(items,) one member's probabilities of readable images."""
        trained, scores = self.trained.members[member], np.full(len(items), np.nan)
        found = examples_of(trained.spec.unit, table, compare=trained.spec.compare)
        facts, images = ImageFacts.of(trained.spec, found), found.with_others()[0]
        if facts:
            for e, of in enumerate(images):
                # Without a table, headers are all that there is.
                counter = told if items[of[0]].named else Counter[str]()
                facts[e] = facts[e].with_headers([items[row].tags for row in of], counter)
        start = 0
        with Progress("predict", len(images), f"{trained.spec.unit}s") as progress:
            while start < len(images):
                part = slice(start, start + count_that_fits([len(of) for of in images[start:]], self._batch_size))
                pixels = [[items[row].pixels[member] for row in of] for of in images[part]]
                stacked = stack_batch(pixels, facts[part] if facts else ())
                with self._network_lock:
                    logits = self._networks[member].logits(stacked, self._plans[member])  # (passes, B, outputs)
                joined = join_folds(logits[:, :, trained.cancer_column].T, self._average)  # (B,)
                for own, probability in zip(found.rows[part], joined, strict=True):
                    scores[own] = probability
                progress.step(len(joined))
                start += len(joined)
        return scores

    def _breasts(self, images: Sequence[ImageResult], scores: npt.NDArray[np.float64]) -> tuple[BreastResult, ...]:
        known = [image for image in images if image.prediction_id]
        shown = pd.Series([image.prediction_id for image in images], dtype=object)
        read = np.asarray((~np.isnan(scores)).any(axis=0), dtype=np.bool_)
        ids = shown[read & shown.ne("").to_numpy()].unique().tolist()
        if not ids:
            return ()
        trained = self.trained
        breasts = complete_breasts(shown, scores, ids, trained)
        calibrated = trained.calibration.apply(breasts["probability"])
        return tuple(
            BreastResult(
                prediction_id=name,
                probability=float(p),
                calibrated=float(c),
                above_threshold=bool(p >= trained.threshold),
                views=int(views),
                failures=tuple(i.failure for i in known if i.prediction_id == name and i.failure),
            )
            for name, p, views, c in zip(ids, breasts["probability"], breasts["views"], calibrated, strict=True)
        )


def _of_folder(folder: Path, place: int, trained: TrainedEnsemble) -> tuple[list[_Item], list[str]]:
    tests = load_test_set(folder)
    frame = tests.images.assign(view=tests.images["view"].fillna("") if "view" in tests.images else "")
    keys = ["path", "image_id", "prediction_id", "view", "failure"]
    told = [name for name in ("patient_id", "laterality", *EXAM, *get_args(TableInputName)) if name in frame]
    items = [
        _Item(
            ImageResult(path or image_id, image_id, prediction_id, view, None, failure),
            None if failure else path,
            folder=place,
            named=tests.named,
            row=row,
        )
        for (path, image_id, prediction_id, view, failure), row in zip(
            frame[keys].to_numpy().tolist(),
            ({str(k): v for k, v in one.items()} for one in frame[told].to_dict("records")),
            strict=True,
        )
    ]
    readable = tests.images[tests.images["failure"].eq("")]
    return items, [*tests.notes, *(unknown_inputs(trained, readable) if tests.named else [])]


def _name_breasts(items: Sequence[_Item]) -> list[str]:
    """Says which breast each image shows, over all that was given: one patient's exams may come in several folders.

    Returns:
        Lines on what was guessed.
    """
    # Bytes and data sets lie nowhere: those that name no patient stay by themselves.
    shown = [
        (item, item.tags) for item in items if item.tags and (item.tags.patient_id or isinstance(item.source, str))
    ]
    shown = [(item, tags) for item, tags in shown if tags.laterality in ("L", "R")]
    if not shown:
        return []
    folders = [os.path.dirname(os.path.abspath(item.source)) for item, _ in shown if isinstance(item.source, str)]  # noqa: PTH120
    root = os.path.commonpath(folders) if folders else ""
    paths = [
        os.path.relpath(item.source, root) if isinstance(item.source, str) else item.result.name for item, _ in shown
    ]
    rows = [identity(tags, path) for (_, tags), path in zip(shown, paths, strict=True)]
    frame, notes = name_patients(pd.DataFrame(rows).astype({"age": "Int64"}), os.path.basename(root))  # noqa: PTH119
    renamed = {}
    known = frame[["patient_id", "exam_id"]].to_dict("records")
    for (item, _), breast, row in zip(shown, name_breasts(frame), known, strict=True):
        renamed[item.folder, item.result.prediction_id] = breast
        item.result = replace(item.result, prediction_id=breast)
        item.row |= {str(name): value for name, value in row.items()}
    for item in items:
        if item.result.failure and item.result.prediction_id:  # of a folder, which knows its header
            breast = renamed.get((item.folder, item.result.prediction_id), item.result.prediction_id)
            item.result = replace(item.result, prediction_id=breast)
    first: dict[tuple[str, bytes], _Item] = {}
    for item, tags in shown:
        pixels = item.pixels[0].tobytes() if item.pixels else b""
        other = first.setdefault((tags.sop_instance_uid or item.result.name, pixels), item)
        if other is not item:
            what = "the same SOP Instance UID (0008,0018) and pixels: no breast counts it twice"
            notes.append(f"{item.result.name}: a copy of {other.result.name}, {what}")
            item.result = replace(item.result, prediction_id="")
    return notes


def _item(one: Any, place: int) -> _Item:
    if isinstance(one, (str, Path)):
        path = str(Path(one).expanduser())
        # Its worker may have been started in another folder.
        return _Item(ImageResult(path, image_id_of(path), "", "", None), str(Path(path).absolute()))
    unknown = ImageResult(f"item {place}", "", "", "", None)
    if isinstance(one, bytes):
        return _Item(unknown, one)
    if not isinstance(one, Dataset):
        failure = f"TypeError: a {type(one).__name__} is no path, bytes or pydicom Dataset"
        return _Item(replace(unknown, failure=failure), None)
    try:
        return _Item(unknown, PickledDataset(pickle.dumps(one)))
    except Exception as error:  # a data set may hold open files, or anything else
        failure = f"{type(error).__name__}: the data set cannot be passed on: {error}"
        return _Item(replace(unknown, failure=failure), None)
