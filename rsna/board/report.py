"""The report: ranking, curves, slices and error gallery of runs on one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from rsna.board import charts
from rsna.board.charts import Chart, ConfusionMatrix
from rsna.board.gallery import Gallery, gallery
from rsna.board.leaderboard import Group, Place, leaderboard
from rsna.board.pixels import Pixels
from rsna.board.ranking import interval
from rsna.config.settings import ConfigError
from rsna.config.verbs import ReportOptions
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.slices import Slice, slices
from rsna.evaluation.tables import number
from rsna.files import write_atomic
from rsna.parallel.progress import duration
from rsna.runs.errors import RunError
from rsna.runs.run import Run

TILES = ("pf1_nested", "pf1_raw", "optimism_gap", "auroc", "auprc", "sensitivity_at_specificity")
"""Metrics shown large."""


@dataclass(frozen=True)
class RunPage:
    """What the page shows of one run."""

    anchor: str
    """Where links to it lead."""
    place: Place
    data: str
    tiles: tuple[tuple[str, str, tuple[float, float] | None], ...] = ()
    """(name, value, ends of the interval)."""
    charts: tuple[Chart, ...] = ()
    confusion: ConfusionMatrix | None = None
    slices: tuple[tuple[str, tuple[Slice, ...]], ...] = ()
    """What slices are made by → slices."""
    gallery: Gallery | None = None
    note: str = ""
    """Why there is nothing to draw."""


def write_report(runs: Sequence[Run], options: ReportOptions, left_out: Sequence[str] = ()) -> None:
    """Writes the page of some runs, and lines about those that cannot be shown.

    Raises:
        RunError: There is no run.
        ConfigError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ConfigError("jinja2 is not installed; pip install 'rsna-mammography[train]'") from error
    if not runs:
        raise RunError("there is no run to report on; python train.py fold=all makes one")
    groups = leaderboard(runs, options.resamples)
    places = [(group, place) for group in groups for place in group.places]
    pages = [_page(f"run-{number}", group, place, options) for number, (group, place) in enumerate(places, 1)]
    loader = PackageLoader("rsna.board")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "duration": duration, "interval": interval, "percent": "{:.1%}".format}
    page = environment.get_template("report.html").render(
        groups=groups,
        pages=pages,
        anchors={page.place.run.path: page.anchor for page in pages},
        against_lb=charts.cv_against_lb(runs),
        left_out=left_out,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomic(options.out, page)


def _page(anchor: str, group: Group, place: Place, options: ReportOptions) -> RunPage:
    try:
        evaluation = place.evaluate()
    except (RunError, PredictionError, ValueError) as error:
        return RunPage(anchor, place, group.data, note=str(error))
    run = place.run
    parts = slices(evaluation, options.resamples)
    draw = (charts.roc, charts.precision_recall, charts.pf1_by_threshold, charts.reliability_pictures)
    return RunPage(
        anchor=anchor,
        place=place,
        data=group.data,
        tiles=tuple(
            (METRICS[name].title_at(evaluation.points), number(evaluation.pooled.values[name]), run.ends(name))
            for name in TILES
        ),
        charts=(
            *(chart(evaluation) for chart in draw),
            *([charts.folds_spread(evaluation, run)] if evaluation.folds else []),
        ),
        confusion=charts.confusion(evaluation),
        slices=tuple((by, tuple(rows)) for by, rows in groupby(parts, lambda part: part.by)),
        gallery=gallery(run, evaluation, Pixels(run, options.data), options.images) if options.images else None,
    )
