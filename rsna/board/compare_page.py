"""The page of runs compared: what differs, by how much, and on which breasts, with their pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rsna.board import compare_charts as charts
from rsna.board.charts import Chart
from rsna.board.compare import Against, RunComparison
from rsna.board.compare_text import title_of
from rsna.board.run_page import environment
from rsna.config.board import CompareOptions
from rsna.evaluation.bootstrap import Difference
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.slices import FEWEST
from rsna.evaluation.tables import number
from rsna.files import write_atomic
from rsna.parallel.progress import Progress
from rsna.runs.errors import RunError

if TYPE_CHECKING:
    from rsna.board.pixels import Pixels

_TITLES = {
    "found": "Cancers that {other} alone recalls", "missed": "Cancers that {first} alone recalls",
    "false alarm": "False alarms of {other} alone", "spared": "False alarms of {first} alone",
}  # fmt: skip
_HEIGHT = 420
"""Rows of a picture, at most."""


@dataclass(frozen=True)
class Row:
    """One difference in the table."""

    title: str
    values: tuple[str, str]
    """Of the first run and of the other."""
    gap: Difference
    scale: float
    """Largest end of an interval among the rows that are drawn on one scale."""
    better: str
    """`better` or `worse` where the interval lies on one side of 0; empty where it does not."""


@dataclass(frozen=True)
class View:
    """An image of a breast; why it is missing where there is no picture."""

    name: str
    picture: str = ""
    width: int = 0
    height: int = 0
    missing: str = ""


@dataclass(frozen=True)
class Case:
    """A breast that one of two runs recalls."""

    prediction_id: str
    cancer: bool
    sides: tuple[tuple[str, float, float], ...]
    """Name, probability and threshold of the first run and of the other."""
    views: tuple[View, ...]


@dataclass(frozen=True)
class Pair:
    """What is shown of a run and the first."""

    names: tuple[str, str]
    rows: tuple[Row, ...]
    slices: tuple[tuple[str, str, int, int, tuple[Row, ...]], ...]
    few: int
    """Slices left out for having too few of either class."""
    scatter: Chart
    recalls: dict[str, tuple[int, int, int, int]]
    cases: tuple[tuple[str, int, tuple[Case, ...]], ...]
    """Title, how many there are, and those that are shown."""
    missing: str
    """Why some have no picture; empty where all have one, or none was asked for."""


def write_comparison(found: RunComparison, options: CompareOptions) -> None:
    """Writes the page.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    templates = environment()
    notes = list(found.notes)
    try:
        curves = charts.learning_curves(found)
    except RunError as error:  # the rest of the page stands without
        curves = []
        notes.append(str(error))
    views = _views_of(found, options) if options.images else None
    pairs = [
        _pair(found, one, (found.names[0], name), options, views)
        for name, one in zip(found.names[1:], found.others, strict=True)
    ]
    page = templates.get_template("compare.html").render(
        found=found,
        names=found.names,
        notes=notes,
        overlays=[charts.roc_curves(found), charts.roc_curves(found, charts.LOW_ALARMS), charts.recall_curves(found)],
        curves=curves,
        pairs=pairs,
        styles=charts.STYLES,
        fewest=FEWEST,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomic(options.out, page)


def _pair(
    found: RunComparison,
    one: Against,
    names: tuple[str, str],
    options: CompareOptions,
    views: Callable[[str], tuple[View, ...]] | None,
) -> Pair:
    points = one.comparison.points
    rows = [
        (
            name,
            title_of(name, points),
            [number(side.value(name)) for side in (found.first, one.side)],
        )
        for name in one.comparison.differences
    ]
    gaps = one.comparison.differences
    scale = _scale(gaps.values())
    slices = [part for part in one.slices if part.differences]
    scales = {
        name: _scale(part.differences[name] for part in slices if name in part.differences)
        for name in ("auroc", "pf1_nested")
    }
    shown: list[tuple[str, int, tuple[Case, ...]]] = []
    with Progress("pictures", options.images * len(one.disagreements), "breasts") as progress:
        for part in one.disagreements:
            cases = []
            for row in progress.over(part.breasts.head(options.images).to_dict("records")):
                cases.append(_case(row, names, views))
            shown.append((_TITLES[part.kind].format(first=names[0], other=names[1]), len(part.breasts), tuple(cases)))
    return Pair(
        names=names,
        rows=tuple(
            Row(title, (first, other), gaps[name], scale, _better(name, gaps[name]))
            for name, title, (first, other) in rows
        ),
        slices=tuple(
            (part.by, part.value, part.breasts, part.positives, tuple(
                Row(METRICS[name].title, ("", ""), part.differences[name], scales[name],
                    _better(name, part.differences[name]))
                for name in scales if name in part.differences
            ))
            for part in slices
        ),
        few=len(one.slices) - len(slices),
        scatter=charts.scatter(found, one, names),
        recalls=dict(one.recalls),
        cases=tuple(shown),
        missing=_missing([case for _, _, cases in shown for case in cases]),
    )  # fmt: skip


def _missing(cases: Sequence[Case]) -> str:
    found = [next((view.missing for view in case.views if view.missing), "") for case in cases]
    lacking = [why for why in found if why]
    return f"No picture of {len(lacking)} of {len(cases)} breasts: {lacking[0]}." if lacking else ""


def _scale(gaps: Any) -> float:
    ends = [abs(end) for gap in gaps for end in (gap.interval.low, gap.interval.high) if end == end]
    return max(ends, default=1.0) or 1.0


def _better(name: str, gap: Difference) -> str:
    if gap.interval.low <= 0 <= gap.interval.high or gap.interval.low != gap.interval.low:
        return ""
    return "better" if (gap.value > 0) != METRICS[name].low_is_best else "worse"


def _case(row: dict[Any, Any], names: Sequence[str], views: Callable[[str], tuple[View, ...]] | None) -> Case:
    sides = [
        (name, float(row[f"probability{of}"]), float(row[f"threshold{of}"]))
        for name, of in zip(names, ("", "_other"), strict=True)
    ]
    breast = str(row["prediction_id"])
    return Case(breast, row["cancer"] == 1, tuple(sides), views(breast) if views else ())


def _views_of(found: RunComparison, options: CompareOptions) -> Callable[[str], tuple[View, ...]]:
    """Breast → its images, from the first run that has them at hand; each breast is read once."""
    # Decoders and OpenCV, which a page without pictures does without.
    from functools import cache

    from rsna.board.gallery import images_of
    from rsna.board.pixels import Pixels

    rows = images_of(found.first.run.oof())
    places = [Pixels(run, options.data) for run in found.runs]

    @cache
    def views(breast: str) -> tuple[View, ...]:
        own = rows[rows["prediction_id"] == breast]
        own = own.sort_values([name for name in ("view", "image_id") if name in own], kind="stable")
        return tuple(_view(str(row["image_id"]), str(row.get("view", "")), places) for _, row in own.iterrows())

    return views


def _view(image_id: str, name: str, places: "Sequence[Pixels]") -> View:
    from rsna.board.gallery import data_uri
    from rsna.board.pixels import UNREADABLE

    why = ""
    for pixels in places:
        try:
            shown = pixels.show(image_id, _HEIGHT)
        except UNREADABLE as error:
            why = why or pixels.reason(image_id, error)
            continue
        height, width = shown.pixels.shape
        return View(name, data_uri(shown.pixels, ".jpg"), width, height)
    return View(name, missing=why)
