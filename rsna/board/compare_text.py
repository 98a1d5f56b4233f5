"""Runs against a first one, as tables of 80 columns."""

import shutil
import sys
from collections.abc import Sequence

from rsna.board.compare import Against, RunComparison, Side
from rsna.board.terminal import WIDTH, Column, fill, layout, p_text, signed, signed_ends
from rsna.evaluation.counts import OperatingPoints
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.slices import FEWEST
from rsna.evaluation.tables import number
from rsna.parallel.progress import place_of

_LESS = " (less is better)"


def comparison_text(found: RunComparison, width: int = WIDTH) -> str:
    """Settings, metrics, recalls and slices of all runs, at most ``width`` columns wide."""
    names = [f"{chr(97 + i)}: {line}" for i, side in enumerate(found.sides) for line in _runs(side)]
    lines = [*names, *(fill(line, width) for line in found.notes)]
    letters = [chr(97 + i) for i in range(len(found.runs))]
    if matter := [one for one in found.settings if not one.free]:
        lines += ["", *_table(["setting", *letters], [[one.key, *one.values] for one in matter], width, words=True)]
    if free := [one.key for one in found.settings if one.free]:
        lines += ["", fill(f"also apart, in where and with what they were trained: {', '.join(free)}", width)]
    if not found.settings:
        lines += ["", "their configurations are the same"]
    for letter, one in zip(letters[1:], found.others, strict=True):
        lines += ["", *_metrics(letter, found, one, width), "", *_recalls(letter, one, width)]
        if one.slices:
            lines += ["", *_slices(letter, one, width)]
    return "\n".join([*lines, "", fill(found.scope, width)])


def _runs(side: Side) -> list[str]:
    """A line a run; seeds where there are several."""
    if len(side.runs) == 1:
        return [str(side.run.path)]
    return [f"{run.path}, seed {seed}" for run, seed in zip(side.runs, side.seeds, strict=True)]


def show_comparison(found: RunComparison) -> None:
    """Prints it, as wide as the terminal is."""
    width = WIDTH if place_of(sys.stdout) == "log" else shutil.get_terminal_size().columns
    print(comparison_text(found, max(width, 40)))


def title_of(name: str, points: OperatingPoints) -> str:
    """What a metric is called in a comparison, and whether less of it is better."""
    metric = METRICS[name]
    return metric.title_at(points) + _LESS * metric.low_is_best


def _metrics(letter: str, found: RunComparison, one: Against, width: int) -> list[str]:
    rows = []
    for name, gap in one.comparison.differences.items():
        title = title_of(name, one.comparison.points)
        values = [number(side.value(name)) for side in (found.first, one.side)]
        ends = signed_ends(gap.interval.low, gap.interval.high, 4)
        rows.append([title, *values, signed(gap.value, 4), ends, p_text(gap.p)])
    return _table(
        ["metric", "a", letter, f"{letter} − a", f"{100 * one.comparison.level:g} % interval", "p"], rows, width
    )


def _recalls(letter: str, one: Against, width: int) -> list[str]:
    head = ["recalled by", "both", "a alone", f"{letter} alone", "neither"]
    rows = [[name, *(f"{count:,}" for count in counts)] for name, counts in one.recalls.items()]
    said = f"ranks of the probabilities correlate by {number(one.correlation)} (Spearman)"
    return [*_table(head, rows, width), fill(said, width)]


def _slices(letter: str, one: Against, width: int) -> list[str]:
    shown = [part for part in one.slices if part.differences]
    few = len(one.slices) - len(shown)
    said = f"{few} slices with fewer than {FEWEST} breasts of either class are left out"
    rows = []
    for part in shown:
        gaps = [part.differences[name] for name in ("auroc", "pf1_nested")]
        ends = [f"{signed(gap.value)}\n{signed_ends(gap.interval.low, gap.interval.high)}" for gap in gaps]
        rows.append([f"{part.by} {part.value}", f"{part.breasts:,}", f"{part.positives:,}", *ends])
    head = ["slice", "breasts", "positive", f"AUROC, {letter} − a", f"nested pF1, {letter} − a"]
    return [*(_table(head, rows, width) if rows else []), *([fill(said, width)] if few else [])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, words: bool = False) -> list[str]:
    """Lines of a table; the first column holds words, all of them where ``words``."""
    columns = []
    for place, title in enumerate(head):
        parts = [(*row[place].split("\n"), "")[:2] for row in rows]
        columns.append(Column(title, tuple((one, other) for one, other in parts), words or place == 0))
    blocks = layout(columns, width, keys=1)
    return [line for number, block in enumerate(blocks) for line in ([""] if number else []) + block.text()]
