"""The pictures of one run, and of all runs against the competition's leaderboard, as inline SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsna.board.svg import Plot
from rsna.evaluation.bootstrap import Band
from rsna.evaluation.calibration import Calibration, calibrate, logit, reliability, sigmoid
from rsna.evaluation.checks import Floats
from rsna.evaluation.decisions import net_benefit
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.external import score_parts
from rsna.evaluation.tables import number, percent
from rsna.evaluation.threshold import threshold_curve
from rsna.runs.run import Run

_CORNERS = (0.1, 0.2, 0.4)
"""Ends of the inset of a ROC curve, share of false alarms: the first that leaves the nested thresholds within."""

_BAND = " Shaded: 95 % over patients, point by point."

_NAME = 20
"""Characters of a part's name that stand beside a plot."""


@dataclass(frozen=True)
class Chart:
    """A picture and what to read off it."""

    title: str
    svg: str
    caption: str
    legend: tuple[tuple[str, str], ...] = ()
    """(style, name) of the curves, where there are several."""


def roc(evaluation: Evaluation, band: Band | None = None) -> Chart:
    """Sensitivity against the share of false alarms, the point of the nested thresholds, its left end larger."""
    matrix, area = confusion(evaluation), number(evaluation.pooled.auroc)
    plot = Plot(f"ROC curve, area {area}", ("1 − specificity", 0, 1), ("sensitivity", 0, 1))
    plot.line([0, 1], [0, 1], "guide")
    corner = next((end for end in _CORNERS if matrix.false_alarms < 0.8 * end), 0.0)
    near = Plot("", ("", 0, corner or 1), ("", 0, 1), height=112, width=160, wordless=True)
    alarms, hits = roc_curve_of(evaluation)
    ring = not np.isnan(matrix.sensitivity + matrix.false_alarms)
    for one in (plot, near):
        if band:
            inside = band.x <= one.x[2]
            one.area(band.x[inside], band.low[inside], band.high[inside])
        one.line(*(until(alarms, hits, corner) if one is near and corner else (alarms, hits)))
        if ring:
            one.dots([matrix.false_alarms], [matrix.sensitivity], "point", names=["at the nested thresholds"])
    if corner:
        plot.inset(near, 0.47, 0.5)
    return Chart(
        "ROC",
        plot.svg(),
        f"AUROC {area}. {'The ring marks' if ring else 'At'} the nested thresholds: "
        f"sensitivity {percent(matrix.sensitivity)}, "
        f"specificity {percent(1 - matrix.false_alarms)}{matrix.but}."
        + (f" Inset: the same up to a share of false alarms of {corner:.0%}." if corner else "")
        + (_BAND if band else ""),
    )


def roc_curve_of(evaluation: Evaluation) -> tuple[Floats, Floats]:
    """(cuts,) share of negatives recalled, and share of positives recalled, both rising from 0 to 1; no cut where there
    is no negative."""
    from sklearn.metrics import roc_curve

    breasts = evaluation.breasts
    if breasts["cancer"].all():
        return np.empty(0), np.empty(0)
    alarms, hits, _ = roc_curve(breasts["cancer"], breasts["probability"], sample_weight=breasts["weight"])
    return np.asarray(alarms), np.asarray(hits)


def precision_recall_curve_of(evaluation: Evaluation) -> tuple[Floats, Floats]:
    """(corners,) recall and precision as steps, as the area is summed: between two cuts there is nothing."""
    from sklearn.metrics import precision_recall_curve

    breasts = evaluation.breasts
    precision, hits, _ = precision_recall_curve(
        breasts["cancer"], breasts["probability"], sample_weight=breasts["weight"]
    )
    found = int(np.count_nonzero(hits))  # the last point stands for no cut at all
    return np.repeat(hits, 2)[1 : 2 * found + 1], np.repeat(precision[:found], 2)


def until(x: Floats, y: Floats, end: float) -> tuple[Floats, Floats]:
    """A curve of (n,) rising x and (n,) y as far as x = ``end``, where it is cut: (m,) and (m,), m ≤ n + 1."""
    if not x.size:
        return x, y
    inside = x <= end
    return np.append(x[inside], end), np.append(y[inside], np.interp(end, x, y))


