"""The model card of a bundle: the text of the paper (rsna/paper), and what a bundle adds to it.

After Mitchell et al., Model Cards for Model Reporting (2019).
"""

from collections.abc import Sequence

from rsna.evaluation.bootstrap import RESAMPLES
from rsna.paper.blocks import Lines, Section, Table, Words, to_markdown
from rsna.paper.method import started_from
from rsna.paper.subject import Subject
from rsna.paper.text import sections
from rsna.runs.run import Run
from rsna.runs.schema import BundleRecord, MemberRecord

_USE = """
pip install --no-index --find-links . rsna-mammography
rsna predict run=. input=FOLDER_OF_DICOM_FILES
python -c "import rsna; print(rsna.Predictor('.').predict('FOLDER_OF_DICOM_FILES').table())"
""".strip()


def model_card(runs: Sequence[Run], record: BundleRecord) -> str:
    """The card, as Markdown, of the bundle that is made of some runs, in the order of its members."""
    subject = _subject(runs, record)
    return to_markdown(record.name, [*sections(subject), _packed(runs, record), Section("Use", (Lines(_USE),))])


def _subject(runs: Sequence[Run], record: BundleRecord) -> Subject:
    if len(runs) == 1:
        return Subject.of_run(runs[0], tuple(record.members[0].weights), RESAMPLES)
    return Subject(
        name=record.name,
        runs=tuple(runs),
        folds=tuple(tuple(member.weights) for member in record.members),
        metrics=record.metrics,
        names=tuple(member.name for member in record.members),
        method=record.method,
        weights=record.member_weights,
    )


def _packed(runs: Sequence[Run], record: BundleRecord) -> Section:
    """Hashes, terms, and what was done to the weights."""
    blocks: list[Words | Table] = [
        Table(
            ("", ""),
            (
                ("packed", record.created),
                ("weights stored as", record.stored),
                ("SHA-256 of every file", "bundle.json"),
            ),
        )
    ]
    blocks += [_made_of(run, member, record) for run, member in zip(runs, record.members, strict=True)]
    if record.calibrated_on:
        blocks.append(Words(f"Calibrated probabilities are by a line {record.calibrated_on}."))
    start = " or ".join(dict.fromkeys(map(started_from, runs)))
    blocks.append(
        Words(
            "The code is under the Apache License 2.0. The weights were made of the set above and started from "
            f"{start}: whoever passes them on keeps to the terms of both."
        )
    )
    return Section("Where it comes from", tuple(blocks))


def _made_of(run: Run, member: MemberRecord, record: BundleRecord) -> Table:
    return Table(
        ("", ""),
        (
            ("folds", f"{', '.join(map(str, member.weights))} of {run.record.n_folds}"),
            ("breast", f"{record.aggregate} of its images" if member.unit == "image" else "at once"),
            ("preprocessing hash", member.hashes.preprocessing),
            ("folds hash", member.hashes.folds),
            ("dataset hash", member.hashes.dataset),
            ("trained", run.record.created),
        ),
        f"Member {member.name}" if len(record.members) > 1 else "",
    )
