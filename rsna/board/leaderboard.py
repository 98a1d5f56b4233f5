"""The CV pF1 leaderboard: run directories ranked by nested pF1, each dataset and split of folds apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rsna.evaluation.tables import number, text_table
from rsna.files import read_json


@dataclass(frozen=True)
class Entry:
    """One run."""

    run: Path
    name: str
    data: str
    comparable: tuple[str, str]
    """Dataset and folds hashes: only runs that share both are ranked together."""
    backbone: str
    size: tuple[int, int]
    folds_done: int
    n_folds: int
    selected: bool
    """Whether the epoch was chosen on the fold that is reported."""
    figures: dict[str, Any] | None
    """Pooled figures; None until every fold is there."""


def leaderboard(runs: Path) -> dict[tuple[str, str], list[Entry]]:
    """Entries by (dataset, folds), best nested pF1 first, incomplete cross-validations last.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not runs.is_dir():
        raise FileNotFoundError(f"runs={runs}: there is no such folder; train first, or name the folder of your runs")
    groups: dict[tuple[str, str], list[Entry]] = {}
    for file in sorted(runs.glob("*/run.json")):
        entry = read_entry(file.parent)
        groups.setdefault(entry.comparable, []).append(entry)
    for entries in groups.values():
        entries.sort(key=_rank)
    return groups


def read_entry(run: Path) -> Entry:
    """Reads a run directory."""
    record = read_json(run / "run.json")
    config = yaml.safe_load((run / "config.yaml").read_text())
    pooled = run / "cv" / "metrics.json"
    metrics = read_json(pooled) if pooled.is_file() else {}
    return Entry(
        run=run,
        name=record["name"],
        data=record["data"]["name"],
        comparable=(record["hashes"]["dataset"], record["hashes"]["folds"]),
        backbone=config["model"]["backbone"],
        size=tuple(config["preprocess"]["size"]),
        folds_done=len(list(run.glob("fold*/metrics.json"))),
        n_folds=record["n_folds"],
        selected=config["checkpoint"] == "best",
        figures=metrics.get("breasts", {}).get("pooled"),
    )


def render(groups: dict[tuple[str, str], list[Entry]]) -> str:
    """The ranking as text."""
    if not groups:
        return "no runs yet; python train.py fold=all makes one"
    parts = []
    for (dataset, folds), entries in groups.items():
        rows = [["rank", "run", "backbone", "input", "folds", "nested pF1", "95 % interval", "raw pF1", "AUROC"]]
        for place, entry in enumerate(entries, 1):
            rows.append(_row(str(place) if entry.figures else "–", entry))
        note = "\n* the epoch was chosen on the fold that is reported" if any(e.selected for e in entries) else ""
        parts.append(f"{entries[0].data} (dataset {dataset}, folds {folds})\n{text_table(rows)}{note}")
    return "\n\n".join(parts)


def _rank(entry: Entry) -> tuple[bool, float, str]:
    nested = entry.figures["pf1_nested"] if entry.figures else None
    return nested is None, -(nested or 0.0), str(entry.run)


def _row(place: str, entry: Entry) -> list[str]:
    head = [place, str(entry.run) + ("*" if entry.selected else ""), entry.backbone, "×".join(map(str, entry.size)),
            f"{entry.folds_done}/{entry.n_folds}"]  # fmt: skip
    if not entry.figures:
        return [*head, "incomplete", "", "", ""]
    interval = entry.figures["intervals"].get("pf1_nested")
    between = f"{interval['low']:.4f}–{interval['high']:.4f}" if interval else ""
    return [*head, *(number(entry.figures[k]) for k in ("pf1_nested",)), between,
            *(number(entry.figures[k]) for k in ("pf1_raw", "auroc"))]  # fmt: skip