def precision_recall(evaluation: Evaluation, band: Band | None = None) -> Chart:
    """Precision against sensitivity; precision is what recalls are worth."""
    matrix, area = confusion(evaluation), number(evaluation.pooled.auprc)
    plot = Plot(f"Precision-recall curve, area {area}", ("recall (sensitivity)", 0, 1), ("precision", 0, 1))
    plot.line([0, 1], [evaluation.pooled.prevalence] * 2, "guide")
    if band:
        plot.area(band.x, band.low, band.high)
    plot.line(*precision_recall_curve_of(evaluation))
    if not np.isnan(matrix.sensitivity + matrix.precision):
        plot.dots([matrix.sensitivity], [matrix.precision], "point", names=["at the nested thresholds"])
    return Chart(
        "Precision and recall",
        plot.svg(),
        f"AUPRC {area}; the dashed line is the share of positives, {evaluation.pooled.prevalence:.1%}, which chance "
        f"reaches.{_BAND if band else ''}",
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
        f"wide, pF1 stays within 0.01 of it. Marks below: thresholds chosen on {others(evaluation)}. Dashed: recalling "
        "all.",
    )


def others(evaluation: Evaluation) -> str:
    """What nested thresholds and calibrators are fitted on."""
    return "other patients of this fold" if evaluation.crossfitted else "the other folds"


def calibrations(evaluation: Evaluation) -> list[Calibration]:
    """:func:`rsna.evaluation.calibration.calibrate`; none where folds without a positive leave nothing to fit on."""
    try:
        return calibrate(evaluation)
    except ValueError:
        return []


def reliability_pictures(evaluation: Evaluation, found: Sequence[Calibration]) -> Chart:
    """Share of positives against mean probability in bins of equal mass, as given and after calibration, by the
    logarithm of the odds, over how many breasts and positives have which probability."""
    breasts = evaluation.breasts
    columns = breasts["cancer"], breasts["probability"], breasts["weight"]
    tables = {one.calibrator: one.reliability for one in found}
    tables = tables or {"as given": reliability(*columns, evaluation.points.bins)}
    table = tables["as given"]
    values = np.append(table["predicted"], table["observed"])
    known = values[(values > 0) & (values < 1)]
    low = float(np.clip(known.min(initial=0.5) / 2, 1e-5, 0.1))
    high = float(np.clip(1 - (1 - known.max(initial=0.5)) / 2, 0.6, 1 - 1e-4))
    axes = ("mean probability", low, high), ("share of positives", low, high)
    plot = Plot("Reliability", *axes, left=62, scales=("logit", "logit"))
    _histogram(plot, evaluation, low, high)
    plot.line([low, high], [low, high], "guide")
    for bins, style in zip(tables.values(), "abcd", strict=False):
        counts = zip(bins["breasts"], bins["positives"], strict=True)
        words = [f"{breasts} breasts, {positives} positive" for breasts, positives in counts] if style == "a" else []
        with_any = bins[bins["positives"] > 0]
        plot.line(with_any["predicted"], with_any["observed"], style)
        plot.dots(bins["predicted"], bins["observed"], style, 3, words)
    return Chart(
        "Reliability",
        plot.svg(),
        f"{len(table)} bins of equal mass, {table['breasts'].min():,} to {table['breasts'].max():,} breasts and "
        f"{table['positives'].min():,} to {table['positives'].max():,} positives each, on axes of log odds; a bin "
        "without a positive lies on the lower edge. On the dashed line probabilities mean what they say. Bars below: "
        "breasts and, strong, positives by their probability, heights by the logarithm of the count. Calibration error "
        f"as given: {number(evaluation.pooled.calibration_error)}."
        + (f" Temperature, Platt and isotonic are fitted on {others(evaluation)}." if found else ""),
        tuple(zip("abcd", tables, strict=False)),
    )


