"""Shards of a test set, predicted by any processes in any order, are merged into what one process writes."""

import json
import multiprocessing
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from rsna.config.shard import IncompleteError, Shard
from rsna.config.verbs import InferOptions
from rsna.inference.exam import load_test_set
from rsna.inference.infer import StrictError, infer
from rsna.inference.shards.merge import merge
from rsna.inference.shards.part import part_of, shard_out
from tests.inference.runs import write_exams, write_run
from tests.processes import kill_group

ALONE = {"batch_size": 1}
"""For less than a batch of 16: in other batches the last digits of an image depend on what stands beside it."""

WRITTEN = ["submission.csv", "submission_breasts.csv", "submission_images.csv"]


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """Five patients, of whom a file of one cannot be read, and another has none; not to be changed."""
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 5)
    (root / "test_images" / "p1" / "21.dcm").write_text("no image")
    (root / "test_images" / "p2" / "30.dcm").unlink()
    return root


@pytest.fixture(scope="module")
def comparing(tmp_path_factory):
    """Networks that look at both breasts of an exam."""
    return write_run(tmp_path_factory.mktemp("runs") / "comparing", unit="breast", compare=True)


def options(run, root, tmp_path, shard="", **given):
    runs = tuple(map(str, run)) if isinstance(run, list) else str(run)
    out = str(tmp_path / "out" / "submission.csv")
    return InferOptions(
        run=runs, input=str(root), out=out, **{"workers": 1, "submit": "probability"} | given, shard=shard
    )


def written(tmp_path):
    return {name: (tmp_path / "out" / name).read_bytes() for name in WRITTEN}


def one_process(run, root, tmp_path, **given):
    infer(options(run, root, tmp_path / "whole", **given))
    return written(tmp_path / "whole")


def refuse_networks(monkeypatch):
    monkeypatch.setattr("rsna.inference.infer.load_members", lambda *_: pytest.fail("networks were loaded"))


def numbers_of(root, count):
    """Patient → number of the shard."""
    tests = load_test_set(root)
    parts = {number: part_of(tests, Shard(number, count)).images for number in range(1, count + 1)}
    return {patient: number for number, images in parts.items() for patient in images["patient_id"]}


@pytest.mark.parametrize(
    ("models", "given"),
    [
        ("image", {}),
        ("comparing", {}),
        ("both", {"weights": (0.3, 0.7), "flip": True, "submit": "threshold"}),
    ],
)
def test_shards_merge_into_the_bytes_of_one_process(run, comparing, exams, tmp_path, capsys, models, given):
    models = {"image": run, "comparing": comparing, "both": [run, comparing]}[models]
    whole = one_process(models, exams, tmp_path, **given)
    said = capsys.readouterr().out
    for shard in ("2/3", "3/3", "1/3"):
        infer(options(models, exams, tmp_path, shard, **given))
    assert not (tmp_path / "out" / "submission.csv").exists()
    capsys.readouterr()
    done = merge(options(models, exams, tmp_path, **given))
    assert written(tmp_path) == whole
    assert done.stages.prepared == 18
    merged = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith(("failed", "threshold", "note", str(exams)))]
    assert len(lines) >= 4
    assert set(lines) <= set(merged.splitlines())
    assert "3 shards are merged" in merged
    merge(options(models, exams, tmp_path, **given))
    assert written(tmp_path) == whole


def test_a_part_of_a_submission_is_a_submission_of_its_breasts(run, exams, tmp_path):
    done = infer(options(run, exams, tmp_path, "1/2"))
    part = part_of(load_test_set(exams), Shard(1, 2))
    assert pd.read_csv(shard_out(tmp_path / "out" / "submission.csv", Shard(1, 2)))["prediction_id"].tolist() == [
        *part.prediction_ids
    ]
    assert done.images["image_id"].tolist() == part.images["image_id"].tolist()


def test_a_second_run_loads_no_networks_and_changes_nothing(run, tmp_path, monkeypatch):
    write_exams(tmp_path / "exams", 2)
    shard = str(Shard(numbers_of(tmp_path / "exams", 2)["p0"], 2))
    infer(options(run, tmp_path / "exams", tmp_path, shard))
    folder = tmp_path / "out" / "submission_shards"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    refuse_networks(monkeypatch)
    infer(options(run, tmp_path / "exams", tmp_path, shard))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_another_number_of_shards_predicts_nothing_twice(run, tmp_path, monkeypatch):
    write_exams(tmp_path / "exams", 3)
    whole = one_process(run, tmp_path / "exams", tmp_path, **ALONE)
    for shard in ("1/2", "2/2"):
        infer(options(run, tmp_path / "exams", tmp_path, shard, **ALONE))
    refuse_networks(monkeypatch)
    for shard in ("1/3", "2/3", "3/3"):
        infer(options(run, tmp_path / "exams", tmp_path, shard, **ALONE))
    for file in (tmp_path / "out" / "submission_shards").glob("*-of-2*"):
        file.unlink()
    for shard in ("1/3", "2/3", "3/3"):  # what was taken over is kept
        infer(options(run, tmp_path / "exams", tmp_path, shard, **ALONE))
    merge(options(run, tmp_path / "exams", tmp_path, **ALONE))
    assert written(tmp_path) == whole


