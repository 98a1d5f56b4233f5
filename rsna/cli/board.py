"""Verbs on finished runs: leaderboard, leaderboard submit, compare, report, explain."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsna.cli.verb import verb
from rsna.collector import collector_off
from rsna.config.board import CompareOptions, LeaderboardOptions, LeaderboardSubmitOptions, ReportOptions
from rsna.config.settings import ConfigError
from rsna.config.verbs import ExplainOptions
from rsna.files import first_few
from rsna.parallel.progress import Progress, place_of

if TYPE_CHECKING:
    from rsna.runs.run import Run


@verb("leaderboard", LeaderboardOptions, says=lambda o: f"ranks the runs of {o.runs}")
def _leaderboard(options: LeaderboardOptions) -> None:
    """Rank run folders by nested pF1, each dataset and split of folds apart.

    rsna leaderboard
    rsna leaderboard sort=auroc filter=backbone=*b3*
    rsna leaderboard 'filter=[model.drop_rate>0.2,input=1024x512]'
    rsna leaderboard runs=/runs format=csv
    """
    from rsna.board import ranking, terminal
    from rsna.board.choose import Choice
    from rsna.board.leaderboard import leaderboard

    choice = Choice.of(options.sort, options.filter)
    runs, _ = _runs((), options.runs)
    choice.check(runs)
    groups = leaderboard(runs, options.resamples)
    choice.require_some(groups)
    if options.format in ("json", "csv"):
        rows = [ranking.row(group, place) for group in groups for place in choice.places(group)]
        print(ranking.to_json(rows) if options.format == "json" else ranking.to_csv(rows))
    elif options.format == "md":
        print(terminal.to_markdown(groups, choice))
    elif place_of(sys.stdout) == "log":
        print(terminal.to_text(groups, choice))
    else:
        terminal.show(groups, choice, shutil.get_terminal_size().columns)


@verb(
    "leaderboard submit",
    LeaderboardSubmitOptions,
    says=lambda o: f"records scores of {first_few(o.run) or f'the runs of {o.runs}'}",
)
def _submit(options: LeaderboardSubmitOptions) -> None:
    """Record what the competition's leaderboard said of a run.

    rsna leaderboard submit run=runs/b3-rsna public=0.52 private=0.49
    rsna leaderboard submit submissions=submissions.csv
    """
    from rsna.board.mirror import mirror_scores
    from rsna.runs.lb_scores import (
        of_several,
        read_scores,
        read_submissions,
        record_scores,
        scored_now,
        submissions_of,
    )
    from rsna.runs.schema import RECORD

    runs, _ = _runs(options.run, options.runs)
    if not options.submissions:
        found = {run: [scored_now(options.public, options.private, read_scores(run.path).submissions)] for run in runs}
    else:
        table = read_submissions(Path(options.submissions))
        beside = {file.parent.name for run in runs for file in run.path.absolute().parent.glob(f"*/{RECORD}")}
        joint = of_several(beside | {run.name for run in runs}, table)
        if joint:
            said = first_few(repr(submission.description) for submission in joint)
            print(
                f"left out: {said}: names several runs, and a score of these together is none of one", file=sys.stderr
            )
        found = {run: submissions_of(run.name, [one for one in table if one not in joint]) for run in runs}
        if not any(found.values()):
            seen = "; ".join(sorted({submission.description for submission in table})[:5])
            raise ConfigError(
                f"submissions={options.submissions}: no description names a run "
                f"({', '.join(run.name for run in runs)}); there are: {seen or 'none'}"
            )
    for run, submissions in found.items():
        if submissions:
            fresh = record_scores(run.path, submissions)
            print(f"{run.path}: {len(fresh)} of {len(submissions)} submissions are new", flush=True)
    mirror_scores([run.path for run, submissions in found.items() if submissions])


@verb(
    "compare",
    CompareOptions,
    says=lambda o: f"compares {first_few(o.runs)}" + (f"; the page goes into {o.out}" if o.out else ""),
)
def _compare(options: CompareOptions) -> None:
    """Runs against a first one: settings, every metric and slice, breasts they disagree on, learning curves, a page.

    rsna compare runs=[runs/a,runs/b]
    rsna compare runs=[runs/a,runs/b,runs/c] out=compare.html images=8
    rsna compare runs=[runs/a,runs/b] format=json out=""
    """
    import json

    from rsna.board.compare import compare_runs

    runs, _ = _runs(options.runs, "")
    found = compare_runs(runs, options.resamples)
    if options.format == "json":
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        from rsna.board.compare_text import show_comparison

        show_comparison(found)
    if options.out:
        from rsna.board.compare_page import write_comparison

        write_comparison(found, options)
        print(f"{options.out}: {Path(options.out).stat().st_size / 1e6:.1f} MB", file=sys.stderr)


@verb("report", ReportOptions, says=lambda o: f"draws {first_few(o.run) or f'the runs of {o.runs}'} for {o.out}")
def _report(options: ReportOptions) -> None:
    """One self-contained HTML page: ranking, curves, slices, and what each run gets wrong; of one run, a short paper;
    of several that are named, what they are worth joined, too.

    rsna report
    rsna report run=runs/demo out=demo.html
    rsna report run=[runs/a,runs/b]
    rsna report run=[runs/a,runs/b] weights=[0.6,0.4]
    """
    from rsna.board.report import write_report

    runs, left_out = _runs(options.run, options.runs)
    out = Path(options.out)
    write_report(runs, options, left_out)
    print(f"{out}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}, {out.stat().st_size / 1e6:.1f} MB")


@verb(
    "explain",
    ExplainOptions,
    says=lambda o: f"looks for what {first_few(o.run)} sees on {o.image}; the pictures go into {o.out}",
)
def _explain(options: ExplainOptions) -> None:
    """Draw where the networks look (Grad-CAM) on an original image, or on all of its breast, as PNG.

    rsna explain run=runs/demo image=10130
    rsna explain run=runs/demo image=/exams/1.dcm folds=[0]
    rsna explain run=[runs/a,runs/b] image=10130
    """
    from rsna.board.pixels import find_image, images_beside, picture_names
    from rsna.pictures.words import write_png
    from rsna.runs.run import Run
    from rsna.runs.trained_ensemble import load_ensemble
    from rsna.runs.trained_model import open_any

    source = open_any(options.run[0], options.folds)
    run = source if isinstance(source, Run) else None
    file, own, guess = find_image(run, options.image, options.data)
    several = options.run if len(options.run) > 1 else source
    trained = load_ensemble(several, options.folds or own, options.method, options.weights)
    images, folder = images_beside(run, file, options.data), Path(options.out)
    with collector_off():
        from rsna.inference.explain import explain

    found = explain(trained, images, file, options.height)
    folds = f"fold {trained.folds[0]}" if len(trained.folds) == 1 else f"folds {', '.join(map(str, trained.folds))}"
    seen = f"{folds} that has not seen the patient" if own and not options.folds else f"mean of {folds}"
    model = f"{' and '.join(member.name for member in trained.members)}, {seen}"
    names = picture_names(images, [one.file for one in found])
    for one in found:
        for name, pixels in (("original", one.original), ("heat", one.figure(model, trained.threshold))):
            path = write_png(pixels, folder / f"{names[one.file]}_{name}.png")
            print(path if one.weight is None else f"{path}, weight {one.weight:.2f} in its breast")
        if one.outside >= 0.005:
            print(
                f"note: {one.outside:.0%} of the heat on {names[one.file]} lies outside of the breast, and is not shown"
            )
    asked = next(one for one in found if one.file == file)  # a member of images has seen this one alone
    print(f"Grad-CAM of the cancer logit, {seen}; probability {asked.probability:.4f}")
    for line in dict.fromkeys(line for one in found for line in one.lost):
        print(f"note: without what could not be read: {line}")
    if guess:
        print(f"note: {guess}")
    if own and (seen_by := [str(fold) for fold in trained.folds if fold not in own]):
        print(f"note: the networks of fold {', '.join(seen_by)} were trained on this very patient")
    if any(member.spec.unit == "breast" for member in trained.members) and len(images) == 1:
        print("note: the networks look at whole breasts; this one is of this image alone")
    for note in trained.notes([one.file for one in found]):
        print(f"note: {note}")


def _runs(named: Sequence[str], folder: str) -> "tuple[list[Run], list[str]]":
    """The runs that are named, or else all in a folder, and why some are left out, which is printed as well.

    Raises:
        RunError: There is none.
    """
    from rsna.runs.errors import RunError
    from rsna.runs.run import find_runs, open_run

    with Progress("read the runs"):
        if named:
            return [open_run(path) for path in named], []
        runs, left_out = find_runs(Path(folder))
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if not runs:
        raise RunError(
            f"runs={folder}: holds no run{' that can be read' * bool(left_out)}; python train.py fold=all makes one"
        )
    return runs, left_out
