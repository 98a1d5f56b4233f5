"""Torn, old and foreign runs and bundles, through every verb that reads one: refused in a line, and nothing written."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    "compare": ["runs=[{good},{run}]", "out={out}/compare.html"],
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
        # Beside what the verb is going to do, and how far it is where that takes long.
        clock = re.compile(
            r"rsna [\w ]+: (predicts|scores|joins|compares|packs|checks|writes|looks|draws|ranks|records) |.* so far$"
        )
        lines = [line for line in (printed.out + printed.err).splitlines() if not clock.match(line)]
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


def flipped(file: Path):
    """One bit in the middle; of JSON and CSV that of a digit, which leaves JSON and CSV."""
    content = bytearray(file.read_bytes())
    places = [i for i, byte in enumerate(content) if chr(byte).isdigit()] if file.suffix in (".json", ".csv") else []
    place = places[len(places) // 2] if places else len(content) // 2
    content[place] ^= 1
    file.write_bytes(content)


def a_folder(file: Path):
    file.unlink()
    file.mkdir()


DAMAGES = {
    "flipped": flipped,
    "folder": a_folder,
    "pipe": lambda file: (file.unlink(), os.mkfifo(file)),  # which nobody writes: to open it is to wait for ever
    "cut": cut,
    "empty": replaced(b""),
    "object": replaced(b"{}"),
    "list": replaced(b"[1]"),
    "keys": replaced(b'{"a": 1}'),
    "bytes": replaced(bytes(range(256)) * 4),
}
FILES = (
    "config.yaml", "run.json", "folds.csv", "fold0/metrics.json", "fold1/oof.parquet", "fold1/model.safetensors",
    "cv/metrics.json", "cv/oof.parquet",
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
HOSTILE = {
    "brackets": b"[" * 100_000,
    "objects": b'{"format":' * 50_000,
    "long number": b'{"format": ' + b"9" * 5000 + b"}",
    "endless": b'{"format": 1e999, "config": NaN}',
    "twice": b'{"format": 2, "format": "2"}',
    "utf-16": '{"format": 2}'.encode("utf-16"),
    "null": b"null",
    "surrogate": b'{"format": "\\ud800"}',
    "NUL": b"\x00" * 100,
}
"""What somebody may put in the place of a record."""
CASES += [
    (file, name, replaced(content)) for file in ("run.json", "fold0/metrics.json") for name, content in HOSTILE.items()
]


@pytest.mark.parametrize(("file", "damage"), [(f, d) for f, _, d in CASES], ids=[f"{f}-{n}" for f, n, _ in CASES])
def test_a_torn_file_is_named_by_every_verb(file, damage, spoilt, place, tmp_path, capsys):
    run, _ = spoilt
    damage(run / file)
    # Weights are looked at by what loads them; where results were changed, others are shown, and it is said.
    mere_change = file.endswith(".safetensors") or (damage is flipped and file.endswith(("metrics.json", ".parquet")))
    verbs = PREDICTORS | MAKE if mere_change else READERS | PREDICTORS | MAKE
    refused(verbs, run, str(run / file), place, tmp_path, capsys)
    if not mere_change:
        assert main(["leaderboard", f"runs={run.parent}"]) == 1  # there is no other
        *_, line, last = capsys.readouterr().err.splitlines()
        assert "holds no run that can be read" in last
        assert line.startswith("left out: ")
        assert str(run / file) in line


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_a_verb_does_not_need_does_not_stop_it(damage, spoilt, place, tmp_path, capsys, caplog):
    run, _ = spoilt
    damage(run / "cv" / "lb.json")
    damage(run / "fold1" / "model.safetensors")
    out = tmp_path / "submission.csv"
    assert main(["infer", f"run={run}", f"input={place / 'exams'}", f"out={out}", "folds=[0]", "workers=1"]) == 0
    assert out.exists()
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert "lb.json" not in caplog.text
    capsys.readouterr()
    assert main(["leaderboard", f"runs={run.parent}", "resamples=0"]) == 0
    assert run.name in capsys.readouterr().out
    (line,) = caplog.messages
    assert str(run / "cv" / "lb.json") in line
    taken = damage in (flipped, DAMAGES["object"])
    assert ("its scores are taken as they stand" if taken else "its scores are left out") in line
    if not taken:  # what is there would be lost
        verb = {"leaderboard submit": READERS["leaderboard submit"]}
        refused(verb, run, str(run / "cv" / "lb.json"), place, tmp_path, capsys)


@pytest.mark.parametrize("file", ["fold1/metrics.json", "fold1/oof.parquet", "cv/metrics.json", "cv/oof.parquet"])
@pytest.mark.parametrize("damage", [flipped, cut, a_folder])
def test_a_verb_that_is_asked_for_one_fold_reads_nothing_of_the_others(file, damage, spoilt, place, tmp_path):
    run, _ = spoilt
    image = next((place / "exams").rglob("*.dcm"))
    damage(run / file)
    for verb, arguments in {
        "infer": [f"input={place / 'exams'}", f"out={tmp_path / 'submission.csv'}", "workers=1"],
        "bundle make": [f"out={tmp_path / 'made'}", "host=none"],
        "explain": [f"image={image}", f"out={tmp_path}"],
    }.items():
        assert main([*verb.split(), f"run={run}", "folds=[0]", *arguments]) == 0, verb


def test_a_fold_that_is_not_finished_is_left_out(spoilt, place, tmp_path, capsys):
    """Training was killed, or goes on, between its weights and its metrics."""
    run, _ = spoilt
    infer = ["infer", f"run={run}", f"input={place / 'exams'}", "workers=1"]
    (run / "fold1" / "metrics.json").unlink()
    for number, file in enumerate(("cv/metrics.json", "fold1/oof.parquet")):
        assert main(["leaderboard", f"runs={run.parent}", "resamples=0"]) == 0
        said = "fold 1 is not finished, as it is while that is trained again" if number == 0 else "1 of 2 folds are"
        assert said in " ".join(capsys.readouterr().out.split())
        assert main([*infer, f"out={tmp_path / f'{number}.csv'}"]) == 0
        assert "note: folds not trained or not asked for: 1 of 2" in capsys.readouterr().out
        assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
        assert "fold 1 is " in capsys.readouterr().out
        (run / file).unlink()
    for number, folds in enumerate(("[1]", "[0,1]")):
        assert main([*infer, f"out={tmp_path / f'asked{number}.csv'}", f"folds={folds}"]) == 1
        *_, line = capsys.readouterr().err.splitlines()
        assert "has no weights of fold 1 that is finished" in line


@pytest.mark.parametrize("file", ["run.json", "cv/oof.parquet"])
def test_one_torn_run_hides_no_other(file, spoilt, place, tmp_path, capsys):
    run, _ = spoilt
    shutil.copytree(place / "runs" / "good", run.with_name("good"))
    cut(run / file)
    for arguments in (["leaderboard"], ["report", f"out={tmp_path / 'report.html'}", "images=0"]):
        assert main([*arguments, f"runs={run.parent}", "resamples=20"]) == 0
        printed = capsys.readouterr()
        assert printed.err.count("left out: ") == 1
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


@pytest.mark.parametrize("name", [*DAMAGES, *HOSTILE, "missing"])
def test_a_torn_description_of_a_bundle_is_named(name, spoilt, place, tmp_path, capsys):
    _, bundle = spoilt
    hostile = {key: replaced(content) for key, content in HOSTILE.items()}
    (DAMAGES | hostile | {"missing": Path.unlink})[name](bundle / "bundle.json")
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
    readers = {verb: arguments for verb, arguments in READERS.items() if verb != "ensemble"}
    refused(readers, run, f"run={run}: is a file, and this needs a run folder", place, tmp_path, capsys)
    refused({"ensemble": READERS["ensemble"]}, run, f"{run}: ", place, tmp_path, capsys)  # takes tables, too
    others = {verb: arguments for verb, arguments in PREDICTORS.items() if verb != "export"}
    refused(others | VERIFY | MAKE, run, f"{run}: is neither a folder, nor a .zip", place, tmp_path, capsys)
    # Which writes beside the weights, so that no file will do.
    refused({"export": PREDICTORS["export"]}, run, f"run={run}: is an archive; unpack it", place, tmp_path, capsys)


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


def test_a_list_where_one_is_taken_is_refused(place, tmp_path, capsys):
    both = f"[{place / 'runs' / 'run'},{place / 'runs' / 'good'}]"
    refused(VERIFY, both, f"run={both}: this takes one bundle, not a list", place, tmp_path, capsys)


def test_a_bundle_in_a_list_is_no_run(spoilt, place, tmp_path, capsys):
    run, bundle = spoilt
    said = f"run={bundle}: is a bundle, and this needs a run folder"
    others = {verb: arguments for verb, arguments in PREDICTORS.items() if verb != "export"}
    refused(others, f"[{run},{bundle}]", said, place, tmp_path, capsys)
    refused(MAKE, f"[{run},{bundle}]", f"run={bundle}: is a bundle already", place, tmp_path, capsys)


def test_no_byte_of_a_run_can_be_another_unseen(spoilt, place, tmp_path, capsys):
    """Bits drawn from all over: the file that they are of is named, by prediction before anything is written."""
    run, _ = spoilt
    rng = np.random.default_rng(0)
    # What boards and reports keep is no prediction's: they make it again where it was changed.
    kept = (".", "lb.json", "resamples.json", "slices.json", "bands.json")
    read = [file for file in run.rglob("*") if file.is_file() and not file.name.startswith(kept)]
    files = sorted(read)
    for _ in range(120):
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        broken = bytearray(content)
        broken[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        code = main(["infer", f"run={run}", f"input={place / 'exams'}", f"out={tmp_path / 'out' / 'submission.csv'}"])
        *_, line = capsys.readouterr().err.splitlines()
        assert code == 1, file
        assert str(file) in line
        assert not re.search(r"[a-z]Error\b|Traceback", line), line
        assert not (tmp_path / "out").exists()
        file.write_bytes(content)


OPENS = """
import os, resource, signal, sys
from rsna.runs.bundle import open_bundle
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
print(open_bundle(sys.argv[1]).folder, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(archive, how, folder):
    return subprocess.run(
        [sys.executable, "-c", OPENS, str(archive), how],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        encoding="utf-8",
    )


def test_what_a_killed_process_unpacked_is_swept_by_the_next(place, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", place / "bundle")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert opened(archive, "killed", scratch).returncode == -signal.SIGKILL
    (left,) = scratch.iterdir()
    done = opened(archive, "whole", scratch)
    assert Path(done.stdout.strip()).parent == scratch
    assert Path(done.stdout.strip()) != left
    assert not list(scratch.iterdir())


def test_a_full_disk_for_what_is_unpacked_is_named(place, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", place / "bundle")
    said = opened(archive, "full", tmp_path).stderr.splitlines()[-1]
    assert f"{archive}: cannot be unpacked: File too large on the disk of {tmp_path}. Free space there, " in said
    assert not list(tmp_path.glob(".rsna-bundle*"))
