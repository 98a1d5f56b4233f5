"""Scores that the competition gave a run's submissions, kept in the run folder."""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from rsna.files import only_writer, read_json
from rsna.runs.errors import RunError
from rsna.runs.record_file import checksum, read_record, write_record
from rsna.runs.schema import CV, LB, Share
from rsna.runs.set_schema import Record
from rsna.table_file import TableError, read_table, require_columns

log = logging.getLogger(__name__)

_COLUMNS = ("fileName", "date", "description", "status", "publicScore", "privateScore")


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
    checksum: str = ""
    """SHA-256 of the other keys; another one is noted, and the scores are taken: editing is how one is removed."""

    @property
    def public(self) -> float | None:
        """Public score of the latest scored submission; the best of several would be chosen on what it reports."""
        return next((s.public for s in reversed(self.submissions) if s.public is not None), None)

    @property
    def private(self) -> float | None:
        """Private score of the latest submission that has one."""
        return next((s.private for s in reversed(self.submissions) if s.private is not None), None)


def read_scores(run: Path, notes: list[str] | None = None) -> LbScores:
    """Scores of a run; none where nothing was recorded. Says in ``notes`` that they were edited by hand.

    Raises:
        RunError: The file cannot be read, or holds no such scores.
    """
    file = run / CV / LB
    if not file.exists():
        return LbScores()
    scores, content = read_record(LbScores, file), read_json(file)
    if content.pop("checksum", "") != checksum(content) and notes is not None:
        notes.append(f"{file}: was changed after it was written; its scores are taken as they stand")
    return scores


def record_scores(run: Path, new: list[Submission]) -> list[Submission]:
    """Adds submissions to a run's and returns those that are new; under a lock, so that no other writer's are lost.

    Raises:
        RunError: Those that are there cannot be read, and would be lost.
    """
    notes: list[str] = []
    folder = run / CV
    with only_writer(folder / LB, "lb", waits=True):
        known = read_scores(run, notes).submissions
        fresh = [submission for submission in dict.fromkeys(new) if submission not in known]
        ordered = sorted([*known, *fresh], key=_moment)
        write_record(folder / LB, {"submissions": [asdict(submission) for submission in ordered]})
    for note in notes:
        log.warning("%s", note)
    return fresh


def scored_now(public: float | None, private: float | None, known: Sequence[Submission] = ()) -> Submission:
    """A submission whose scores are typed in; the last of the ``known`` where it is of just these: a command repeated.

    Raises:
        RunError: Neither is given, or one is outside [0, 1].
    """
    if public is None and private is None:
        raise RunError("public: give public=SCORE, private=SCORE, or submissions=FILE.csv")
    public, private = _score(public, "public"), _score(private, "private")
    typed = Submission(datetime.now(UTC).isoformat(timespec="microseconds"), public, private)
    return known[-1] if known and replace(typed, date=known[-1].date) == known[-1] else typed


def read_submissions(file: Path) -> list[Submission]:
    """What `kaggle competitions submissions --csv` prints, scored submissions only, oldest first.

    Raises:
        RunError: It is no such table, or a score is no number in [0, 1].
    """
    notes: list[str] = []
    try:
        # The client may print warnings above the table.
        table = read_table(file, notes, ("fileName", "date", "status"))
        require_columns(table, _COLUMNS, file)
    except TableError as error:
        raise RunError(f"submissions={error}; write it with `kaggle competitions submissions --csv`") from error
    for note in notes:
        log.warning("submissions=%s", note)
    found = []
    for line, row in zip(table.index, table.fillna({"description": ""}).to_dict("records"), strict=True):
        if "complete" not in str(row["status"]).lower():
            continue
        where = f"submissions={file}, line {line}"
        public, private = (_score(row[column], where) for column in ("publicScore", "privateScore"))
        if public is not None or private is not None:
            found.append(Submission(str(row["date"]), public, private, row["description"] or row["fileName"]))
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


def of_several(names: Collection[str], submissions: list[Submission]) -> list[Submission]:
    """Those whose description names several of these runs, as that of an ensemble does: no score of one of them."""
    return [one for one in submissions if sum(bool(submissions_of(name, [one])) for name in names) > 1]


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
