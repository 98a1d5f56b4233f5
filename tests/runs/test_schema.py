"""docs/run-directory.md says what the records of the code say; a change of them is a new format."""

import hashlib
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from rsna.runs.lb_scores import LbScores
from rsna.runs.resamples import BandsRecord, Resampled, SlicesRecord
from rsna.runs.schema import BUNDLE_FORMAT, RUN_FORMAT, BundleRecord, ExportRecord, Metrics, RunRecord
from rsna.runs.set_schema import TrainingSet
from rsna.runs.site_calibration import CALIBRATION_FORMAT, SiteCalibration

DOCUMENT = Path(__file__).parents[2] / "docs" / "run-directory.md"
ROOTS = {
    "run": (RUN_FORMAT, [RunRecord, TrainingSet, Metrics, LbScores, ExportRecord]),
    "bundle": (BUNDLE_FORMAT, [BundleRecord]),
    "calibration": (CALIBRATION_FORMAT, [SiteCalibration]),
}
KEPT = [Resampled, SlicesRecord, BandsRecord]
"""Of no format: what does not fit the code is made again."""
MARK = "<!-- Everything below is written by `python -m tests.runs.test_schema`. -->\n"
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", types.NoneType: "null"}


def said(annotation, metadata=()) -> str:
    """A type as the document puts it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return said(arguments[0], arguments[1].metadata)
    if metadata:
        bounds = [f"{sign} {getattr(m, key)}" for m in metadata for key, sign in
                  (("gt", ">"), ("ge", "≥"), ("le", "≤")) if getattr(m, key, None) is not None]  # fmt: skip
        return " ".join([said(annotation), *bounds])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(said(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {said(arguments[0])}"
    if origin is dict:
        return f"map of {said(arguments[0])} to {said(arguments[1])}"
    return _PLAIN.get(annotation) or ("anything" if annotation is typing.Any else annotation.__name__)


def fields(record):
    """Fields of a record, or of a pydantic data class."""
    return record.model_fields if issubclass(record, BaseModel) else record.__pydantic_fields__


def records(roots) -> list[type]:
    """The records that hold these, and all that are held in them, once each."""
    found: list[type] = []

    def inside(annotation) -> Iterator[type]:
        if hasattr(annotation, "__pydantic_fields__"):
            yield annotation
        for argument in typing.get_args(annotation):
            yield from inside(argument)

    waiting = list(roots)
    while waiting:
        record = waiting.pop(0)
        if record not in found:
            found.append(record)
            waiting += [one for field in fields(record).values() for one in inside(field.annotation)]
    return found


def digest(roots) -> str:
    """12 characters over names and types of every key: whatever an older version could stumble over."""
    keys = [f"{r.__name__}.{k}:{said(f.annotation, f.metadata)}" for r in records(roots) for k, f in fields(r).items()]
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12]


def tables() -> str:
    """Every record as a table."""
    parts = []
    for record in records([*(root for _, roots in ROOTS.values() for root in roots), *KEPT]):
        rows = [
            f"| `{key}` | {said(field.annotation, field.metadata)} | {' '.join((field.description or '').split())} |"
            for key, field in fields(record).items()
        ]
        more = "\n| any other | | |" if getattr(record, "model_config", {}).get("extra") == "allow" else ""
        head = (
            f"### {record.__name__}\n\n{' '.join(record.__doc__.split())}\n\n| key | type | meaning |\n|---|---|---|\n"
        )
        parts.append(head + "\n".join(rows) + more)
    return "\n\n".join(parts) + "\n"


def test_the_document_says_what_the_code_says():
    written = DOCUMENT.read_text().split(MARK)[1].strip()
    assert written == tables().strip(), "write it anew: python -m tests.runs.test_schema"


@pytest.mark.parametrize("kind", ROOTS)
def test_another_schema_is_another_format(kind):
    """The document keeps every format that there was; a row is added, none is changed."""
    number, roots = ROOTS[kind]
    known = re.findall(rf"^\| {kind} \| (\d+) \| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert [int(n) for n, _ in known] == list(range(int(known[0][0]), number + 1))
    assert known[-1][1] == digest(roots), (
        f"the records of a {kind} changed: raise its format in rsna/runs/schema.py and add a row to {DOCUMENT.name}: "
        f"| {kind} | {number + 1} | `{digest(roots)}` | what changed |"
    )


if __name__ == "__main__":
    text, mark, _ = DOCUMENT.read_text().partition(MARK)
    DOCUMENT.write_text(f"{text}{mark}\n{tables()}")