def _histogram(plot: Plot, evaluation: Evaluation, low: float, high: float) -> None:
    """Breasts and positives by probability, as bars over a fifth of the plot."""
    edges = sigmoid(np.linspace(float(logit(low)), float(logit(high)), 25))
    scores = np.clip(evaluation.breasts["probability"], edges[0], edges[-1])
    counts = np.histogram(scores, edges)[0]
    for style, some in (("soft", counts), ("ink", np.histogram(scores[evaluation.breasts["cancer"] == 1], edges)[0])):
        plot.bars(edges, 0.2 * np.log1p(some) / np.log1p(counts.max()), style)


def decision_curve(evaluation: Evaluation, found: Sequence[Calibration]) -> Chart:
    """Net benefit of recalling at each probability, against recalling all and none."""
    breasts, prevalence = evaluation.breasts, evaluation.pooled.prevalence
    labels, w = breasts["cancer"], breasts["weight"]
    low, high = max(prevalence / 10, 1e-4), min(max(20 * prevalence, 0.3), 0.9)
    at = np.geomspace(low, high, 160)
    by = {one.calibrator: one.probability for one in found if one.calibrator in ("as given", "Platt")}
    by = by or {"as given": breasts["probability"].to_numpy()}
    unit = 1000
    top = unit * prevalence
    axes = ("threshold probability", low, high), ("net benefit per 1,000 breasts", -0.25 * top, 1.05 * top)
    plot = Plot("Decision curve", *axes, scales=("log", "linear"))
    plot.line([low, high], [0, 0], "guide")
    all_of_them = unit * (prevalence - (1 - prevalence) * at / (1 - at))
    shown = all_of_them >= axes[1][1]
    plot.line(at[shown], all_of_them[shown], "guide")
    for (_, probabilities), style in zip(by.items(), "ab", strict=False):
        benefit = unit * net_benefit(labels, probabilities, at, w)
        plot.line(at, np.maximum(benefit, axes[1][1]), style)
    return Chart(
        "Decision curve",
        plot.svg(),
        "Cancers found in 1,000 breasts, less false alarms at the odds of the threshold: who recalls at 5 % holds a "
        "missed cancer to be 19 times as bad as a false alarm. Dashed: recalling none, and all."
        + (f" Platt is fitted on {others(evaluation)}." if len(by) > 1 else ""),
        tuple(zip("ab", by, strict=False)),
    )


def folds_spread(evaluation: Evaluation, run: Run) -> Chart:
    """AUROC and nested pF1 of every fold, and pooled with the intervals that the run recorded."""
    rows = [*evaluation.folds, evaluation.pooled]
    names = [*(fold.name for fold in evaluation.folds), "pooled"]
    plot = Plot("Spread over folds", ("metric", 0, 1), ("", len(rows) - 0.4, -0.6), names, 84 + 32 * len(rows))
    for name, style, shift in (("pf1_nested", "a", -0.12), ("auroc", "b", 0.12)):
        values = [row.values[name] for row in rows]
        known = [i for i, value in enumerate(values) if not np.isnan(value)]
        if ends := run.shown.ends(name) if run.shown else None:
            plot.line(ends, [len(rows) - 1 + shift] * 2, f"{style} wide")
        words = [f"{names[i]}: {values[i]:.4f}" for i in known]
        plot.dots([values[i] for i in known], [i + shift for i in known], style, 4.5, words)
    return Chart(
        "Spread over folds",
        plot.svg(),
        "Each fold by itself, and all that are finished; the bars are the 95 % intervals of these together.",
        (("a", "nested pF1"), ("b", "AUROC")),
    )


