import errno
import fcntl
import sqlite3

import pytest

from rsna.board import mirror
from rsna.board.mirror import mirror_scores
from rsna.cli.main import main
from rsna.runs.lb_scores import Submission, read_scores, record_scores
from tests.board.runs import drawn, write_run


def test_scores_stand_beside_the_pooled_metrics(tmp_path):
    pytest.importorskip("mlflow", reason="the mirror needs mlflow")
    from mlflow import MlflowClient

    run = write_run(tmp_path / "it'sb3", drawn(40))
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("b3")
    mirrored, other = (
        client.create_run(experiment, run_name=name).info.run_id for name in ("it'sb3/cv", "it'sb3/fold0")
    )
    record_scores(run, [Submission("2023-01-01", 0.52, None), Submission("2023-01-02", 0.53, 0.49)])
    mirror_scores([run])
    assert client.get_run(mirrored).data.metrics == {"lb_public": 0.53, "lb_private": 0.49}
    assert client.get_run(other).data.metrics == {}


def test_of_commands_at_once_one_mirrors_for_all(tmp_path, monkeypatch):
    """A score that comes while another process is at it is left to that one, which looks for more before it ends."""
    mirrored = []
    runs = [write_run(tmp_path / name, drawn(40)) for name in ("one", "two")]
    (tmp_path / "mlflow.db").touch()

    def log(store, given):
        mirrored.append([run.name for run in given])
        for run in given:
            (run / "cv" / ".lb.waiting").unlink()
        if len(mirrored) == 1:
            mirror_scores(runs[1:])  # which finds this one at work

    monkeypatch.setattr(mirror, "_mirror", log)
    mirror_scores(runs[:1])
    assert mirrored == [["one"], ["two"]]
    assert not list(tmp_path.glob("*/cv/.lb.waiting"))


def test_a_disk_without_locks_mirrors_all_the_same(tmp_path, monkeypatch):
    run, mirrored = write_run(tmp_path / "one", drawn(40)), []
    (tmp_path / "mlflow.db").touch()

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def log(store, runs):
        mirrored.extend(runs)
        (run / "cv" / ".lb.waiting").unlink()

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(mirror, "_mirror", log)
    mirror_scores([run])
    assert mirrored == [run]


def test_a_score_that_the_store_refuses_is_tried_once_and_waits_for_the_next_command(tmp_path):
    pytest.importorskip("mlflow", reason="the mirror needs mlflow")
    from mlflow import MlflowClient

    run, other = (write_run(tmp_path / name, drawn(40)) for name in ("one", "two"))
    store = tmp_path / "mlflow.db"
    client = MlflowClient(f"sqlite:///{store}")
    mirrored = client.create_run(client.create_experiment("b3"), run_name="one/cv").info.run_id
    record_scores(run, [Submission("2023-01-01", 0.52, None)])
    refusal = "CREATE TRIGGER full BEFORE INSERT ON {} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    with sqlite3.connect(store) as held:
        held.execute(refusal.format("metrics"))
    mirror_scores([run])
    assert [file.parent.parent.name for file in tmp_path.glob("*/cv/.lb.waiting")] == ["one"]
    with sqlite3.connect(store) as held:
        held.execute("DROP TRIGGER full")
    mirror_scores([other])
    assert client.get_run(mirrored).data.metrics == {"lb_public": 0.52}
    assert not list(tmp_path.glob("*/cv/.lb.waiting"))


def test_nothing_is_made_where_nothing_is_mirrored(tmp_path):
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, None)])
    mirror_scores([run])
    assert not (tmp_path / "mlflow.db").exists()


def broken(store):
    store.write_bytes(b"no database at all")


def folder(store):
    store.mkdir()


def locked(store):
    held = sqlite3.connect(store)
    held.execute("BEGIN EXCLUSIVE")
    return held


@pytest.mark.parametrize("spoil", [broken, folder, locked])
def test_a_store_that_refuses_costs_the_mirror_alone(spoil, tmp_path, capfd, monkeypatch):
    """Whatever MLflow does for however long: one line, and the score is kept, once, however often it is typed."""
    pytest.importorskip("mlflow", reason="the mirror needs mlflow")
    monkeypatch.setattr("rsna.training.tracking._PATIENCE_S", 4.0)
    run = write_run(tmp_path / "it'sb3", drawn(40))
    held = spoil(tmp_path / "mlflow.db")
    for new in (1, 0):
        assert main(["leaderboard", "submit", f"run={run}", "public=0.52"]) == 0
        said = capfd.readouterr()
        done, note = said.out.splitlines()
        assert note.startswith(f"note: the scores of {run} are not mirrored to MLflow (")
        assert done == f"{run}: {new} of 1 submissions are new"
        assert said.err.splitlines()[0] == f"rsna leaderboard submit: records scores of {run}"
        assert "Traceback" not in said.err
    assert [s.public for s in read_scores(run).submissions] == [0.52]
    del held
