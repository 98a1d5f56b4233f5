"""The Python API: ``Predictor("runs/b3").predict("exam_folder")``."""

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom.dataset import Dataset

from rsna.config.verbs import Backend
from rsna.dataset.examples import Unit
from rsna.dataset.table import image_id_of
from rsna.inference.exam import load_test_set
from rsna.inference.networks import count_that_fits, load_networks, stack_examples
from rsna.inference.pass_plan import PassPlan
from rsna.inference.results import BreastResult, ImageResult, Prediction
from rsna.inference.submission import Average, complete_breasts, join_folds
from rsna.parallel.pool import LocalProcesses
from rsna.prepare.file_task import PickledDataset, Source, prepare_source
from rsna.prepare.image import Prepared
from rsna.runs.trained_model import load_trained

Input = str | Path | bytes | Dataset
"""A folder or a file, a DICOM file's bytes, or a data set with pixels."""


@dataclass
class _Item:
    """One image on its way."""

    result: ImageResult
    """What is known of it so far."""
    source: Source | None
    pixels: Prepared | None = None


class Predictor:
    """Predicts exams with a bundle or a run; safe to use from several threads."""

    def __init__(
        self,
        run: str | Path,
        *,
        folds: tuple[int, ...] = (),
        average: Average = "logits",
        flip: bool | None = None,
        backend: Backend = "torch",
        batch_size: int = 16,
        workers: int | None = None,
        file_timeout: float = 60.0,
        unit: Unit = "image",
    ) -> None:
        """Loads the networks; worker processes start with the first prediction.

        Args:
            run: A run folder, or a bundle (folder, .zip, .tar).
            folds: Folds to use; every one where empty.
            average: What is averaged over the folds.
            flip: Whether the mirrored image is predicted, too; None as out of fold.
            backend: torch, or onnxruntime with what ``rsna export`` wrote.
            batch_size: Images per forward pass; the images of one example stay together.
            workers: Preparing processes; None is one a core.
            file_timeout: Seconds after which a file is given up.
            unit: What the model was trained to predict at once: an image, or a breast with all its images.

        Raises:
            RunError: It cannot be used; the message says why.
        """
        self.trained = load_trained(run, folds)
        self._networks = load_networks(self.trained, backend)[0]
        self._plan = PassPlan.of(self.trained, flip)
        self._average: Average = average
        self._batch_size = batch_size
        self._network_lock = threading.Lock()
        self._unit: Unit = unit
        task = partial(prepare_source, settings=self.trained.preprocess)
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
                found, lines = _of_folder(Path(one))
                items += found
                notes += lines
            else:
                items.append(_item(one, place))
        self._prepare(items)
        self._predict(items)
        images = tuple(item.result for item in items)
        return Prediction(images, self._breasts(images), tuple(notes))

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _prepare(self, items: list[_Item]) -> None:
        futures = [(item, self._pool.submit(item.source)) for item in items if item.source is not None]
        for item, future in futures:
            outcome, known = future.result(), item.result
            if (value := outcome.value) is None:
                failure = outcome.failure
                item.result = replace(known, failure=f"{failure.kind}: {failure.message}" if failure else "no pixels")
                continue
            breast = f"{value.patient_id}_{value.laterality}" if value.laterality and value.patient_id else ""
            item.pixels = value.pixels
            item.result = replace(
                known,
                image_id=known.image_id or value.sop_instance_uid,
                prediction_id=known.prediction_id or breast,
                view=known.view or value.view,
                geometry=value.geometry,
            )

    def _predict(self, items: list[_Item]) -> None:
        examples: dict[str, list[tuple[_Item, Prepared]]] = {}
        for place, item in enumerate(items):
            if item.pixels is not None:
                # An image that does not say which breast it shows stays by itself.
                breast = item.result.prediction_id if self._unit == "breast" else ""
                examples.setdefault(breast or f"{place} {item.result.name}", []).append((item, item.pixels))
        left = list(examples.values())
        while left:
            batch = left[: count_that_fits([len(example) for example in left], self._batch_size)]
            left = left[len(batch) :]
            images, example = stack_examples([[pixels for _, pixels in one] for one in batch])
            with self._network_lock:
                logits = self._networks.logits(images, self._plan, example)  # (passes, B, outputs)
            joined = join_folds(logits[:, :, self.trained.cancer_column].T, self._average)  # (B,)
            for one, probability in zip(batch, joined, strict=True):
                for item, _ in one:
                    item.result = replace(item.result, probability=float(probability))

    def _breasts(self, images: Sequence[ImageResult]) -> tuple[BreastResult, ...]:
        known = [image for image in images if image.prediction_id]
        readable = [image for image in known if image.probability is not None]
        if not readable:
            return ()
        columns = ["prediction_id", "probability"]
        frame = pd.DataFrame([(i.prediction_id, i.probability) for i in readable], columns=columns)
        ids = frame["prediction_id"].unique().tolist()
        trained = self.trained
        breasts = complete_breasts(frame, ids, trained.aggregate, trained.prevalence)
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


def _of_folder(folder: Path) -> tuple[list[_Item], list[str]]:
    tests = load_test_set(folder)
    frame = tests.images.assign(view=tests.images["view"].fillna("") if "view" in tests.images else "")
    keys = ["path", "image_id", "prediction_id", "view", "failure"]
    items = [
        _Item(ImageResult(path or image_id, image_id, prediction_id, view, None, failure), None if failure else path)
        for path, image_id, prediction_id, view, failure in frame[keys].to_numpy().tolist()
    ]
    return items, list(tests.notes)


def _item(one: Any, place: int) -> _Item:
    if isinstance(one, (str, Path)):
        path = str(Path(one).expanduser())
        return _Item(ImageResult(path, image_id_of(path), "", "", None), path)
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
