"""The ranking as text for people, as JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from rsna.board.leaderboard import Group, Place
from rsna.evaluation.tables import number, text_table
from rsna.parallel.progress import duration

# The run first: in a text table the first column alone stands at the left.
COLUMNS = (
    "run", "rank", "backbone", "input", "folds", "nested pF1", "95 % interval", "raw pF1", "AUROC", "public", "private",
    "commit", "duration", "hardware",
)  # fmt: skip


def to_text(groups: Sequence[Group]) -> str:
    """Aligned tables, one a dataset and split of folds, and what their marks mean."""
    if not groups:
        return "no runs yet; python train.py fold=all makes one"
    return "\n\n".join(_text(group) for group in groups)


def to_json(groups: Sequence[Group]) -> str:
    """A list of rows, see :func:`row`."""
    return json.dumps([row(group, place) for group in groups for place in group.places], indent=2, ensure_ascii=False)


def to_csv(groups: Sequence[Group]) -> str:
    """One line a run, with the keys of :func:`row` as header."""
    rows = [row(group, place) for group in groups for place in group.places]
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return stream.getvalue().rstrip("\n")


def row(group: Group, place: Place) -> dict[str, Any]:
    """A run in plain values, unrounded; None where there is none."""
    run, gap = place.run, place.difference
    low, high = run.ends("pf1_nested") or (None, None)
    return {
        "rank": place.rank,
        "run": str(run.path),
        "experiment": run.record.name,
        "data": group.data,
        "dataset_hash": group.comparable[0],
        "folds_hash": group.comparable[1],
        "backbone": run.backbone,
        "input": run.input,
        "folds_done": len(run.fold_metrics),
        "n_folds": run.record.n_folds,
        "pf1_nested": run.metric("pf1_nested"),
        "pf1_nested_low": low,
        "pf1_nested_high": high,
        "pf1_raw": run.metric("pf1_raw"),
        "auroc": run.metric("auroc"),
        "public": run.lb.public,
        "private": run.lb.private,
        "against_leader": place.against,
        "behind_leader": None if gap is None else gap.value,
        "p": None if gap is None else gap.p,
        "p_corrected": place.p,
        "checkpoint": run.config.checkpoint,
        "commit": run.record.commit.hash,
        "dirty": run.record.commit.dirty,
        "hardware": run.hardware or None,
        "seconds": run.seconds,
        "note": place.why or None,
    }


def interval(ends: tuple[float, float] | None) -> str:
    """`0.1234 to 0.2345`; `–` for None."""
    return "–" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _text(group: Group) -> str:
    title = f"{group.data} (dataset {group.comparable[0]}, folds {group.comparable[1]})"
    return "\n".join([title, text_table([COLUMNS, *map(_cells, group.places)]), *_remarks(group)])


def _cells(place: Place) -> list[str]:
    run = place.run
    marks = ("~" if place.against == "noise" else "") + ("*" if run.selected else "")
    scores = ["not ranked", ""]
    if place.rank is not None:
        scores = [number(run.metric("pf1_nested")), interval(run.ends("pf1_nested"))]
    return [
        f"{run.path}{marks}", str(place.rank or "–"), run.backbone, run.input,
        f"{len(run.fold_metrics)}/{run.record.n_folds}",
        *scores,
        *(number(run.metric(name)) if run.metrics else "" for name in ("pf1_raw", "auroc")),
        *("" if score is None else f"{score:.2f}" for score in (run.lb.public, run.lb.private)),
        run.commit, "" if run.seconds is None else duration(run.seconds), run.hardware,
    ]  # fmt: skip


def _remarks(group: Group) -> list[str]:
    lines, places = [], group.places
    if any(place.against == "noise" for place in places):
        lines.append(
            "~ not told apart from the leader: the paired difference in nested pF1 may be noise "
            "(p ≥ 0.05, corrected for the number of comparisons)"
        )
    if len(group.ranked) > 1:
        lines.append(
            f"the leader is the best of {len(group.ranked)} runs, chosen by the very metric that is shown: this and "
            "its interval flatter it"
        )
    if any(place.run.selected for place in places):
        lines.append("* checkpoint=best: the epoch was chosen on the very fold that is reported")
    if any(place.run.commit.endswith("+") for place in places):
        lines.append("+ the checkout had changes that are in no commit")
    if group.sampling == "enriched":
        lines.append("enriched set, whose share of positives was made: pF1 is not that of screening, read AUROC too")
    lines += [f"{place.run.path}: {place.why}" for place in places if place.why]
    return lines