def test_missing_shards_are_named_and_nothing_is_written(run, exams, tmp_path):
    with pytest.raises(IncompleteError, match="submission_shards holds no shard"):
        merge(options(run, exams, tmp_path))
    number = numbers_of(exams, 3)["p0"]
    infer(options(run, exams, tmp_path, f"{number}/3"))
    with pytest.raises(IncompleteError, match=r"of 20 images are not predicted \(first: .* × no result\)") as error:
        merge(options(run, exams, tmp_path))
    assert error.value.shards == tuple(Shard(n, 3) for n in sorted(set(numbers_of(exams, 3).values()) - {number}))
    assert not (tmp_path / "out" / "submission.csv").exists()


def test_a_shard_without_exams_is_no_error_and_need_not_be_run(run, tmp_path, capsys):
    write_exams(tmp_path / "exams", 1)
    number = numbers_of(tmp_path / "exams", 2)["p0"]
    infer(options(run, tmp_path / "exams", tmp_path, f"{number}/2", **ALONE))
    whole = one_process(run, tmp_path / "exams", tmp_path, **ALONE)
    merge(options(run, tmp_path / "exams", tmp_path, **ALONE))
    assert written(tmp_path) == whole
    capsys.readouterr()
    assert infer(options(run, tmp_path / "exams", tmp_path, f"{3 - number}/2", **ALONE)).images.empty
    said = capsys.readouterr().out
    assert ": 0 images, 0 breasts\n" in said
    assert "nan" not in said
    assert "warning" not in said
    merge(options(run, tmp_path / "exams", tmp_path, **ALONE))
    assert written(tmp_path) == whole


def test_rows_that_vanish_or_change_ask_for_their_shard_alone(run, tmp_path, monkeypatch):
    root = tmp_path / "exams"
    table = write_exams(root, 5)
    numbers = numbers_of(root, 3)
    for number in sorted(set(numbers.values())):
        infer(options(run, root, tmp_path, f"{number}/3"))
    table[table["image_id"] != "20"].to_csv(root / "test.csv", index=False)  # of p1
    with pytest.raises(IncompleteError, match="1 × the table has changed since") as error:
        merge(options(run, root, tmp_path))
    assert error.value.shards == (Shard(numbers["p1"], 3),)
    refuse_networks(monkeypatch)  # the others of its images are known
    infer(options(run, root, tmp_path, str(error.value.shards[0])))
    merge(options(run, root, tmp_path))
    monkeypatch.undo()
    (root / "test_images" / "p1" / "20.dcm").unlink()
    assert written(tmp_path) == one_process(run, root, tmp_path)


@pytest.mark.parametrize("models", ["image", "comparing"])
def test_files_that_changed_since_ask_for_their_shard_alone(run, comparing, exams, tmp_path, models):
    """Of a breast of which another file failed, too, and not where times alone are others, as of a copy."""
    models, root = {"image": run, "comparing": comparing}[models], tmp_path / "exams"
    shutil.copytree(exams, root)
    for number in range(1, 4):
        infer(options(models, root, tmp_path, str(Shard(number, 3)), **ALONE))
    (root / "test_images" / "p0" / "10.dcm").touch()
    merge(options(models, root, tmp_path, **ALONE))
    shutil.copy(root / "test_images" / "p0" / "10.dcm", root / "test_images" / "p1" / "23.dcm")
    with pytest.raises(IncompleteError, match=r"\(first: .*; 1 × files have changed since\)") as error:
        merge(options(models, root, tmp_path, **ALONE))
    shards = error.value.shards
    assert shards == (Shard(numbers_of(root, 3)["p1"], 3),)
    infer(options(models, root, tmp_path, str(shards[0]), **ALONE))
    merge(options(models, root, tmp_path, **ALONE))
    assert written(tmp_path) == one_process(models, root, tmp_path, **ALONE)


def test_a_file_that_was_mended_since_it_failed_asks_for_its_shard(run, exams, tmp_path):
    root = tmp_path / "exams"
    shutil.copytree(exams, root)
    bad = root / "test_images" / "p1" / "21.dcm"
    infer(options(run, root, tmp_path, "1/1", **ALONE))
    bad.touch()
    merge(options(run, root, tmp_path, **ALONE))
    shutil.copy(root / "test_images" / "p1" / "20.dcm", bad)
    with pytest.raises(IncompleteError, match="1 × files have changed since"):
        merge(options(run, root, tmp_path, **ALONE))
    infer(options(run, root, tmp_path, "1/1", **ALONE))
    merge(options(run, root, tmp_path, **ALONE))
    assert written(tmp_path) == one_process(run, root, tmp_path, **ALONE)


