"""A part of a set for a try: some of its patients, whole, with about the share of positives that the set has."""

from dataclasses import replace

import numpy as np
import pandas as pd

from rsna.dataset.table import ImageTable, TableError

_POSITIVES = 8
"""Positive patients that a part has where the set has them: two in each of four folds, so that each can be scored."""


def limit_table(table: ImageTable, limit: int, seed: int = 0) -> ImageTable:
    """A part of a set for a try: whole patients drawn at random, at most ``limit`` images; likewise of ``extra``.

    Positive patients keep about their share. A part in which that would be fewer than eight has more of them, up to
    every second patient, and counts as enriched. The part depends on the set of rows and the seed, not on their order;
    a larger one holds the smaller ones.

    Raises:
        TableError: The first patient drawn has more images than that.
    """
    frame, said, enriched = _draw(table.frame, limit, seed, "")
    notes, extra = table.notes + said, table.extra
    if extra is not None:
        extra, said, _ = _draw(extra, limit, seed, "of data.extra ")
        notes += said
    return replace(table, frame=frame, extra=extra, notes=notes, sampling="enriched" if enriched else table.sampling)


def _draw(frame: pd.DataFrame, limit: int, seed: int, what: str) -> tuple[pd.DataFrame, tuple[str, ...], bool]:
    """The part, the line that says so unless it is the whole, and whether it has more positives than its share."""
    if len(frame) <= limit:
        return frame, (), False
    labels = frame["cancer"] if "cancer" in frame.columns else pd.Series(np.nan, index=frame.index)
    patients = frame.assign(cancer=labels.eq(1)).groupby("patient_id", sort=True)["cancer"].agg(["size", "any"])
    patients = patients.iloc[np.random.default_rng(seed).permutation(len(patients))]
    positive = patients["any"]
    # Both strata are spread evenly over (0, 1), so every beginning of the order has the shares of the whole.
    number = patients.groupby(positive).cumcount()
    place = (number + 0.5) / positive.map(positive.value_counts())
    # The first positives come no later than the negative of the same number.
    early = (number + 0.5) / max(int((~positive).sum()), 1)
    place = place.mask(positive & (number < _POSITIVES), np.minimum(place, early))
    patients = patients.assign(place=place).sort_values(["place", "any"], ascending=[True, False], kind="stable")
    chosen = patients[patients["size"].cumsum() <= limit]
    if chosen.empty:
        raise TableError(f"data.limit: {limit} images are fewer than one patient has; take more")
    part = frame[frame["patient_id"].isin(chosen.index)].reset_index(drop=True)
    positives = int(chosen["any"].sum())
    line = (
        f"data.limit={limit}: {what}{len(part):,} of {len(frame):,} images, {len(chosen):,} of {len(patients):,} "
        f"patients ({positives:,} of {int(positive.sum()):,} with cancer)"
    )
    return part, (line,), positives > np.ceil(positive.mean() * len(chosen))
