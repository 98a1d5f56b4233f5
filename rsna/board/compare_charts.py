"""Runs laid over each other: ROC, precision and recall, probability against probability, learning curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rsna.board.charts import Chart, precision_recall_curve_of, roc_curve_of, until
from rsna.board.compare import Against, RunComparison
from rsna.board.svg import Plot
from rsna.evaluation.calibration import CLIP, logit, sigmoid
from rsna.evaluation.checks import Bools, Floats
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.tables import number

STYLES = "abcd"
"""Of the runs, in their order."""
LOW_ALARMS = 0.2
"""Share of false alarms up to which the second ROC is drawn: screening works at its left."""
CELLS = 48
"""Cells of the scatter across and down."""
_DOTS = 400
"""Positive breasts that are drawn one by one."""
_ALONG = 38
"""Characters of a run's name beside an axis; the legend of the page has all of it."""
_CURVES = (
    ("val_loss", "Validation loss"), ("val_auroc", "Validation AUROC, by breast"),
    ("val_pf1", "Validation raw pF1, by breast"), ("train_loss", "Training loss"),
)  # fmt: skip


class ScatterPlot(Plot):
    """A plot on logit axes that also shades cells by how much lies in them."""

    def cells(self, x: Floats, y: Floats, style: str) -> None:
        """Shades the cells of a grid by the logarithm of the number of points in each; one shows under the pointer."""
        ends = [logit(np.array([low, high])) for _, low, high in (self.x, self.y)]
        edges = [np.linspace(low, high, CELLS + 1) for low, high in ends]
        counts, _, _ = np.histogram2d(logit(x), logit(y), bins=edges)
        across, down = self._across(sigmoid(edges[0])), self._down(sigmoid(edges[1]))
        most = np.log1p(counts.max(initial=1))
        for i, j in zip(*np.nonzero(counts), strict=True):
            opacity = 0.18 + 0.82 * np.log1p(counts[i, j]) / most
            self._parts.append(
                f'<rect class="cell {style}" x="{across[i]:.1f}" y="{down[j + 1]:.1f}" '
                f'width="{across[i + 1] - across[i]:.1f}" height="{down[j] - down[j + 1]:.1f}" '
                f'opacity="{opacity:.2f}"><title>{counts[i, j]:.0f}</title></rect>'
            )


def roc_curves(found: RunComparison, most: float = 1.0) -> Chart:
    """ROC curves of all runs, up to a share of false alarms."""
    areas = [number(one.pooled.auroc) for one in found.evaluations]
    part = "" if most == 1 else f", up to {100 * most:g} % false alarms"
    plot = Plot(f"ROC curves{part}", ("1 − specificity", 0, most), ("sensitivity", 0, 1))
    plot.line([0, most], [0, most], "guide")
    for one, style in zip(found.evaluations, STYLES, strict=False):
        plot.line(*until(*roc_curve_of(one), most), style)
    return Chart(f"ROC{part}", plot.svg(), f"AUROC {_each(found, areas)}.", _legend(found))


def recall_curves(found: RunComparison) -> Chart:
    """Precision against recall of all runs, in steps, as the areas are summed."""
    areas = [number(one.pooled.auprc) for one in found.evaluations]
    plot = Plot("Precision-recall curves", ("recall (sensitivity)", 0, 1), ("precision", 0, 1))
    plot.line([0, 1], [found.first.evaluation.pooled.prevalence] * 2, "guide")
    for one, style in zip(found.evaluations, STYLES, strict=False):
        plot.line(*precision_recall_curve_of(one), style)
    said = f"AUPRC {_each(found, areas)}. Dashed: the share of positives, which chance reaches."
    return Chart("Precision and recall", plot.svg(), said, _legend(found))


