"""Cut off by time, kills, full disks and other processes, inference ends in time, keeps what it knows, and goes on."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rsna.config.settings import ConfigError
from rsna.config.verbs import InferOptions
from rsna.files import InUseError, only_writer
from rsna.inference.infer import StrictError, infer
from rsna.inference.networks import TorchNetworks
from rsna.inference.resume_log import SaveError
from rsna.inference.stream import TIME_UP
from rsna.parallel.engine import PoolError
from tests.inference.runs import write_exams
from tests.processes import workers_of


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """Sixteen images, not to be changed."""
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 4)
    return root


def options(run, exams, tmp_path, **given):
    out = str(tmp_path / "out" / "submission.csv")
    return InferOptions(
        **{"run": str(run), "input": str(exams), "out": out, "workers": 1, "submit": "probability"} | given
    )


def names(tmp_path):
    return sorted(file.name for file in (tmp_path / "out").iterdir())


WRITTEN = ["submission.csv", "submission_breasts.csv", "submission_images.csv"]
PROGRESS = "submission_progress.jsonl"


class Slow(TorchNetworks):
    """Networks of a machine that is too slow for its budget."""

    seconds = 0.4

    def logits(self, batch, plan=None):
        time.sleep(self.seconds * plan.passes * len(batch.images))
        return super().logits(batch, plan)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr("rsna.inference.infer.WARM_UP", 1)
    monkeypatch.setattr("rsna.inference.infer.REPLAN_EVERY_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            "rsna.inference.infer.load_members",
            lambda members, *_: [[Slow(member.networks(), torch.device("cpu")) for member in members]],
        )
        yield patch


def test_what_had_fewer_passes_is_completed_by_the_next_start_bit_for_bit(run, exams, tmp_path, slow, capsys):
    whole = infer(options(run, exams, tmp_path / "whole", flip=True, batch_size=1))
    cut = infer(options(run, exams, tmp_path, flip=True, batch_size=1, time_budget="12s"))
    assert cut.seconds < 12
    assert cut.images["passes"].max() == 4
    assert 1 <= cut.images["passes"].replace(0, 4).min() < 4
    assert "by fewer passes than 2 folds, mirrored too; the same command completes them" in capsys.readouterr().out
    assert names(tmp_path) == sorted([*WRITTEN, PROGRESS])
    slow.undo()
    done = infer(options(run, exams, tmp_path, flip=True, batch_size=1, strict=True))
    assert done.stages.prepared == (cut.images["passes"] < 4).sum()
    pd.testing.assert_frame_equal(done.images, whole.images, check_exact=True)
    for name in ("submission.csv", "submission_images.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / "out" / name).read_bytes()
    assert names(tmp_path) == WRITTEN  # nothing is left to go on with


def test_a_cut_start_keeps_what_an_earlier_one_knew_by_more_passes(run, exams, tmp_path, slow):
    first = infer(options(run, exams, tmp_path, flip=True, batch_size=1, time_budget="12s")).images
    again = infer(options(run, exams, tmp_path, flip=True, batch_size=1, time_budget="0.01s")).images
    assert (again["passes"] == first["passes"]).all()
    np.testing.assert_array_equal(again["probability"], first["probability"])
    with pytest.raises(StrictError, match="the time budget ended"):
        infer(options(run, exams, tmp_path, flip=True, batch_size=1, time_budget="0.01s", strict=True))


def test_progress_is_taken_by_the_same_networks_in_the_same_arithmetic_alone(run, breast_run, exams, tmp_path):
    (root := tmp_path / "exams").mkdir()
    shutil.copytree(exams, root, dirs_exist_ok=True)
    (root / "test_images" / "p0" / "10.dcm").unlink()
    infer(options(run, root, tmp_path))
    assert (
        infer(options(run, root, tmp_path, threshold=0.3, submit="threshold", average="probabilities")).stages.prepared
        == 0
    )
    assert infer(options(run, root, tmp_path, batch_size=4)).stages.prepared == 0
    assert infer(options(run, root, tmp_path, precision="bf16", tolerance=1.0)).stages.prepared == 15
    assert infer(options(breast_run, root, tmp_path)).stages.prepared == 15
    assert infer(options(run, root, tmp_path, flip=True)).stages.prepared == 15


def test_two_on_one_submission_are_one_too_many(run, exams, tmp_path):
    given = options(run, exams, tmp_path)
    with only_writer(tmp_path / "out" / "submission"):
        held = f"is being written by process {os.getpid()} on "
        with pytest.raises(InUseError, match=held):
            infer(given)
        with pytest.raises(InUseError, match=held):  # images and breasts would be written over
            infer(options(run, exams, tmp_path, out=str(tmp_path / "out" / "submission.parquet")))
        assert names(tmp_path) == [".submission.lock"]
    infer(given)
    assert names(tmp_path) == WRITTEN
    with pytest.raises(ConfigError, match="out: .* is a folder; name a file"):
        infer(options(run, exams, tmp_path, out=str(tmp_path / "out")))


def test_a_full_disk_under_the_progress_costs_no_prediction(run, exams, tmp_path, caplog):
    """A limit on the size of files stands for the disk: a submission fits, the progress does not."""
    infer(options(run, exams, tmp_path / "whole", flip=True))
    largest = (tmp_path / "whole" / "out" / "submission_images.csv").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        done = infer(options(run, exams, tmp_path, flip=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "progress is not kept" in caplog.text
    assert done.images["probability"].notna().all()
    assert len(pd.read_csv(tmp_path / "out" / "submission.csv")) == 8


@pytest.fixture
def disk(tmp_path):
    """A disk of 32 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of its own takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_at_the_end_the_submission_has_the_room_of_the_progress(run, exams, disk, tmp_path, capsys):
    given = options(run, exams, tmp_path, out=str(disk / "submission.csv"))
    whole = infer(options(run, exams, tmp_path)).submission
    (disk / "other").write_bytes(bytes(16 << 10))
    done = infer(given)  # progress fills its page, images and breasts find none
    pd.testing.assert_frame_equal(pd.read_csv(given.out), whole, check_exact=False, atol=1e-6)
    assert done.images["probability"].notna().all()


