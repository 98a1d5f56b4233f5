"""Named runs as one model: what infer and bundle make of them are worth out of fold, beside each alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rsna.board import charts
from rsna.board.charts import Chart, ConfusionMatrix
from rsna.board.run_page import TILES, Tile, tiles_of
from rsna.config.board import ReportOptions
from rsna.config.data import ORDERS, JoinMethod
from rsna.config.keys import joined_by
from rsna.config.settings import ConfigError
from rsna.evaluation.bootstrap import Difference
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.decisions import OperatingPoint, operating_points
from rsna.evaluation.ensemble import Ensemble
from rsna.evaluation.evaluate import Evaluation, no_probabilities
from rsna.evaluation.tables import number
from rsna.parallel.progress import Progress
from rsna.runs.errors import RunError
from rsna.runs.joining import join_runs, open_members
from rsna.runs.resamples import COMPARED
from rsna.runs.run import Run


@dataclass(frozen=True)
class Alone:
    """A member beside all of them."""

    run: Run
    values: tuple[str, ...]
    """Of `Together.titles`."""
    gain: Difference | None
    """Nested pF1 of all together less its own, on the same resampled patients; None without resamples."""
    weight: float | None
    """In what is submitted; None where the method gives none."""


@dataclass(frozen=True)
class Together:
    """What a page shows of several runs joined."""

    method: JoinMethod
    titles: tuple[str, ...] = ()
    """Of the metrics."""
    values: tuple[str, ...] = ()
    """Of all together."""
    gained: str = ""
    """Title of the metric that `Alone.gain` is of."""
    members: tuple[Alone, ...] = ()
    fitted: bool = False
    """Whether weights were fitted, those of each fold's breasts on the other folds, and not given."""
    tiles: tuple[Tile, ...] = ()
    charts: tuple[Chart, ...] = ()
    confusion: ConfusionMatrix | None = None
    points: tuple[OperatingPoint, ...] = ()
    remarks: tuple[str, ...] = ()
    not_joined: str = ""
    """Why there is nothing else here."""


def together(runs: Sequence[Run], options: ReportOptions) -> Together | None:
    """Joins the runs that are named, as ``rsna ensemble`` does; None of one alone, and where none is named.

    Args:
        runs: Those of ``options.run``, opened.
        options: Method, weights and resamples.

    Raises:
        ConfigError, PredictionError, RunError: They cannot be joined, and a method or weights are asked for; where
            they are not, the page says why.
    """
    if len(options.run) < 2:
        return None
    method = joined_by(options.method, options.weights)
    try:
        with Progress("join the runs"):
            found = join_runs(open_members(options.run), method, options.weights, options.resamples)
    except (ConfigError, PredictionError, RunError) as error:
        if options.method != "auto" or options.weights:
            raise
        return Together(method, not_joined=str(error))
    return _shown(found, dict(zip(options.run, runs, strict=True)), options)


def _shown(found: Ensemble, runs: Mapping[str, Run], options: ReportOptions) -> Together:
    joint = found.joint
    weights = dict.fromkeys(runs) if found.weights is None else found.weights.loc["all"].to_dict()
    gains = {name: comparison.differences[COMPARED] for name, comparison in found.gains.items()}
    calibrations = charts.calibrations(joint) if joint.probabilities else []
    of_probabilities: tuple[Callable[..., Chart], ...] = (charts.reliability_pictures, charts.decision_curve)
    return Together(
        method=found.method,
        titles=tuple(joint.title(name) for name in TILES),
        values=_values(joint),
        gained=joint.title(COMPARED),
        members=tuple(
            Alone(run, _values(found.members[name]), gains.get(name), weights[name]) for name, run in runs.items()
        ),
        fitted=found.method == "weights" and not options.weights,
        tiles=tiles_of(joint, {name: (ends.low, ends.high) for name, ends in joint.pooled.intervals.items()}.get),
        charts=(
            charts.roc(joint),
            charts.precision_recall(joint),
            charts.pf1_by_threshold(joint),
            *(draw(joint, calibrations) for draw in of_probabilities if joint.probabilities),
        ),
        confusion=charts.confusion(joint),
        points=tuple(operating_points(joint)),
        remarks=tuple(_remarks(found, runs)),
    )


def _values(evaluation: Evaluation) -> tuple[str, ...]:
    return tuple(number(evaluation.pooled.values[name]) for name in TILES)


def _remarks(found: Ensemble, runs: Mapping[str, Run]) -> list[str]:
    """What is odd about them together, and what cannot be submitted."""
    lines = [f"Together: {line}." for line in found.joint.suspicions]
    lines += found.copies
    if found.method in ORDERS:
        lines.append(
            f"{no_probabilities(f'By {found.method} they are', found.joint.unit)}; nothing can be submitted by it."
        )
    selected = [run.name for run in runs.values() if run.selected]
    if selected:
        lines.append(
            f"checkpoint=best in {', '.join(selected)}: the epoch was chosen on the very fold that is reported, so "
            "what they are together is too good by that, too."
        )
    return lines
