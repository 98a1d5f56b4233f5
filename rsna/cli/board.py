"""Verbs on finished runs: leaderboard, leaderboard submit, report, explain."""

from pathlib import Path
from typing import TYPE_CHECKING

from rsna.cli.verb import Verb
from rsna.config.settings import ConfigError
from rsna.config.verbs import ExplainOptions, LeaderboardOptions, ReportOptions, SubmitOptions

if TYPE_CHECKING:
    from rsna.runs.run_folder import RunFolder


def _leaderboard(options: LeaderboardOptions) -> int:
    from rsna.board import ranking
    from rsna.board.leaderboard import leaderboard
    from rsna.runs.run_folder import find_runs

    runs, left_out = find_runs(Path(options.runs))
    show = {"text": ranking.to_text, "json": ranking.to_json, "csv": ranking.to_csv}[options.format]
    print(show(leaderboard(runs, options.resamples)))
    _say_left_out(left_out)
    return 0


def _submit(options: SubmitOptions) -> int:
    from rsna.board.mirror import mirror_scores
    from rsna.runs.lb_scores import read_submissions, record_scores, scored_now, submissions_of

    runs = _runs(options.run, options.runs)
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
    for run in runs:
        if not found[run]:
            continue
        fresh = record_scores(run, found[run])
        mirror_scores(run)
        print(f"{run}: {len(fresh)} of {len(found[run])} submissions are new")
    return 0


def _report(options: ReportOptions) -> int:
    from rsna.board.report import write_report
    from rsna.runs.run_folder import find_runs, read_run

    left_out: list[str] = []
    runs: list[RunFolder] = [read_run(Path(options.run))] if options.run else []
    if not options.run:
        runs, left_out = find_runs(Path(options.runs))
    out = Path(options.out)
    write_report(
        runs,
        out,
        data=options.data,
        images=options.images,
        resamples=options.resamples,
        left_out=left_out,
    )
    print(f"{out}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}, {out.stat().st_size / 1e6:.1f} MB")
    _say_left_out(left_out)
    return 0


def _explain(options: ExplainOptions) -> int:
    import cv2

    from rsna.board.pixels import find_image
    from rsna.files import write_atomic
    from rsna.inference.explain import explain
    from rsna.runs.trained_model import load_trained

    source = Path(options.run)
    file, own = find_image(source, options.image, options.data)
    found = explain(load_trained(source, options.folds or own), file, options.height)
    folder = Path(options.out)
    for name, pixels in (("original", found.original), ("heat", found.picture()[..., ::-1])):
        encoded, content = cv2.imencode(".png", pixels)
        if not encoded:
            raise RuntimeError(f"OpenCV cannot encode a PNG of {pixels.shape}")
        path = folder / f"{file.stem}_{name}.png"
        write_atomic(path, content.tobytes())
        print(path)
    seen = "that has not seen the patient" if own and not options.folds else "averaged"
    print(f"Grad-CAM of the cancer logit, fold {', '.join(map(str, found.folds))} {seen}")
    return 0


def _runs(run: str, folder: str) -> list[Path]:
    from rsna.runs.run_folder import find_runs, read_run

    return [read_run(Path(run)).path] if run else [found.path for found in find_runs(Path(folder))[0]]


def _say_left_out(lines: list[str]) -> None:
    import sys

    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


VERBS = (
    Verb(
        "leaderboard",
        "Rank run folders by nested pF1, each dataset and split of folds apart.",
        LeaderboardOptions,
        _leaderboard,
        ("rsna leaderboard", "rsna leaderboard runs=/runs format=csv"),
    ),
    Verb(
        "leaderboard submit",
        "Record what the competition's leaderboard said of a run.",
        SubmitOptions,
        _submit,
        (
            "rsna leaderboard submit run=runs/b3-rsna public=0.52 private=0.49",
            "rsna leaderboard submit submissions=submissions.csv",
        ),
    ),
    Verb(
        "report",
        "One self-contained HTML page: ranking, curves, slices, and what each run gets wrong.",
        ReportOptions,
        _report,
        ("rsna report", "rsna report run=runs/demo out=demo.html"),
    ),
    Verb(
        "explain",
        "Draw where the networks look (Grad-CAM) on an original image, as PNG.",
        ExplainOptions,
        _explain,
        ("rsna explain run=runs/demo image=10130", "rsna explain run=runs/demo image=/exams/1.dcm folds=[0]"),
    ),
)