def test_what_fits_nowhere_is_put_elsewhere_and_said(run, exams, disk, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    given = options(run, exams, tmp_path, out=str(disk / "submission.csv"))
    save = "rsna.inference.infer.Predictions.fill"
    monkeypatch.setattr(save, lambda *_: (disk / "other").write_bytes(bytes(disk_room(disk))))
    with pytest.raises(SaveError, match="No space left on device.*; until then the results are in ") as said:
        infer(given)
    elsewhere = Path(str(said.value).rpartition(" in ")[2])
    assert len(pd.read_csv(elsewhere / "submission.csv")) == 8
    assert len(pd.read_csv(given.out)) == 8  # complete, as it was before


def disk_room(folder):
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize


def command(given, *more):
    typed = [f"{key}={getattr(given, key)}" for key in ("input", "out", "workers", "submit")]
    typed.append(f"run={','.join(given.run)}")
    return [sys.executable, "-m", "rsna.cli", "infer", *typed, *more]


def test_the_budget_counts_from_the_start_of_the_process_and_a_stuck_worker_does_not_outlast_it(run, exams, tmp_path):
    """The worker is stopped, as a stalled disk stops it; the time of a file alone would be a minute."""
    started = time.time()
    with subprocess.Popen(
        command(options(run, exams, tmp_path), "time_budget=40s", "batch_size=2"), stdout=subprocess.PIPE, text=True
    ) as one:
        while not (workers := workers_of(one.pid)) and one.poll() is None:
            time.sleep(0.05)
        progress = tmp_path / "out" / PROGRESS
        while not progress.exists() or progress.read_text().count("\n") < 2:
            assert one.poll() is None
            time.sleep(0.005)
        os.kill(workers[0], signal.SIGSTOP)
        said, _ = one.communicate()
    assert one.returncode == 0
    assert 30 < (tmp_path / "out" / "submission.csv").stat().st_mtime - started < 40
    assert "was given up, as the time was up" in said
    images = pd.read_csv(tmp_path / "out" / "submission_images.csv", dtype={"failure": str})
    # Whatever was prepared before it was stopped is predicted, however few images they are.
    assert images["failure"].isna().sum() >= 2
    assert not images["failure"].eq(TIME_UP).any()


def test_a_worker_that_is_killed_while_it_starts_costs_nothing(run, exams, tmp_path):
    with subprocess.Popen(command(options(run, exams, tmp_path), "strict=true"), stdout=subprocess.DEVNULL) as one:
        while not (workers := workers_of(one.pid)) and one.poll() is None:
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
    assert one.returncode == 0
    assert names(tmp_path) == WRITTEN


def test_where_no_worker_starts_inference_fails_and_says_how_much_is_predicted(run, exams, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # of processes that are started from here
    monkeypatch.setattr("rsna.parallel.pool._START_PAUSES", ())
    with pytest.raises(PoolError, match="does not start: .*; 0 of 16 images are predicted. The same command goes on"):
        infer(options(run, exams, tmp_path))
    failed = pd.read_csv(tmp_path / "out" / "submission_images.csv")
    assert set(failed["failure"]) == {"was not reached"}


def test_pipes_are_not_waited_for(run, exams, tmp_path):
    (root := tmp_path / "exams").mkdir()
    shutil.copytree(exams, root, dirs_exist_ok=True)
    file = root / "test_images" / "p0" / "10.dcm"
    file.unlink()
    os.mkfifo(file)
    (root / "test_images" / "p0" / "11.dcm").unlink()
    (root / "test_images" / "p0" / "11.dcm").symlink_to("/dev/zero")
    started = time.monotonic()
    done = infer(options(run, root, tmp_path))
    assert time.monotonic() - started < 30
    failures = done.images.set_index("image_id")["failure"]
    assert failures[["10", "11"]].ne("").all()
    assert failures.drop(["10", "11"]).eq("").all()
