import pytest

from rsna.board.mirror import mirror_scores
from rsna.runs.lb_scores import Submission, record_scores
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
    mirror_scores(run)
    assert client.get_run(mirrored).data.metrics == {"lb_public": 0.53, "lb_private": 0.49}
    assert client.get_run(other).data.metrics == {}


def test_nothing_is_made_where_nothing_is_mirrored(tmp_path):
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, None)])
    mirror_scores(run)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_store_that_refuses_costs_the_mirror_alone(tmp_path, capsys):
    pytest.importorskip("mlflow", reason="the mirror needs mlflow")
    run = write_run(tmp_path / "it'sb3", drawn(40))
    (tmp_path / "mlflow.db").write_bytes(b"no database at all")
    record_scores(run, [Submission("2023-01-01", 0.52, None)])
    mirror_scores(run)
    assert "are not mirrored to MLflow" in capsys.readouterr().out
