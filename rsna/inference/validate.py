"""Any run or bundle on any labelled folder: the same table as out of fold, and pF1 at the run's own threshold."""

from pathlib import Path

import numpy as np
import pandas as pd

from rsna.config.settings import unless_auto
from rsna.config.verbs import ValidateOptions
from rsna.dataset.source import load_table
from rsna.dataset.table import ImageTable, TableError
from rsna.evaluation.evaluate import evaluate, score_at
from rsna.inference.networks import load_networks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.stream import Stream
from rsna.inference.submission import join_folds, write_frame
from rsna.runs.trained_model import TrainedModel, load_trained


def validate(options: ValidateOptions) -> pd.DataFrame:
    """Predicts every image of a labelled set and prints the metrics.

    Returns:
        image_id, patient_id, prediction_id, cancer, probability, a row an image that could be read.

    Raises:
        RunError: Nothing to predict with.
        TableError: The folder or its labels cannot be used, or no image can be read.
    """
    trained = load_trained(options.run, options.folds)
    table = load_table(options.input, "train", sampling=options.sampling)
    labels = table.frame["cancer"] if "cancer" in table.frame else pd.Series(dtype=float)
    if not labels.eq(1).any() or labels.isna().any():
        raise TableError(
            f"{table.root}: {int(labels.isna().sum()):,} of {len(table.frame):,} images have no label in column "
            f"cancer, {int(labels.eq(1).sum()):,} are positive; metrics need every label and a positive. Take the "
            "others out of train.csv, or predict without metrics: rsna infer, rsna predict"
        )
    known = trained.trained_on & set(table.frame["patient_id"])
    print(
        f"{trained.source}: folds {', '.join(map(str, trained.folds))} of {trained.model.backbone}\n"
        f"{table.root}: {len(table.frame):,} images, {table.frame['prediction_id'].nunique():,} breasts",
        flush=True,
    )
    if known:
        print(f"note: {len(known):,} of these patients were trained on: for them these metrics are no test")
    predicted = _predict(options, trained, table)
    if predicted.empty:
        raise TableError(f"{table.root}: none of the {len(table.frame):,} images can be read")
    # Ahead of the metrics, so that whatever these refuse the predictions are there.
    if options.out:
        write_frame(predicted, Path(options.out))
        print(f"predictions: {options.out}")
    found = evaluate(predicted, trained.aggregate, sampling=options.sampling, resamples=options.resamples)
    # The thresholds in the table are chosen on this set; a submission comes with the run's.
    print(f"{found.table()}\n{score_at(found, trained.threshold, options.resamples).line()}")
    return predicted


def _predict(options: ValidateOptions, trained: TrainedModel, table: ImageTable) -> pd.DataFrame:
    plan = PassPlan.of(trained, unless_auto(options.flip))
    stream = Stream(
        load_networks(trained),
        trained.preprocess,
        plan,
        batch_size=options.batch_size,
        workers=unless_auto(options.workers),
    )
    columns = ["image_id", "patient_id", "prediction_id", "cancer"]
    frame = table.frame[columns].assign(probability=np.nan)
    failed = []
    for outcome in stream.predict((path,) for path in table.frame["path"]):
        if outcome.logits is None:
            failed.append(f"failed: {frame['image_id'].iloc[outcome.index]}: {outcome.failure}")
            continue
        logits = outcome.logits[None, :, trained.cancer_column]  # (1, passes)
        frame.loc[frame.index[outcome.index], "probability"] = join_folds(logits, options.average)[0]
    for line in failed[:10]:
        print(line)
    if failed:
        print(f"{len(failed):,} images failed and are left out of the metrics")
    return frame[frame["probability"].notna()].reset_index(drop=True)
