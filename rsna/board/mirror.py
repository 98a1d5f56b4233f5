"""Leaderboard scores in MLflow, beside the metrics that training mirrors there."""

import os
from pathlib import Path

from rsna.runs.lb_scores import read_scores
from rsna.training.tracking import STORE


def mirror_scores(run: Path) -> None:
    """Logs a run's latest public and private score as ``lb_public`` and ``lb_private`` on its MLflow run.

    Nothing happens where the runs are not mirrored, or this one has no pooled metrics there.
    """
    store = run.parent.resolve() / STORE
    if not store.is_file():
        return
    # Set before the import: MLflow reads them once, and its telemetry would wait for a network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_name = '{run.name}/cv'")
    scores = read_scores(run)
    for mirrored in found:
        for name, score in (("lb_public", scores.public), ("lb_private", scores.private)):
            if score is not None:
                client.log_metric(mirrored.info.run_id, name, score)
