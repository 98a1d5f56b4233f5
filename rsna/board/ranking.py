"""The ranking as JSON and CSV for programs, and what is to be said of it in every form."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from rsna.board.leaderboard import Group, Place
from rsna.evaluation.tables import plain_json
from rsna.runs.set_schema import proxies

METRIC_COLUMNS = {"auroc": "AUROC", "auprc": "AUPRC", "pf1_raw": "raw pF1"}
"""Metrics beside the one that is ranked by → their title: columns of every table, of CSV and of JSON."""


def to_json(rows: Sequence[dict[str, Any]]) -> str:
    """A list of rows, see :func:`row`."""
    return json.dumps(plain_json(rows), indent=2, ensure_ascii=False)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line a configuration, with the keys of :func:`row` as header; lists with blanks between."""
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for one in rows:
            writer.writerow({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in one.items()})
    return stream.getvalue().rstrip("\n")


def row(group: Group, place: Place) -> dict[str, Any]:
    """A configuration in plain values, unrounded: means over its seeds, seconds their sum; None where there is none."""
    run, gap, shown, nested = place.run, place.difference, place.run.shown, place.spread("pf1_nested")
    low, high = ends(place) or (None, None)
    return {
        "rank": place.rank,
        "run": str(run.path),
        "runs": [str(one.path) for one in place.runs],
        "seeds": list(place.seeds),
        "experiment": run.record.name,
        "data": group.data,
        "dataset_hash": group.comparable[0],
        "folds_hash": group.comparable[1],
        "backbone": run.backbone,
        "input": run.input,
        "folds_done": len(run.fold_metrics),
        "n_folds": run.record.n_folds,
        "metrics_of": shown.name if shown else None,
        "pf1_nested": nested.mean if nested else None,
        "pf1_nested_low": low,
        "pf1_nested_high": high,
        "pf1_nested_sd_of_seeds": nested.sd if nested and nested.n > 1 else None,
        **{name: place.value(name) for name in METRIC_COLUMNS},
        "public": place.lb("public"),
        "private": place.lb("private"),
        "against_leader": place.against,
        "behind_leader": None if gap is None else gap.value,
        "behind_leader_low": None if gap is None else gap.interval.low,
        "behind_leader_high": None if gap is None else gap.interval.high,
        "p": None if gap is None else gap.p,
        "p_corrected": place.p,
        "seed_noise_in_p": None if gap is None else group.noise is not None,
        "checkpoint": run.config.checkpoint,
        "commit": run.record.commit.hash,
        "dirty": run.record.commit.dirty,
        "hardware": place.hardware or None,
        "seconds": place.seconds,
        "note": place.why or None,
    }


def ends(place: Place) -> tuple[float, float] | None:
    """Of the interval of nested pF1: of a run that is not ranked, that of the folds it has."""
    return place.interval or (place.run.shown.ends("pf1_nested") if place.run.shown and not place.rank else None)


def interval(ends: tuple[float, float] | None) -> str:
    """`0.1234 to 0.2345`; `–` for None."""
    return "–" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def remarks(group: Group, places: Sequence[Place]) -> list[str]:
    """What the marks of a table mean, and what is to be known of its runs; ``places`` are those of them shown."""
    lines = _of_comparison(group, places)
    if any(place.run.selected for place in places):
        lines.append("* checkpoint=best: the epoch was chosen on the very fold that is reported")
    if any(place.run.commit.endswith("+") for place in places):
        several = any(len(place.members) > 1 and place.run.commit.endswith("+") for place in places)
        lines.append(
            "+ the checkout had changes that are in no commit" + ", and may differ from seed to seed" * several
        )
    if group.sampling == "enriched":
        lines.append("enriched set, whose share of positives was made: pF1 is not that of screening, read AUROC too")
    if group.simulated:
        lines.append("simulated mammograms: nothing here says anything of real ones")
    lines += dict.fromkeys(line for place in places for line in proxies(place.run.record.data.labels))
    for place in places:
        why = place.why + ("; not ranked" if place.rank is None else "")
        lines += [f"{place.run.path}: {why}"] if why else []
        lines += [f"{run.path}: {said}" for run in place.runs if run.shown and (said := run.shown.doubt)]
    lines.append("scored: column probability of each run's out-of-fold predictions, by breast")
    return lines


def not_told(detectable: float) -> str:
    """How large a difference from the leader has to be; nested pF1 has none of 1 and more."""
    if detectable >= 1:
        return "no difference from the leader, however large, is told from noise here"
    return f"differences below about {detectable:.3f} from the leader are not told from noise here"


def _of_comparison(group: Group, places: Sequence[Place]) -> list[str]:
    """What was told from the leader, what could not be, and over what."""
    lines = []
    noisy = sum(place.against == "noise" for place in group.places)
    if any(place.against == "noise" for place in places):
        over = "patients and seeds" if group.noise else "patients"
        lines.append(
            f"~ not told apart from the leader ({noisy} of {len(group.ranked) - 1}): the difference in nested pF1 may "
            f"be noise (p ≥ 0.05 over {over}, corrected for the number of runs)"
        )
    if group.detectable is not None:
        lines.append(not_told(group.detectable))
    if group.detectable is not None and not group.noise:
        lines.append(
            "one seed each: differences and intervals are of these trained models; what another seed would give is in "
            "none of them (rsna train … seeds=[0,1,2])"
        )
    if group.noise:
        lines.append(
            f"seeds move nested pF1 by {group.noise.sd:.4f} (standard deviation beside the noise of patients, "
            f"{group.noise.degrees} degrees of freedom, taken to be alike in all configurations)"
        )
    for place in places:
        if len(place.members) > 1 and (found := place.spread("pf1_nested")):
            names = ", ".join(run.name for run in place.runs[1:])
            lines.append(
                f"{place.run.path} ×{found.n}: mean of seeds {', '.join(map(str, place.seeds))} (with {names}), nested "
                f"pF1 {found.low:.4f} to {found.high:.4f}, standard deviation {found.sd:.4f}"
            )
        if len(place.members) > 1 and place.submitted:
            of = ", ".join(run.name for run in place.submitted)
            lines.append(f"{place.run.path} ×{len(place.members)}: the competition has scored {of}")
    if len(group.ranked) > 1:
        lines.append(
            f"the leader is the best of {len(group.ranked)} {'configurations' if group.noise else 'runs'}, chosen by "
            "the very metric that is shown: this and its interval flatter it"
        )
    return lines
