"""Scores that the competition gave a run's submissions, kept in the run folder."""

import csv
import fcntl
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from rsna.files import write_json
from rsna.runs.errors import RunError
from rsna.runs.schema import CV, LB, Record, Share, read_record

_COLUMNS = {"fileName", "date", "description", "status", "publicScore", "privateScore"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True))
class Submission:
    """One submission of a run; its scores are pF1 on the two parts of the hidden set."""

    date: str
    """When it was made, or recorded; ISO 8601 or as the competition prints it."""
    public: Share | None
    private: Share | None
    description: str = ""
    """What was typed beside it."""


class LbScores(Record):
    """cv/lb.json: what the competition said of a run."""

    submissions: tuple[Submission, ...] = ()
    """Oldest first."""

    @property
    def public(self) -> float | None:
        """Public score of the latest scored submission; the best of several would be chosen on what it reports."""
        return next((s.public for s in reversed(self.submissions) if s.public is not None), None)

    @property
    def private(self) -> float | None:
        """Private score of the latest submission that has one."""
        return next((s.private for s in reversed(self.submissions) if s.private is not None), None)


def read_scores(run: Path) -> LbScores:
    """Scores of a run; none where nothing was recorded."""
    file = run / CV / LB
    return read_record(LbScores, file) if file.exists() else LbScores()


def record_scores(run: Path, new: list[Submission]) -> list[Submission]:
    """Adds submissions to a run's and returns those that are new; under a lock, so that no other writer's are lost."""
    folder = run / CV
    folder.mkdir(exist_ok=True)
    with (folder / ".lb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_scores(run).submissions
        fresh = [submission for submission in dict.fromkeys(new) if submission not in known]
        ordered = sorted([*known, *fresh], key=_moment)
        write_json(folder / LB, {"submissions": [asdict(submission) for submission in ordered]})
    return fresh


def scored_now(public: float | None, private: float | None) -> Submission:
    """A submission whose scores are typed in.

    Raises:
        RunError: Neither is given, or one is outside [0, 1].
    """
    if public is None and private is None:
        raise RunError("public: give public=SCORE, private=SCORE, or submissions=FILE.csv")
    public, private = _score(public, "public"), _score(private, "private")
    return Submission(datetime.now(UTC).isoformat(timespec="microseconds"), public, private)


def read_submissions(file: Path) -> list[Submission]:
    """What `kaggle competitions submissions --csv` prints, scored submissions only, oldest first.

    Raises:
        RunError: It is no such table, or a score is no number in [0, 1].
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"submissions={file}: cannot be read: {error}") from error
    # The client may print warnings above the table.
    start = next((i for i, line in enumerate(lines) if set(line.strip().split(",")) >= _COLUMNS), None)
    if start is None:
        raise RunError(
            f"submissions={file}: no line with the columns {', '.join(sorted(_COLUMNS))}; "
            "write it with `kaggle competitions submissions --csv`"
        )
    found = []
    reader = csv.DictReader(lines[start:])
    for row in reader:
        if "complete" not in (row["status"] or "").lower():
            continue
        where = f"submissions={file}, line {start + reader.line_num}"
        public, private = (_score(row[column], where) for column in ("publicScore", "privateScore"))
        if public is not None or private is not None:
            found.append(Submission(row["date"], public, private, (row["description"] or row["fileName"] or "")))
    return sorted(found, key=_moment)


def _moment(submission: Submission) -> tuple[float, str]:
    """When it was: the client writes ``2026-01-31 18:00:00`` without a zone, in UTC, and typed scores ISO 8601."""
    try:
        date = datetime.fromisoformat(submission.date)
    except ValueError:
        return 0.0, submission.date
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), submission.date


def submissions_of(name: str, submissions: list[Submission]) -> list[Submission]:
    """Those whose description holds the run's name as a word of its own: `b3` is not in `b3-large`."""
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)")
    return [submission for submission in submissions if word.search(submission.description)]


def _score(given: str | float | None, where: str) -> float | None:
    if given is None or str(given).strip().lower() in ("", "none", "null", "nan"):
        return None
    try:
        value = float(given)
    except ValueError as error:
        raise RunError(f"{where}: {given!r} is no score") from error
    if not 0 <= value <= 1:
        raise RunError(f"{where}: {value} is no pF1; it lies in [0, 1]")
    return value
