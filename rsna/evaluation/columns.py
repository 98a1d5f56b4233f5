"""Which column of a file of predictions is the probability: decided here alone, whoever reads the file."""

import re
from pathlib import Path

import pandas as pd

from rsna.evaluation.checks import PredictionError

_WORDS = {
    "p", "prob", "probs", "proba", "probability", "probabilities", "pred", "preds", "predicted", "prediction",
    "predictions", "score", "scores", "likelihood", "confidence", "risk",
}  # fmt: skip
"""One of these, in any case, makes a column's name that of a probability …"""

_BESIDE = {"cancer", "malignant", "malignancy", "breast", "image", "y", "mean", "oof", "final"}
"""… with nothing but these beside it: `cancer_prob` is one, `prob_0`, `p_density` and `pred_label` are not."""


def choose_column(table: pd.DataFrame, where: Path, asked: str, own_labels: bool) -> str:
    """The column that holds the probability of cancer.

    `probability` comes first; then the only one whose name is that of a probability; then `target`, and `cancer` where
    the labels stand in another file, as in a submission. Beside a probability, `cancer` is always the label.

    Args:
        table: what the file holds.
        where: the file, for messages.
        asked: the column that was named; empty finds it.
        own_labels: whether the labels are those of this very file, in `cancer`.

    Raises:
        PredictionError: there is none, or several may be meant; or no label where there should be, or two.
    """
    there = ", ".join(map(str, table.columns))
    if own_labels and "cancer" not in table:
        raise PredictionError(f"{where}: no column `cancer` with the labels; give labels=FILE. It has {there}")
    if asked:
        if asked not in table:
            raise PredictionError(f"{where}: column={asked}: there is no such column; it has {there}")
        if asked == "cancer" and own_labels:
            raise PredictionError(
                f"{where}: column=cancer: holds the labels, as no other file does; if these are probabilities, give "
                "labels=FILE"
            )
        return asked
    names = [name for name in map(str, table.columns) if _of_probability(name)]
    unclear = ("target",) if own_labels else ("target", "cancer")
    unsure = [name for name in map(str, table.columns) if name.lower() in unclear]
    for found in ([name for name in names if name.lower() == "probability"], names, unsure):
        if len(found) > 1:
            raise PredictionError(f"{where}: {' and '.join(found)} may each be the probability; name one with column=…")
        if found:
            if own_labels and table[found[0]].isin((0, 1)).all() and table["cancer"].isin((0, 1)).all():
                raise PredictionError(
                    f"{where}: cancer and {found[0]} are 0 and 1 alone, and either may be the labels; say with "
                    f"column={found[0]} that it is scored, or give labels=FILE"
                )
            return found[0]
    raise PredictionError(
        f"{where}: no column is a probability by its name (probability, prob, pred, score, …"
        f"{'' if own_labels else ', or cancer as in a submission'}); name it with column=…. It has {there}"
    )


def _of_probability(name: str) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)}
    return bool(words & _WORDS) and words <= _WORDS | _BESIDE