def test_shards_of_other_models_or_passes_are_not_merged(run, comparing, exams, tmp_path):
    infer(options(run, exams, tmp_path, "1/1"))
    with pytest.raises(IncompleteError, match="1 × flip: "):
        merge(options(run, exams, tmp_path, flip=True))
    with pytest.raises(IncompleteError, match="1 × models: .*; units: "):
        merge(options(comparing, exams, tmp_path))
    with pytest.raises(IncompleteError, match="1 × average: logits → probabilities"):
        merge(options(run, exams, tmp_path, average="probabilities"))
    merge(options(run, exams, tmp_path, submit="threshold", threshold=0.3))  # which is no matter of shards


def test_the_set_may_lie_elsewhere_on_other_machines(run, exams, tmp_path):
    shutil.copytree(exams, tmp_path / "there")
    infer(options(run, tmp_path / "there", tmp_path, "1/1"))
    merge(options(run, exams, tmp_path))
    # A failure names the file that was opened, where it lay.
    there, here = (str(folder).encode() for folder in (tmp_path / "there", exams))
    merged = {name: content.replace(there, here) for name, content in written(tmp_path).items()}
    assert merged == one_process(run, exams, tmp_path)


def test_strict_holds_for_shards_and_for_all_of_them(run, exams, tmp_path):
    infer(options(run, exams, tmp_path, "1/1"))
    with pytest.raises(StrictError, match="1 rows have no file"):
        merge(options(run, exams, tmp_path, strict=True))
    number = numbers_of(exams, 2)["p2"]
    with pytest.raises(StrictError, match="1 rows have no file"):
        infer(options(run, exams, tmp_path, f"{number}/2", strict=True))


def test_a_shard_that_ran_out_of_time_is_completed_by_the_same_command(run, tmp_path, monkeypatch):
    root = tmp_path / "exams"
    write_exams(root, 4)
    whole = one_process(run, root, tmp_path)
    numbers = numbers_of(root, 2)
    crowded = max(numbers.values(), key=[*numbers.values()].count)
    for number in set(numbers.values()) - {crowded}:
        infer(options(run, root, tmp_path, f"{number}/2"))
    stops = []
    monkeypatch.setattr("rsna.inference.infer.Clock.over", property(lambda clock: len(stops) > 0 or stops.append(1)))
    infer(options(run, root, tmp_path, f"{crowded}/2", time_budget="1h"))
    monkeypatch.undo()
    cut = merge(options(run, root, tmp_path))
    assert "the time budget was spent before its turn" in set(cut.images["failure"])
    assert len(cut.submission) == 8
    infer(options(run, root, tmp_path, f"{crowded}/2"))
    merge(options(run, root, tmp_path))
    assert written(tmp_path) == whole


CODE = """
import sys
from rsna.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def arguments(run, root, tmp_path, *more):
    return [f"run={run}", f"input={root}", f"out={tmp_path / 'out' / 'submission.csv'}", "workers=1", *more]


def test_a_killed_shard_goes_on_and_is_named_until_then(run, tmp_path, capsys):
    from rsna.cli.main import main

    root = tmp_path / "exams"
    write_exams(root, 3)
    whole = one_process(run, root, tmp_path, submit="threshold", **ALONE)
    given = arguments(run, root, tmp_path, "batch_size=1")
    log = tmp_path / "out" / "submission_shards" / "1-of-1_progress.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "infer", "shard=1/1", *given],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_bytes().count(b"\n") > 2):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        kill_group(process.pid)
        process.wait()
    capsys.readouterr()
    if not log.with_name("1-of-1_result.json").exists():
        assert main(["infer", "merge", *given]) == 1
        command = [*capsys.readouterr().out.split()]
        assert command[:3] == ["rsna", "infer", "shard=1/1"]
        assert sorted(command[3:]) == sorted(given)
    done = infer(options(run, root, tmp_path, "1/1", submit="threshold", **ALONE))
    assert done.stages.prepared <= 10
    assert main(["infer", "merge", *given]) == 0
    assert written(tmp_path) == whole


def _infer(given):
    infer(given)


def test_processes_that_do_the_same_shard_at_once_harm_nothing(run, tmp_path):
    root = tmp_path / "exams"
    write_exams(root, 2)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_infer, args=(options(run, root, tmp_path, shard, **ALONE),)) for shard in ("1/1", "1/1")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    merge(options(run, root, tmp_path, **ALONE))
    assert written(tmp_path) == one_process(run, root, tmp_path, **ALONE)


def test_a_result_that_is_damaged_is_no_result(run, tmp_path):
    write_exams(tmp_path / "exams", 1)
    infer(options(run, tmp_path / "exams", tmp_path, "1/1"))
    file = tmp_path / "out" / "submission_shards" / "1-of-1_result.json"
    told = json.loads(file.read_text())
    assert np.isfinite(told["scores"]).all()
    another = [[0.5, *scores[1:]] for scores in told["scores"]]
    damaged = [json.dumps(told | values) for values in ({"scores": "?"}, {"scores": another}, {"stages": {}})]
    for content in ("", "{", *damaged):
        file.write_text(content)
        with pytest.raises(IncompleteError, match="1 × no result"):
            merge(options(run, tmp_path / "exams", tmp_path))
