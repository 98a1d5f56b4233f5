"""What pages show of one run: metrics, charts, operating points, slices and the gallery; and how they are written."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from rsna.board import charts
from rsna.board.charts import Chart, ConfusionMatrix
from rsna.board.ranking import interval
from rsna.board.terminal import p_text, signed, signed_ends
from rsna.config.board import ReportOptions
from rsna.config.settings import ConfigError
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.decisions import OperatingPoint, operating_points
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.slices import SLICE_METRICS, Slice
from rsna.evaluation.tables import number, percent
from rsna.parallel.progress import duration
from rsna.pictures.style import DASHES, GRID, INK, SERIES, SOFT
from rsna.runs.errors import RunError
from rsna.runs.resamples import bands_of, slices_of
from rsna.runs.run import Run

if TYPE_CHECKING:
    from jinja2 import Environment

    from rsna.board.gallery import Gallery

TILES = ("pf1_nested", "pf1_raw", "optimism_gap", "auroc", "auprc", "sensitivity_at_specificity")
"""Metrics shown large."""

Tile = tuple[str, str, tuple[float, float] | None]
"""(name, value, ends of the interval) of one of them."""


@dataclass(frozen=True)
class RunPage:
    """What a page shows of one run."""

    anchor: str
    """Where links to it lead."""
    run: Run
    data: str
    why: str = ""
    """What keeps it out of a ranking."""
    tiles: tuple[Tile, ...] = ()
    charts: tuple[Chart, ...] = ()
    confusion: ConfusionMatrix | None = None
    points: tuple[OperatingPoint, ...] = ()
    slices: tuple[tuple[str, tuple[Slice, ...]], ...] = ()
    """What slices are made by → slices."""
    gallery: "Gallery | None" = None
    no_gallery: str = ""
    """Why there is none, and what makes one."""
    note: str = ""
    """Why there is nothing to draw."""


def run_page(
    anchor: str,
    run: Run,
    evaluate: Callable[[], Evaluation],
    options: ReportOptions,
    *,
    why: str = "",
    pictured: bool = True,
) -> RunPage:
    """Computes what is shown; where the predictions cannot be scored, the reason.

    Args:
        anchor: See `RunPage`.
        run: Whose page it is.
        evaluate: The run's own, where somebody may have computed it before.
        options: Pictures, resamples, folder of the set.
        why: See `RunPage`.
        pictured: Whether there is a gallery.
    """
    try:
        evaluation = evaluate()
    except (RunError, PredictionError, ValueError) as error:
        return RunPage(anchor, run, run.record.data.name, why, note=str(error))
    parts = slices_of(run, evaluation, options.resamples)
    return RunPage(
        anchor=anchor,
        run=run,
        data=run.record.data.name,
        why=why,
        tiles=tiles_of(evaluation, run.shown.ends if run.shown else lambda _: None),
        charts=charts_of(run, evaluation, options),
        confusion=charts.confusion(evaluation),
        points=tuple(operating_points(evaluation)),
        slices=tuple((by, tuple(rows)) for by, rows in groupby(parts, lambda part: part.by)),
        gallery=gallery_of(run, evaluation, options) if options.images and pictured else None,
        no_gallery="" if pictured or not options.images else f"rsna report run={run.path} draws what it gets wrong.",
    )


def tiles_of(evaluation: Evaluation, ends: Callable[[str], tuple[float, float] | None]) -> tuple[Tile, ...]:
    """The metrics shown large; ``ends`` are those of a metric's interval."""
    return tuple((evaluation.title(name), number(evaluation.pooled.values[name]), ends(name)) for name in TILES)


def charts_of(run: Run, evaluation: Evaluation, options: ReportOptions) -> tuple[Chart, ...]:
    """Every chart that these predictions allow."""
    found, bands = charts.calibrations(evaluation), bands_of(run, evaluation) if options.resamples else (None, None)
    return (
        charts.roc(evaluation, bands[0]),
        charts.precision_recall(evaluation, bands[1]),
        charts.pf1_by_threshold(evaluation),
        *(draw(evaluation, found) for draw in (charts.reliability_pictures, charts.decision_curve)),
        *([charts.folds_spread(evaluation, run)] if evaluation.folds else []),
        *([charts.parts_spread(evaluation, run.parts, options.resamples)] if run.parts and evaluation.folds else []),
    )


def gallery_of(run: Run, evaluation: Evaluation, options: ReportOptions) -> "Gallery":
    """What a run gets wrong, in pictures as far as they are at hand."""
    # Decoders and OpenCV, which a page without pictures does without.
    from rsna.board.gallery import gallery
    from rsna.board.pixels import Pixels

    return gallery(run, evaluation, Pixels(run, options.data), options.images)


def environment() -> "Environment":
    """Templates of this room and the filters that they use.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ConfigError("jinja2 is not installed; pip install 'rsna-mammography[train]'") from error
    made = Environment(
        loader=PackageLoader("rsna.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number, "duration": duration, "interval": interval, "percent": percent, "signed": signed,
        "signed_ends": signed_ends,
        "p": p_text, "chance": chance,
    }  # fmt: skip
    made.globals |= {"series": SERIES, "dashes": DASHES, "ink": INK, "soft": SOFT, "grid": GRID}
    # AUROC, the one to compare slices by, is the last in a text and the first on a page.
    made.globals["slice_metrics"] = [(name, METRICS[name].title) for name in reversed(SLICE_METRICS)]
    return made


def chance(p: float | None) -> str:
    """`p = 0.012`, `p < 0.001`; nothing for None."""
    if p is None or np.isnan(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
