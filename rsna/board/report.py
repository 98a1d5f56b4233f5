"""The report: ranking, curves, slices and error gallery of runs on one self-contained page."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsna.board import charts
from rsna.board.leaderboard import Group, Member, Place, leaderboard
from rsna.board.paper import write_paper
from rsna.board.ranking import METRIC_COLUMNS, ends, not_told
from rsna.board.run_page import RunPage, environment, run_page
from rsna.board.together import together
from rsna.config.board import ReportOptions
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.tables import number
from rsna.files import write_atomic
from rsna.parallel.progress import Progress, duration
from rsna.runs.errors import RunError
from rsna.runs.run import Run

PICTURED = 12
"""Runs of a folder that have galleries, at most: pictures of fifty are slow to open. Runs that are named always do."""


@dataclass(frozen=True)
class Column:
    """Of the ranking."""

    name: str
    value: Callable[[Place], Any]
    """What rows are sorted by; None where there is nothing."""
    kind: str = "n"
    """n for numbers, t for text."""
    written: Callable[[Any], str] = str
    detail: bool = False
    """Whether it is a column on wide screens alone: on others it stands under the run's name."""

    def said(self, place: Place) -> str:
        """The cell."""
        value = self.value(place)
        return "" if value is None else self.written(value)


def _metric(name: str, title: str) -> Column:
    return Column(title, lambda place: place.value(name) if place.run.shown else None, written=number)


COLUMNS = (
    Column("rank", lambda place: place.rank),
    Column("run", lambda place: place.run.name, "t"),
    _metric("pf1_nested", "nested pF1"),
    Column("from leader", lambda place: -place.difference.value if place.difference else None),
    *(_metric(name, title) for name, title in METRIC_COLUMNS.items()),
    Column("seeds", lambda place: len(place.seeds) if len(place.seeds) > 1 else None),
    Column("public", lambda place: place.lb("public"), written="{:.2f}".format),
    Column("private", lambda place: place.lb("private"), written="{:.2f}".format),
    Column("backbone", lambda place: place.run.backbone, "t", detail=True),
    Column("input", lambda place: place.run.input, "t", detail=True),
    Column("folds", lambda place: f"{len(place.run.fold_metrics)}/{place.run.record.n_folds}", "t", detail=True),
    Column("duration", lambda place: place.seconds, written=duration, detail=True),
    Column("commit", lambda place: place.run.commit or None, "t", detail=True),
    Column("hardware", lambda place: place.hardware or None, "t", detail=True),
)
"""Shown where any run of the group has a value, and always the first three."""


def columns(group: Group) -> list[Column]:
    """Those that are not empty."""
    shown = [c for c in COLUMNS[3:] if any(c.value(place) is not None for place in group.places)]
    return [*COLUMNS[:3], *shown]


def details(place: Place) -> str:
    """Detail columns as one line."""
    return " · ".join(said for column in COLUMNS if column.detail and (said := column.said(place)))


def remarks(group: Group) -> list[str]:
    """What holds of the whole ranking."""
    lines = []
    if group.simulated:
        lines.append("Simulated mammograms: nothing here says anything of real ones.")
    if group.sampling == "enriched":
        lines.append(
            "The share of positives in this set was made, not found: pF1 here is not that of screening; read AUROC too."
        )
    if len(group.ranked) > 1:
        lines.append(
            f"The leader is the best of {len(group.ranked)} {'configurations' if group.noise else 'runs'}, chosen by "
            "the very metric that is shown: this and its interval flatter it."
        )
    if group.detectable is not None:
        lines.append(
            "“May be noise”: the paired difference has p ≥ 0.05 over "
            f"{'patients and seeds' if group.noise else 'patients'}, corrected for the number of runs; "
            f"{not_told(group.detectable)}."
        )
        if group.noise:
            lines.append(
                f"Seeds move nested pF1 by {group.noise.sd:.4f}, a standard deviation beside the noise of patients. "
                "Where a row has several, its metrics are means over them."
            )
        else:
            lines.append(
                "One seed each: differences and intervals are of these trained models; what another seed would give "
                "is in none of them."
            )
    for place in group.places:
        lines += [f"{run.name} {said}." for run in place.runs if run.shown and (said := run.shown.doubt)]
        if len(place.members) > 1 and place.submitted:
            of = ", ".join(run.name for run in place.submitted)
            lines.append(f"{place.run.name} ×{len(place.members)}: the competition has scored {of}.")
    return lines


def write_report(runs: Sequence[Run], options: ReportOptions, left_out: Sequence[str] = ()) -> None:
    """Writes the page of some runs, and lines about those that cannot be shown; of one that is named, its paper; of
    several, what they are joined.

    Raises:
        RunError: There is no run.
        ConfigError: Jinja2 is not installed; named runs cannot be joined as asked.
    """
    templates = environment()
    if not runs:
        raise RunError("there is no run to report on; python train.py fold=all makes one")
    evaluation = _scored(runs[0]) if len(options.run) == 1 else None
    if evaluation:
        write_paper(runs[0], evaluation, options)
        return
    joined = together(runs, options)
    groups = leaderboard(runs, options.resamples)
    entries = [(place, member) for group in groups for place in group.places for member in place.members]
    with Progress("draw", len(entries), "runs") as progress:
        pages = [
            _page(f"run-{k}", place, member, options, pictured=bool(options.run) or len(entries) <= PICTURED)
            for k, (place, member) in enumerate(progress.over(entries), 1)
        ]
    page = templates.get_template("report.html").render(
        groups=groups,
        pages=pages,
        columns=columns,
        details=details,
        remarks=remarks,
        ends=ends,
        anchors={page.run.path: page.anchor for page in pages},
        together=joined,
        neighbours=_neighbours(pages),
        against_lb=charts.cv_against_lb(runs),
        left_out=left_out,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomic(Path(options.out), page)


def _scored(run: Run) -> Evaluation | None:
    """None where there is nothing to write a paper of; the page of several says why."""
    if run.shown:
        with suppress(PredictionError, RunError, ValueError):
            return run.evaluate()
    return None


def _neighbours(pages: Sequence[RunPage]) -> dict[str, tuple[RunPage | None, RunPage | None]]:
    """Anchor → the pages before and after."""
    around = [None, *pages, None]
    return {page.anchor: (before, after) for before, page, after in zip(around, pages, around[2:], strict=False)}


def _page(anchor: str, place: Place, member: Member, options: ReportOptions, pictured: bool) -> RunPage:
    why = "" if place.rank else place.why
    return run_page(anchor, member.run, member.evaluate, options, why=why, pictured=pictured)