def parts_spread(evaluation: Evaluation, names: Mapping[int, str], resamples: int) -> Chart:
    """AUROC of every part that the folds are, with its interval, and pooled."""
    rows = score_parts(evaluation, names, resamples).rows
    low = min([0.5, *(own.intervals["auroc"].low for own in rows.values() if own.intervals)])
    labels = [name if len(name) <= _NAME else f"{name[: _NAME - 1]}…" for name in rows]
    plot = Plot("Each part left out", ("AUROC", low - 0.02, 1), ("", len(rows) - 0.4, -0.6), labels,
                84 + 32 * len(rows), left=136)  # fmt: skip
    plot.line([0.5, 0.5], [-0.6, len(rows) - 0.4], "guide")
    for place, (name, own) in enumerate(rows.items()):
        if own.too_few:
            continue
        if ends := own.intervals.get("auroc"):
            plot.line([ends.low, ends.high], [place, place], "a wide")
        said = f"{name}: {own.values['auroc']:.4f} of {own.breasts:,} breasts, {own.positives:,} positive"
        plot.dots([own.values["auroc"]], [place], "a", 4.5, [said])
    few = [name for name, own in rows.items() if own.too_few]
    return Chart(
        "Each part left out",
        plot.svg(),
        "Each row by a network that was trained on all others; bars are 95 % intervals over patients."
        + (f" Too few breasts of a class: {', '.join(few)}." if few else ""),
    )


@dataclass(frozen=True)
class Scored:
    """A run with scores of the competition, and the number of its dots."""

    number: int
    name: str
    nested: float
    public: float | None
    private: float | None


def cv_against_lb(runs: Sequence[Run]) -> tuple[Chart, list[Scored]] | None:
    """Nested pF1 against the competition's scores, dots numbered as the rows; None where no run has both."""
    known = [(nested, run) for run in runs if (nested := run.metric("pf1_nested")) is not None]
    known = [(nested, run) for nested, run in known if (run.lb.public, run.lb.private) != (None, None)]
    known.sort(key=lambda one: -one[0])
    scored = [Scored(k, run.name, nested, run.lb.public, run.lb.private) for k, (nested, run) in enumerate(known, 1)]
    if not scored:
        return None
    points = [
        (one, score, style, kind)
        for one in scored
        for score, style, kind in ((one.public, "a", "public"), (one.private, "b", "private"))
        if score is not None
    ]
    values = [one.nested for one in scored] + [score for _, score, _, _ in points]
    low, high = max(min(values) - 0.05, 0), min(max(values) + 0.05, 1)
    axes = ("nested pF1, cross-validated", low, high), ("pF1 on the leaderboard", low, high)
    plot = Plot("CV against leaderboard", *axes)
    plot.line([low, high], [low, high], "guide")
    for one, score, style, kind in points:
        said = f"{one.name}: {one.nested:.4f} cross-validated, {score:.2f} {kind}"
        plot.dots([one.nested], [score], style, 7.5, [said])
        plot.words(one.nested, score, str(one.number), "within", shift=3.5)
    chart = Chart(
        "CV against leaderboard",
        plot.svg(),
        "Each run's latest scored submission, numbered as in the table. On the dashed line both agree; below it the "
        "cross-validation promised more.",
        (("a", "public"), ("b", "private")),
    )
    return chart, scored


@dataclass(frozen=True)
class ConfusionMatrix:
    """Breasts by label and whether they are recalled at their nested threshold, weighted."""

    tp: float
    fp: float
    fn: float
    tn: float
    uncut: int = 0
    """Breasts that have no nested threshold, and are in none of these."""

    @property
    def sensitivity(self) -> float:
        """Share of positives that are recalled; NaN where none of them has a threshold."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else float("nan")

    @property
    def false_alarms(self) -> float:
        """Share of negatives that are recalled; NaN where there is none."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else float("nan")

    @property
    def precision(self) -> float:
        """Share of recalls that are positive; NaN without any recall."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else float("nan")

    @property
    def but(self) -> str:
        """How many breasts are not judged, as the end of a sentence; empty where all are."""
        return f" (without {self.uncut:,} breasts that have none: the other folds hold no positive)" * bool(self.uncut)


def confusion(evaluation: Evaluation) -> ConfusionMatrix:
    """The confusion matrix at nested thresholds."""
    breasts = evaluation.cut_breasts
    positive, at, w = breasts["cancer"].to_numpy() == 1, breasts["recalled"].to_numpy(), breasts["weight"].to_numpy()
    parts = (positive & at, ~positive & at, positive & ~at, ~positive & ~at)
    tp, fp, fn, tn = (float(w[rows].sum()) for rows in parts)
    return ConfusionMatrix(tp, fp, fn, tn, uncut=len(evaluation.breasts) - len(breasts))
