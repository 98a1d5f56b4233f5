"""The page of one run, which reads like a short paper: the text of rsna/paper with curves and pictures between."""

from datetime import UTC, datetime
from pathlib import Path

from rsna.board.run_page import charts_of, environment, gallery_of
from rsna.config.board import ReportOptions
from rsna.evaluation.evaluate import Evaluation
from rsna.files import write_atomic
from rsna.paper.subject import Subject
from rsna.paper.text import sections
from rsna.runs.run import Run


def write_paper(run: Run, evaluation: Evaluation, options: ReportOptions) -> None:
    """Writes the page.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    templates = environment()
    subject = Subject.of_run(run, (), options.resamples, evaluation)
    page = templates.get_template("paper.html").render(
        subject=subject,
        run=run,
        sections=sections(subject),
        charts=charts_of(run, evaluation, options),
        gallery=gallery_of(run, evaluation, options) if options.images else None,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomic(Path(options.out), page)
