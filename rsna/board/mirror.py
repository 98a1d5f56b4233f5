"""Leaderboard scores in MLflow, beside the metrics that training mirrors there."""

import os
from pathlib import Path

from rsna.files import first_line
from rsna.runs.lb_scores import read_scores
from rsna.runs.schema import CV, MLFLOW


def mirror_scores(run: Path) -> None:
    """Logs a run's latest public and private score as ``lb_public`` and ``lb_private`` on its MLflow run.

    Nothing happens where the runs are not mirrored, or this one has no pooled metrics there. A store that refuses
    costs the mirror alone: the scores are in the run folder.
    """
    store = run.parent.resolve() / MLFLOW
    if not store.is_file():
        return
    # Set before the import: MLflow reads them once, and its telemetry would wait for a network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    scores = read_scores(run)
    try:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{store}")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        # Names are compared here: a filter would have to quote what a folder's name may hold.
        for mirrored in client.search_runs(experiments):
            for name, score in (("lb_public", scores.public), ("lb_private", scores.private)):
                if score is not None and mirrored.info.run_name == f"{run.name}/{CV}":
                    client.log_metric(mirrored.info.run_id, name, score)
    except Exception as error:  # MLflow's, sqlalchemy's, OSError, RuntimeError without a HOME
        print(f"note: the scores of {run} are not mirrored to MLflow ({first_line(error)}); they are in {run}")