def scatter(found: RunComparison, one: Against, names: tuple[str, str]) -> Chart:
    """The probability of every breast in both runs, on logit axes."""
    first, other = found.first.evaluation.breasts, one.evaluation.breasts
    columns = [np.clip(one["probability"].to_numpy(), CLIP, 1 - CLIP) for one in (first, other)]
    x, y = columns
    positive = first["cancer"].to_numpy() == 1
    ends = sigmoid(np.array([logit(min(map(np.min, columns))) - 0.2, logit(max(map(np.max, columns))) + 0.2]))
    low, high = map(float, np.clip(ends, CLIP / 2, 1 - CLIP / 2))
    plot = ScatterPlot(
        f"Probabilities of {names[1]} against those of {names[0]}",
        (_short(names[0]), low, high),
        (_short(names[1]), low, high),
        left=60,
        scales=("logit", "logit"),
    )
    plot.line([low, high], [low, high], "guide")
    plot.cells(x[~positive], y[~positive], "a")
    for cut, vertical in ((_median_cut(found.first.evaluation), True), (_median_cut(one.evaluation), False)):
        if cut is not None:
            plot.line([cut, cut] if vertical else [low, high], [low, high] if vertical else [cut, cut], "guide")
    if positive.sum() > _DOTS:
        plot.cells(x[positive], y[positive], "b")
    else:
        words = [f"{breast}" for breast in first.loc[positive, "prediction_id"]]
        plot.dots(x[positive], y[positive], "b", 2.6, words)
    drawn = _drawn(positive)
    return Chart(
        "Probability against probability",
        plot.svg(),
        f"{drawn} On the diagonal both say the same; the other dashed lines are the medians of the nested thresholds, "
        f"and what the runs disagree on lies upper left and lower right of where they cross. "
        f"Spearman’s correlation {number(one.correlation)}. Logit axes.",
        (("a", "no cancer"), ("b", "cancer")),
    )


def _short(name: str) -> str:
    """What there is room for along an axis."""
    return name if len(name) <= _ALONG else f"{name[: _ALONG - 1]}…"


def _drawn(positive: Bools) -> str:
    dots = "as a dot each" if positive.sum() <= _DOTS else "shaded likewise"
    return (
        f"{(~positive).sum():,} breasts without cancer, shaded by how many lie in a place; {positive.sum():,} with "
        f"cancer, {dots}."
    )


def _median_cut(evaluation: Evaluation) -> float | None:
    cuts = [value for value in evaluation.nested.values() if not np.isnan(value)]
    return float(np.clip(np.median(cuts), CLIP, 1 - CLIP)) if cuts else None


def learning_curves(found: RunComparison) -> list[Chart]:
    """What history.csv has of every epoch, folds faintly and their mean; none where no run kept its history."""
    histories = [run.histories for run in found.runs]
    charts = []
    for column, title in _CURVES:
        # A fold that has no number of an epoch, such as AUROC without a positive, has none in its curve.
        curves = [
            {fold: rows.set_index("epoch")[column].dropna() for fold, rows in own.items() if column in rows}
            for own in histories
        ]
        values = [value for own in curves for one in own.values() for value in one]
        if not values:
            continue
        epochs = max(int(one.index.max()) for own in curves for one in own.values() if len(one))
        room = 0.06 * (max(values) - min(values)) or 0.01
        plot = Plot(title, ("epoch", 0, max(epochs, 1)), ("", min(values) - room, max(values) + room))
        for own, style in zip(curves, STYLES, strict=False):
            if len(own) > 1:
                for one in (one for one in own.values() if len(one)):
                    plot.line(one.index.to_numpy(), one.to_numpy(), f"{style} faint")
            epochs_of, mean = _mean([one for one in own.values() if len(one)])
            if len(mean) == 1:
                plot.dots(epochs_of, mean, style)
            elif len(mean):
                plot.line(epochs_of, mean, style)
        lacking = [name for name, own in zip(found.names, curves, strict=True) if not any(map(len, own.values()))]
        said = "The mean over folds; each fold faintly." if any(len(own) > 1 for own in curves) else "Of its one fold."
        if lacking:
            said += f" No history of {', '.join(lacking)}."
        charts.append(Chart(title, plot.svg(), said, _legend(found)))
    return charts


def _mean(folds: "Sequence[pd.Series[float]]") -> tuple[Floats, Floats]:
    """(E,) epochs that every fold has, and the mean of each."""
    if not folds:
        return np.empty(0), np.empty(0)
    table = pd.concat(folds, axis=1, join="inner").sort_index()
    return table.index.to_numpy(dtype=np.float64), table.mean(axis=1).to_numpy()


def _each(found: RunComparison, values: Sequence[str]) -> str:
    return ", ".join(f"{value} ({name})" for name, value in zip(found.names, values, strict=True))


def _legend(found: RunComparison) -> tuple[tuple[str, str], ...]:
    return tuple(zip(STYLES, found.names, strict=False))
