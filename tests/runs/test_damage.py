"""Torn, old and foreign runs and bundles, through every verb that reads one: refused in a line, and nothing written."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from rsna.bundle.make import make_bundle
from rsna.cli.main import main
from rsna.config.verbs import BundleMakeOptions
from rsna.runs.lb_scores import Submission, record_scores
from rsna.runs.schema import BUNDLE_FORMAT, RUN_FORMAT
from tests.board.runs import drawn, write_run
from tests.inference.runs import write_exams

READERS = {
    "evaluate": ["run={run}", "out={out}/evaluation.json"],
    "ensemble": ["run=[{good},{run}]", "out={out}/ensemble.json"],
    "leaderboard submit": ["run={run}", "public=0.5"],
    "report": ["run={run}", "out={out}/report.html"],
}
"""Verbs that need a run's out-of-fold predictions."""
PREDICTORS = {
    "infer": ["run={run}", "input={exams}", "out={out}/submission.csv"],
    "predict": ["run={run}", "input={exams}"],
    "validate": ["run={run}", "input={exams}", "out={out}/predictions.csv"],
    "export": ["run={run}", "images={exams}"],
    "explain": ["run={run}", "image={exams}/test_images/p0/10.dcm", "out={out}/explain"],
}
"""Verbs that predict, with a run or a bundle."""
MAKE = {"bundle make": ["run={run}", "out={out}/bundle", "host=none"]}
VERIFY = {"bundle verify": ["run={run}", "install=false"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with exams, a run, a second one, and a bundle of the first."""
    folder = tmp_path_factory.mktemp("damage")
    write_exams(folder / "exams", 1)
    for name, seed in (("run", 1), ("good", 2)):
        run = write_run(folder / "runs" / name, drawn(40, seed=seed), networks=True)
        record_scores(run, [Submission("2026-01-01", 0.5, None)])
    made = BundleMakeOptions(run=str(folder / "runs" / "run"), out=str(folder / "bundle"), host="none")
    make_bundle(made)
    return folder


@pytest.fixture
def spoilt(place, tmp_path):
    """Copies to spoil: (run, bundle)."""
    return (
        shutil.copytree(place / "runs" / "run", tmp_path / "runs" / "spoilt"),
        shutil.copytree(place / "bundle", tmp_path / "bundle"),
    )


def refused(verbs, run, said, place, tmp_path, capsys):
    """Runs every verb on a run; each must refuse it in one line that says so, and leave every file as it was."""
    names = {"run": run, "good": place / "runs" / "good", "exams": place / "exams", "out": tmp_path / "out"}
    before = _files(tmp_path)
    for verb, arguments in verbs.items():
        code = main([*verb.split(), *(argument.format(**names) for argument in arguments)])
        printed = capsys.readouterr()
        assert code in (1, 2), verb
        lines = (printed.out + printed.err).strip().splitlines()
        assert len(lines) == 1, (verb, lines)
        assert said in lines[0], (verb, lines[0])
        assert not re.search(r"[a-z]Error\b|Traceback", lines[0]), lines[0]
        assert _files(tmp_path) == before, verb


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def cut(file: Path):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_at_a_line(file: Path):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[: len(lines) // 2]))


def replaced(content: bytes):
    return lambda file: file.write_bytes(content)


def by_another_table(file: Path):
    pd.DataFrame({"a": [1]}).to_parquet(file)


DAMAGES = {
    "cut": cut,
    "empty": replaced(b""),
    "object": replaced(b"{}"),
    "list": replaced(b"[1]"),
    "keys": replaced(b'{"a": 1}'),
    "bytes": replaced(bytes(range(256)) * 4),
}
FILES = (
    "config.yaml", "run.json", "folds.csv", "fold0/metrics.json", "fold1/oof.parquet", "fold1/model.safetensors",
    "cv/metrics.json", "cv/oof.parquet", "cv/lb.json",
)  # fmt: skip
# What is no JSON file is as little a list as an object.
CASES = [
    (file, name, damage)
    for file in FILES
    for name, damage in DAMAGES.items()
    if file.endswith(".json") or name not in ("list", "keys")
]
CASES += [("config.yaml", "keys", DAMAGES["keys"])]
CASES += [(file, "missing", Path.unlink) for file in ("config.yaml", "run.json", "folds.csv", "fold0/oof.parquet")]
CASES += [(file, "lines", cut_at_a_line) for file in ("config.yaml", "folds.csv")]
CASES += [("cv/oof.parquet", "missing", Path.unlink), ("cv/oof.parquet", "another table", by_another_table)]
# All scores are optional, and so is all of lb.json.
CASES.remove(("cv/lb.json", "object", DAMAGES["object"]))


@pytest.mark.parametrize(("file", "damage"), [(f, d) for f, _, d in CASES], ids=[f"{f}-{n}" for f, n, _ in CASES])
def test_a_torn_file_is_named_by_every_verb(file, damage, spoilt, place, tmp_path, capsys):
    run, _ = spoilt
    damage(run / file)
    refused(READERS | PREDICTORS | MAKE, run, str(run / file), place, tmp_path, capsys)


@pytest.mark.parametrize("file", ["run.json", "cv/oof.parquet"])
def test_one_torn_run_hides_no_other(file, spoilt, place, tmp_path, capsys):
    run, _ = spoilt
    shutil.copytree(place / "runs" / "good", run.with_name("good"))
    cut(run / file)
    for arguments in (["leaderboard"], ["report", f"out={tmp_path / 'report.html'}", "images=0"]):
        assert main([*arguments, f"runs={run.parent}", "resamples=20"]) == 0
        printed = capsys.readouterr()
        assert printed.err.count("left out: ") == printed.err.count("\n") == 1
        assert str(run / file) in printed.err
        assert str(run / file) not in printed.out
    assert str(run / file) in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("number", [RUN_FORMAT - 1, RUN_FORMAT + 1, None, "1", True])
def test_a_run_of_another_format_is_refused_with_both_numbers(number, spoilt, place, tmp_path, capsys):
    run, _ = spoilt
    record = json.loads((run / "run.json").read_text()) | {"format": number}
    (run / "run.json").write_text(json.dumps(record))
    said = (
        f"{run / 'run.json'}: {'says no format' if number is None else f'is of format {number!r}'}, this version reads"
    )
    refused(READERS | PREDICTORS | MAKE, run, f"{said} format {RUN_FORMAT}; ", place, tmp_path, capsys)


@pytest.mark.parametrize("name", [*DAMAGES, "missing"])
def test_a_torn_description_of_a_bundle_is_named(name, spoilt, place, tmp_path, capsys):
    _, bundle = spoilt
    (DAMAGES | {"missing": Path.unlink})[name](bundle / "bundle.json")
    refused(PREDICTORS | VERIFY, bundle, "bundle.json", place, tmp_path, capsys)


@pytest.mark.parametrize("name", [*DAMAGES, "missing"])
def test_torn_weights_of_a_bundle_are_named(name, spoilt, place, tmp_path, capsys):
    _, bundle = spoilt
    (DAMAGES | {"missing": Path.unlink})[name](bundle / "fold1.safetensors")
    refused(PREDICTORS | VERIFY, bundle, str(bundle / "fold1.safetensors"), place, tmp_path, capsys)


@pytest.mark.parametrize("number", [BUNDLE_FORMAT - 1, BUNDLE_FORMAT + 1])
def test_a_bundle_of_another_format_is_refused_with_both_numbers(number, spoilt, place, tmp_path, capsys):
    _, bundle = spoilt
    record = json.loads((bundle / "bundle.json").read_text()) | {"format": number}
    (bundle / "bundle.json").write_text(json.dumps(record))
    said = f"is of format {number}, this version reads format {BUNDLE_FORMAT}; it was written by version 0.1.0"
    refused(PREDICTORS | VERIFY, bundle, said, place, tmp_path, capsys)


def test_what_is_not_there_is_said_to_be_not_there(place, tmp_path, capsys):
    run = tmp_path / "absent"
    refused(READERS | PREDICTORS | MAKE | VERIFY, run, f"run={run}: there is no such", place, tmp_path, capsys)


def test_a_folder_that_is_neither_is_said_to_be_neither(place, tmp_path, capsys):
    run = tmp_path / "folder"
    run.mkdir()
    (run / "train.csv").write_text("a\n")
    refused(READERS | PREDICTORS | MAKE, run, f"run={run}: is no run folder: it holds neither", place, tmp_path, capsys)
    refused(VERIFY, run, f"run={run}: is no bundle: it holds no bundle.json", place, tmp_path, capsys)


def test_a_file_that_is_neither_is_said_to_be_neither(place, tmp_path, capsys):
    run = tmp_path / "notes.txt"
    run.write_text("hello")
    refused(READERS, run, f"run={run}: is a file, and this needs a run folder", place, tmp_path, capsys)
    refused(PREDICTORS | VERIFY | MAKE, run, f"{run}: is neither a folder, nor a .zip", place, tmp_path, capsys)


def test_an_archive_that_was_cut_off_is_named(place, tmp_path, capsys):
    for kind in ("zip", "gztar"):
        archive = Path(shutil.make_archive(str(tmp_path / "packed"), kind, place / "bundle"))
        cut(archive)
        refused(PREDICTORS | VERIFY, archive, str(archive), place, tmp_path, capsys)


def test_a_bundle_is_no_run_and_a_run_no_bundle(spoilt, place, tmp_path, capsys):
    run, bundle = spoilt
    refused(READERS, bundle, f"run={bundle}: is a bundle, and this needs a run folder", place, tmp_path, capsys)
    refused(MAKE, bundle, f"run={bundle}: is a bundle already", place, tmp_path, capsys)
    refused(VERIFY, run, f"run={run}: is no bundle: it is a run folder", place, tmp_path, capsys)


def test_a_list_where_one_is_taken_names_the_verb_that_joins(place, tmp_path, capsys):
    both = f"[{place / 'runs' / 'run'},{place / 'runs' / 'good'}]"
    said = f"run={both}: this takes one trained model; rsna ensemble run={both} joins several"
    refused(PREDICTORS | MAKE | VERIFY, both, said, place, tmp_path, capsys)
