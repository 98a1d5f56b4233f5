"""Verbs on finished runs: leaderboard, leaderboard submit, report, explain."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsna.cli.verb import verb
from rsna.config.settings import ConfigError
from rsna.config.verbs import ExplainOptions, LeaderboardOptions, LeaderboardSubmitOptions, ReportOptions

if TYPE_CHECKING:
    from rsna.runs.run import Run


@verb("leaderboard", LeaderboardOptions)
def _leaderboard(options: LeaderboardOptions) -> None:
    """Rank run folders by nested pF1, each dataset and split of folds apart.

    rsna leaderboard
    rsna leaderboard runs=/runs format=csv
    """
    from rsna.board import ranking
    from rsna.board.leaderboard import leaderboard

    runs, _ = _runs((), options.runs)
    show = {"text": ranking.to_text, "json": ranking.to_json, "csv": ranking.to_csv}[options.format]
    print(show(leaderboard(runs, options.resamples)))


@verb("leaderboard submit", LeaderboardSubmitOptions)
def _submit(options: LeaderboardSubmitOptions) -> None:
    """Record what the competition's leaderboard said of a run.

    rsna leaderboard submit run=runs/b3-rsna public=0.52 private=0.49
    rsna leaderboard submit submissions=submissions.csv
    """
    from rsna.board.mirror import mirror_scores
    from rsna.runs.lb_scores import read_submissions, record_scores, scored_now, submissions_of

    runs, _ = _runs(options.run, options.runs)
    if not options.submissions:
        found = {run: [scored_now(options.public, options.private)] for run in runs}
    else:
        table = read_submissions(Path(options.submissions))
        found = {run: submissions_of(run.name, table) for run in runs}
        if not any(found.values()):
            seen = "; ".join(sorted({submission.description for submission in table})[:5])
            raise ConfigError(
                f"submissions={options.submissions}: no description names a run "
                f"({', '.join(run.name for run in runs)}); there are: {seen or 'none'}"
            )
    for run, submissions in found.items():
        if submissions:
            fresh = record_scores(run.path, submissions)
            mirror_scores(run.path)
            print(f"{run.path}: {len(fresh)} of {len(submissions)} submissions are new")


@verb("report", ReportOptions)
def _report(options: ReportOptions) -> None:
    """One self-contained HTML page: ranking, curves, slices, and what each run gets wrong.

    rsna report
    rsna report run=runs/demo out=demo.html
    rsna report run=[runs/a,runs/b]
    """
    from rsna.board.report import write_report

    runs, left_out = _runs(options.run, options.runs)
    out = Path(options.out)
    write_report(runs, options, left_out)
    print(f"{out}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}, {out.stat().st_size / 1e6:.1f} MB")


@verb("explain", ExplainOptions)
def _explain(options: ExplainOptions) -> None:
    """Draw where the networks look (Grad-CAM) on an original image, as PNG.

    rsna explain run=runs/demo image=10130
    rsna explain run=runs/demo image=/exams/1.dcm folds=[0]
    """
    import cv2

    from rsna.board.pixels import find_image
    from rsna.files import write_atomic
    from rsna.inference.explain import explain
    from rsna.runs.run import Run
    from rsna.runs.trained_model import load_trained, open_any

    source = open_any(options.run)
    file, own = find_image(source if isinstance(source, Run) else None, options.image, options.data)
    found = explain(load_trained(source, options.folds or own), file, options.height)
    folder = Path(options.out)
    for name, pixels in (("original", found.original), ("heat", found.picture()[..., ::-1])):
        path = folder / f"{file.stem}_{name}.png"
        write_atomic(path, cv2.imencode(".png", pixels)[1].tobytes())
        print(path)
    seen = "that has not seen the patient" if own and not options.folds else "averaged"
    print(f"Grad-CAM of the cancer logit, fold {', '.join(map(str, found.folds))} {seen}")


def _runs(named: Sequence[str], folder: str) -> "tuple[list[Run], list[str]]":
    """The runs that are named, or else all in a folder, and why some are left out, which is printed as well."""
    from rsna.runs.run import find_runs, open_run

    if named:
        return [open_run(path) for path in named], []
    runs, left_out = find_runs(Path(folder))
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    return runs, left_out
