"""Runs or a bundle on any labelled folder: the same table as out of fold, and pF1 at their own threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from rsna.config.data import Sampling
from rsna.config.external import CalibrateOptions, ValidateOptions
from rsna.config.settings import unless_auto
from rsna.dataset.exams import EXAM, with_exams
from rsna.dataset.source import labelled, load_table
from rsna.dataset.table import ImageTable, TableError
from rsna.evaluation.breasts import ATTRIBUTES, to_breasts
from rsna.evaluation.evaluate import evaluate, score_at
from rsna.inference import report
from rsna.inference.backends.choice import check_networks, choose, load_members
from rsna.inference.cluster.stream import ClusterStream, nodes_of
from rsna.inference.devices import choose_devices
from rsna.inference.examples import TableExample, grouped, table_examples
from rsna.inference.pass_plan import PassPlan, Stages
from rsna.inference.stream import Stream
from rsna.inference.submission import complete_breasts, join_folds
from rsna.parallel.progress import Progress, say
from rsna.runs.trained_ensemble import TrainedEnsemble, load_ensemble
from rsna.runs.trained_model import folds_not_trained_on
from rsna.table_file.write import write_frame

_KEPT = ("image_id", "patient_id", "prediction_id", *EXAM, "view", *ATTRIBUTES, "cancer")
"""Columns of a table that stand beside its predictions."""


@dataclass(frozen=True)
class PredictedSet:
    """The images of a set that could be read, predicted by every member."""

    images: pd.DataFrame
    """image_id, patient_id, prediction_id, cancer, exam_id where exams are known, view and attributes that the table
    has, probability, of the image or of the breast that was predicted at once; a row an image."""
    scores: npt.NDArray[np.float64] = field(repr=False)
    """(members, n) probabilities."""
    trained: TrainedEnsemble = field(repr=False)

    def breasts(self, chosen: npt.NDArray[np.bool_] | None = None) -> pd.DataFrame:
        """Breasts with their joint probability, see :func:`rsna.evaluation.breasts.to_breasts`.

        Args:
            chosen: (n,) images that they are made of; None for all.
        """
        rows = np.ones(len(self.images), dtype=np.bool_) if chosen is None else chosen
        images = self.images[rows].reset_index(drop=True)
        if "cancer" not in images:  # nobody's labels: a folder that is only looked at
            images = images.assign(cancer=0)
        breasts = to_breasts(images, self.trained.aggregate)
        if len(self.trained.members) > 1:  # which are joined breast by breast
            ids = breasts["prediction_id"].tolist()
            joined = complete_breasts(images["prediction_id"], self.scores[:, rows], ids, self.trained)
            breasts = breasts.assign(probability=joined["probability"])
            breasts.attrs["scored"] = f"{len(self.trained.members)} members joined by {self.trained.method}"
        return breasts


def validate(options: ValidateOptions) -> pd.DataFrame:
    """Predicts every image of a labelled set and prints the metrics.

    Patients of the runs' own set are predicted by the fold alone that was not trained on them.

    Returns:
        See :attr:`PredictedSet.images`.

    Raises:
        RunError: Nothing to predict with.
        TableError: The folder or its labels cannot be used, or no image can be read.
    """
    trained = load_ensemble(options.run, options.folds, options.method, options.weights)
    check_networks(trained.members, options.backend, options.precision)
    table = load_labelled(options.input[0], options.sampling, *options.cancer_from)
    folds = folds_not_trained_on(options.run)
    describe(trained, [table], folds)
    found = predict_tables(options, trained, [table], folds)[0]
    # Ahead of the metrics, so that whatever these refuse the predictions are there.
    if options.out:
        write_frame(found.images, Path(options.out))
        print(f"predictions: {options.out}")
    scored = found.images if len(trained.members) == 1 else with_exams(found.breasts(), found.images)
    metrics = evaluate(
        scored, trained.aggregate, unit=options.unit, sampling=options.sampling, resamples=options.resamples
    )
    # The thresholds in the table are chosen on this set; a submission comes with the run's.
    print(f"{metrics.table()}\n{score_at(metrics, trained.threshold, options.resamples).line()}")
    return found.images


def load_labelled(root: str, sampling: Sampling, cancer_from: str = "auto") -> ImageTable:
    """Reads a set of which every image is labelled, and one at least positive.

    ``cancer_from`` says what counts as cancer in a public set, auto by the set's own definition.

    Raises:
        TableError: It is not, or cannot be read.
    """
    by = "" if cancer_from == "auto" else cancer_from
    table = labelled(load_table(root, "train", sampling=sampling, cancer_from=by))
    labels = table.frame["cancer"] if "cancer" in table.frame else pd.Series(dtype=float)
    if not labels.eq(1).any() or labels.isna().any():
        raise TableError(
            f"{table.root}: {int(labels.isna().sum()):,} of {len(table.frame):,} images have no label in column "
            f"cancer, {int(labels.eq(1).sum()):,} are positive; metrics need every label and a positive. Take the "
            "others out of train.csv, or predict without metrics: rsna infer, rsna predict"
        )
    return table


def describe(trained: TrainedEnsemble, tables: Sequence[ImageTable], folds: Mapping[str, int]) -> None:
    """Prints what predicts what, and what is to be said of either; ``folds`` as in :func:`predict_tables`."""
    own = {patient for patient, fold in folds.items() if fold in trained.folds}
    sets = (f"{t.root}: {len(t.frame):,} images, {t.frame['prediction_id'].nunique():,} breasts" for t in tables)
    say("\n".join([*report.members(trained), *sets]))
    for table in tables:
        notes = [*table.notes, *report.unknown_inputs(trained, table.frame)]
        print("".join(f"note: {note}\n" for note in notes), end="")
        known = trained.trained_on & set(table.frame["patient_id"])
        if unseen := known & own:
            print(
                f"note: {len(unseen):,} of these patients stand in the run's folds, too: each is predicted by the fold "
                "alone that was not trained on it. If they are other people under equal numbers, rename them"
            )
        if known := known - own:
            print(f"note: {len(known):,} of these patients were trained on: for them these metrics are no test")
        if any(table.root.resolve() in member.extra_sets for member in trained.members):
            print(f"note: {table.root} is a set of data.extra, which was trained on: these metrics are no test")
    for note in trained.notes(path for table in tables for path in table.frame["path"]):
        print(f"note: {note}")


def predict_tables(
    options: ValidateOptions | CalibrateOptions,
    trained: TrainedEnsemble,
    tables: Sequence[ImageTable],
    folds: Mapping[str, int],
) -> list[PredictedSet]:
    """Predicts every image of some sets; the networks are loaded once.

    Args:
        options: What is typed.
        trained: The models.
        tables: The sets.
        folds: Patient → the fold that was not trained on it, by which alone it is predicted where that is used.

    Raises:
        TableError: No image of a set can be read.
        ClusterError: No node of the cluster can predict.
    """
    plans = tuple(PassPlan.of(member, unless_auto(options.flip)) for member in trained.members)
    sources = [path for table in tables for path in table.frame["path"]]
    with nodes_of(options, trained, sources, plans) as nodes:
        stream: Stream | ClusterStream | None = nodes
        with Progress("choose and load the networks"):
            if nodes:
                choices = nodes.choices(len(sources))
            else:
                devices = choose_devices()
                choices = [
                    choose(member, options.backend, options.precision, devices, options.tolerance, len(sources))
                    for member in trained.members
                ]
                stream = Stream(
                    load_members(trained.members, choices, devices=devices),
                    [member.preprocess for member in trained.members],
                    plans,
                    batch_size=options.batch_size,
                    workers=unless_auto(options.workers),
                )
        report.networks(trained, choices)
        assert stream is not None
        return [_predict(options, trained, stream, table, folds) for table in tables]


def _predict(
    options: ValidateOptions | CalibrateOptions,
    trained: TrainedEnsemble,
    stream: Stream | ClusterStream,
    table: ImageTable,
    folds: Mapping[str, int],
) -> PredictedSet:
    n = len(table.frame)
    examples = table_examples(trained, table.frame, np.ones(n, dtype=np.bool_))
    scores = np.full((len(trained.members), n), np.nan)
    fold_of = table.frame["patient_id"].map(folds).tolist()
    failed = dict[int, str]()
    stages = stream.stages = Stages()  # of this set alone
    with Progress("predict", len(examples), "examples") as progress:
        for outcome in stream.predict(grouped(examples)):
            example = cast("TableExample", outcome.example)
            own = [rows[0] for rows in example.rows]
            lost = {row: why for row, why in zip(own, outcome.failures, strict=False) if why}
            failed |= lost
            progress.step(failed=bool(lost))
            if outcome.logits is None:
                continue
            member = trained.members[example.member]
            logits = outcome.logits[:, member.cancer_column]  # (passes,): each fold, then each mirrored
            if fold_of[own[0]] in member.folds:
                logits = logits[member.folds.index(fold_of[own[0]]) :: len(member.folds)]
            scores[example.member, [row for row in own if row not in lost]] = join_folds(logits[None], options.average)
    for row, why in list(failed.items())[:10]:
        print(f"failed: {table.frame['image_id'].iloc[row]}: {why}")
    for doubt, count in stages.doubts.most_common():
        print(f"note: {doubt}: {count:,} of {stages.prepared:,} images")
    for told in report.told_by_headers(stages.told):
        print(f"note: {told}")
    images = table.frame[[c for c in _KEPT if c in table.frame]].assign(probability=trained.join(scores))
    read = images["probability"].notna().to_numpy()
    if left_out := int((~read).sum()):
        print(f"{left_out:,} images failed and are left out of the metrics{_lost_breasts(images, read)}")
    if partly := len(failed) - left_out:
        print(f"{partly:,} images failed in some members, and are predicted by the others alone")
    if not read.any():
        raise TableError(f"{table.root}: none of the {n:,} images can be read")
    return PredictedSet(images[read].reset_index(drop=True), scores[:, read], trained)


def _lost_breasts(images: pd.DataFrame, read: npt.NDArray[np.bool_]) -> str:
    """How many breasts have no image left, and how many of them have cancer; "" where none is lost."""
    lost = images[~images["prediction_id"].isin(images["prediction_id"][read])]
    if lost.empty:
        return ""
    positive = lost["prediction_id"][lost["cancer"].eq(1)].nunique() if "cancer" in lost else 0
    return f", and with them {lost['prediction_id'].nunique():,} breasts, {positive:,} with cancer"
