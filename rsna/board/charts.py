"""The pictures of one run, and of all runs against the competition's leaderboard, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from rsna.board.svg import Plot
from rsna.evaluation.calibration import calibrate, reliability
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.tables import number
from rsna.evaluation.threshold import threshold_curve
from rsna.runs.run import Run


@dataclass(frozen=True)
class Chart:
    """A picture and what to read off it."""

    title: str
    svg: str
    caption: str
    legend: tuple[tuple[str, str], ...] = ()
    """(style, name) of the curves, where there are several."""


def roc(evaluation: Evaluation) -> Chart:
    """Sensitivity against the share of false alarms, with the point of the nested thresholds."""
    breasts = evaluation.breasts
    alarms, hits, _ = roc_curve(breasts["cancer"], breasts["probability"], sample_weight=breasts["weight"])
    matrix = confusion(evaluation)
    area = number(evaluation.pooled.auroc)
    plot = Plot(f"ROC curve, area {area}", ("1 − specificity", 0, 1), ("sensitivity", 0, 1))
    plot.line([0, 1], [0, 1], "guide")
    plot.line(alarms, hits)
    plot.dots([matrix.false_alarms], [matrix.sensitivity], "point", names=["at the nested thresholds"])
    return Chart(
        "ROC",
        plot.svg(),
        f"AUROC {area}. The ring marks the nested thresholds: sensitivity {matrix.sensitivity:.1%}, "
        f"specificity {1 - matrix.false_alarms:.1%}.",
    )


def precision_recall(evaluation: Evaluation) -> Chart:
    """Precision against sensitivity; precision is what recalls are worth."""
    breasts = evaluation.breasts
    precision, hits, _ = precision_recall_curve(
        breasts["cancer"], breasts["probability"], sample_weight=breasts["weight"]
    )
    matrix, area = confusion(evaluation), number(evaluation.pooled.auprc)
    plot = Plot(f"Precision-recall curve, area {area}", ("recall (sensitivity)", 0, 1), ("precision", 0, 1))
    plot.line([0, 1], [evaluation.pooled.prevalence] * 2, "guide")
    # Steps, as the area is summed: between two cuts there is nothing. The last point stands for no cut at all.
    found = int(np.count_nonzero(hits))
    plot.line(np.repeat(hits, 2)[1 : 2 * found + 1], np.repeat(precision[:found], 2))
    if matrix.precision is not None:
        plot.dots([matrix.sensitivity], [matrix.precision], "point", names=["at the nested thresholds"])
    return Chart(
        "Precision and recall",
        plot.svg(),
        f"AUPRC {area}; the dashed line is the share of positives, {evaluation.pooled.prevalence:.1%}, which chance "
        "reaches.",
    )


def pf1_by_threshold(evaluation: Evaluation) -> Chart:
    """pF1 at every cut, the plateau of the best, and the nested thresholds."""
    breasts, best = evaluation.breasts, evaluation.threshold
    curve = threshold_curve(breasts["cancer"], breasts["probability"], evaluation.points.beta, breasts["weight"])
    top = min(1.0, max(float(curve.scores[0]) * 1.04, 0.05))
    plot = Plot(
        f"pF1 against threshold, best {number(best.pf1)} at {best.value:.4f}", ("threshold", 0, top), ("pF1", 0, 1)
    )
    plot.band(max(best.plateau[0], 0), min(best.plateau[1], top))
    plot.line([0, top], [evaluation.pooled.baseline] * 2, "guide")
    lower = np.append(curve.scores[1:], 0.0)  # cut i holds for thresholds in (lower[i], scores[i]]
    plot.line(np.stack([curve.scores, lower], axis=1).ravel(), np.repeat(curve.pf1, 2))
    nested = [value for value in evaluation.nested.values() if not np.isnan(value)]
    for value in nested:
        plot.line([value, value], [0, 0.06], "mark")
    return Chart(
        "pF1 against threshold",
        plot.svg(),
        f"Best {number(best.pf1)} at {best.value:.4f}, which is optimistic; in the shaded plateau, {best.width:.4f} "
        "wide, pF1 stays within 0.01 of it. Marks below: thresholds chosen on the other folds. Dashed: recalling all.",
    )


def reliability_pictures(evaluation: Evaluation) -> Chart:
    """Share of positives against mean probability in bins of equal mass, as given and after calibration."""
    try:
        tables = {one.calibrator: one.reliability for one in calibrate(evaluation)}
    except ValueError:  # folds without a positive leave nothing to fit on
        breasts = evaluation.breasts
        columns = breasts["cancer"], breasts["probability"], breasts["weight"]
        tables = {"as given": reliability(*columns, evaluation.points.bins)}
    highest = max(float(table[["predicted", "observed"]].to_numpy().max()) for table in tables.values())
    top = min(1.0, max(highest * 1.06, 0.05))
    plot = Plot("Reliability", ("mean probability", 0, top), ("share of positives", 0, top))
    plot.line([0, top], [0, top], "guide")
    for (name, table), style in zip(tables.items(), "abcd", strict=False):
        counts = zip(table["breasts"], table["positives"], strict=True)
        words = [f"{name}: {breasts} breasts, {positives} positive" for breasts, positives in counts]
        plot.line(table["predicted"], table["observed"], style)
        plot.dots(table["predicted"], table["observed"], style, 3, words)
    return Chart(
        "Reliability",
        plot.svg(),
        "Bins of equal mass; on the dashed line probabilities mean what they say. Calibration error as given: "
        f"{number(evaluation.pooled.calibration_error)}. Temperature, Platt and isotonic are fitted on the "
        "other folds.",
        tuple(zip("abcd", tables, strict=False)),
    )


def folds_spread(evaluation: Evaluation, run: Run) -> Chart:
    """AUROC and nested pF1 of every fold, and pooled with the intervals that the run recorded."""
    rows = [*evaluation.folds, evaluation.pooled]
    names = [*(fold.name for fold in evaluation.folds), "pooled"]
    plot = Plot("Spread over folds", ("metric", 0, 1), ("", len(rows) - 0.4, -0.6), names, 84 + 32 * len(rows))
    for name, style, shift in (("pf1_nested", "a", -0.12), ("auroc", "b", 0.12)):
        values = [row.values[name] for row in rows]
        known = [i for i, value in enumerate(values) if not np.isnan(value)]
        if ends := run.ends(name):
            plot.line(ends, [len(rows) - 1 + shift] * 2, f"{style} wide")
        words = [f"{names[i]}: {values[i]:.4f}" for i in known]
        plot.dots([values[i] for i in known], [i + shift for i in known], style, 4.5, words)
    return Chart(
        "Spread over folds",
        plot.svg(),
        "Each fold by itself; the bars are the 95 % intervals of the pooled metrics.",
        (("a", "nested pF1"), ("b", "AUROC")),
    )


def cv_against_lb(runs: Sequence[Run]) -> Chart | None:
    """Nested pF1 against the competition's scores; None where no run has both."""
    points = [
        (run.name, nested, score, style, kind)
        for run in runs
        for score, style, kind in ((run.lb.public, "a", "public"), (run.lb.private, "b", "private"))
        if score is not None and (nested := run.metric("pf1_nested")) is not None
    ]
    if not points:
        return None
    plot = Plot("CV against leaderboard", ("nested pF1, cross-validated", 0, 1), ("pF1 on the leaderboard", 0, 1))
    plot.line([0, 1], [0, 1], "guide")
    for name, nested, score, style, kind in points:
        plot.dots([nested], [score], style, 5, [f"{name}: {nested:.4f} cross-validated, {score:.2f} {kind}"])
    return Chart(
        "CV against leaderboard",
        plot.svg(),
        "Each run's latest scored submission. On the dashed line both agree; below it the cross-validation promised "
        "more.",
        (("a", "public"), ("b", "private")),
    )


@dataclass(frozen=True)
class ConfusionMatrix:
    """Breasts by label and whether they are recalled at their nested threshold, weighted."""

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def sensitivity(self) -> float:
        """Share of positives that are recalled."""
        return self.tp / (self.tp + self.fn)

    @property
    def false_alarms(self) -> float:
        """Share of negatives that are recalled."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else 0.0

    @property
    def precision(self) -> float | None:
        """Share of recalls that are positive; None without any recall."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None


def confusion(evaluation: Evaluation) -> ConfusionMatrix:
    """The confusion matrix at nested thresholds."""
    breasts = evaluation.breasts
    positive, at, w = breasts["cancer"].to_numpy() == 1, breasts["recalled"].to_numpy(), breasts["weight"].to_numpy()
    return ConfusionMatrix(
        *(float(w[rows].sum()) for rows in (positive & at, ~positive & at, positive & ~at, ~positive & ~at))
    )
