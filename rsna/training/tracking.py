"""MLflow as a mirror of run directories: parameters, curves, metrics, artifacts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.config.settings import flatten, to_mapping
from rsna.files import first_line, read_json
from rsna.runs.schema import CV, HISTORY, METRICS, MLFLOW, OOF


def track(config: Config, run: Path, folder: Path) -> None:
    """Mirrors a finished fold, or ``cv``: its metrics and small files, and the curves of a fold.

    A store that refuses costs the mirror alone: everything is in the run folder.
    """
    if config.tracking == "none":
        return
    name = f"{run.name}/{folder.name}"
    try:
        with _mlflow_run(config, run, name) as mlflow:
            _log_metrics(mlflow, read_json(folder / METRICS))
            mlflow.log_artifact(str(folder / METRICS))
            if folder.name == CV:
                return
            for row in pd.read_csv(folder / HISTORY).to_dict("records"):
                metrics = {str(k): float(v) for k, v in row.items() if k not in ("epoch", "step") and pd.notna(v)}
                mlflow.log_metrics(metrics, step=int(row["epoch"]))
            for file in (HISTORY, "history.png", OOF):
                mlflow.log_artifact(str(folder / file))
    except Exception as error:  # MLflow's, sqlalchemy's, OSError, RuntimeError without a HOME: nothing may end training
        print(f"note: {name} is not mirrored to MLflow ({first_line(error)}); everything is in {run}", flush=True)


@contextmanager
def _mlflow_run(config: Config, run: Path, name: str) -> Iterator[Any]:
    # Set before the import: MLflow reads them once, and its telemetry would wait for a network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import logging

    import mlflow
    from filelock import FileLock

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    root = run.parent.resolve()
    # Two processes on a fresh store race in its first migration.
    with FileLock(root / f".{MLFLOW}.lock"):
        mlflow.set_tracking_uri(f"sqlite:///{root / MLFLOW}")
        experiment = mlflow.get_experiment_by_name(config.name)
        if experiment is None:
            mlflow.create_experiment(config.name, artifact_location=(root / "mlflow").as_uri())
        mlflow.set_experiment(config.name)
    with mlflow.start_run(run_name=name, tags={"run": str(run), "data": config.data_name}):
        mlflow.log_params({key: str(value) for key, value in flatten(to_mapping(config)).items()})
        yield mlflow


def _log_metrics(mlflow: Any, metrics: Mapping[str, Any]) -> None:
    pooled = metrics.get("breasts", {}).get("pooled", {})
    mlflow.log_metrics({name: float(v) for name, v in pooled.items() if isinstance(v, (int, float))})
    for name, score in metrics.get("targets", {}).items():
        if score["auroc"] is not None:
            mlflow.log_metric(f"auroc_{name}", score["auroc"])
