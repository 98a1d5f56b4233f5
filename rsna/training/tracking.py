"""MLflow as a mirror of run directories: parameters, curves, metrics, artifacts."""

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from rsna.config.schema import Config
from rsna.config.settings import flatten, to_mapping
from rsna.files import first_line, only_writer, read_json
from rsna.parallel.progress import Progress
from rsna.runs.schema import CV, HISTORY, METRICS, MLFLOW, OOF

_PATIENCE_S = 120.0
"""MLflow by itself tries a store that does not open for an hour."""


def mirrored(what: str, run: Path, work: Callable[[], None]) -> None:
    """Lets MLflow work for two minutes at most; whatever comes of that, and be it nothing, is a note and no more."""
    failed: list[BaseException] = [TimeoutError(f"no answer in {_PATIENCE_S:.0f} s")]

    def try_it() -> None:
        try:
            work()
            failed.clear()
        except BaseException as error:  # MLflow's, sqlalchemy's, OSError, RuntimeError without a HOME, SystemExit
            failed[:] = [error]

    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # each comes with a traceback of sixty lines, whatever is done about it
    try:
        with Progress("mirror to MLflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thread = threading.Thread(target=try_it, daemon=True)
            thread.start()
            thread.join(_PATIENCE_S)
    finally:
        logging.disable(level)
    if failed:
        print(f"note: {what} not mirrored to MLflow ({first_line(failed[0])}); everything is in {run}", flush=True)


def track(config: Config, run: Path, folder: Path) -> None:
    """Mirrors a finished fold, or ``cv``: its metrics and small files, and the curves of a fold.

    A store that refuses costs the mirror alone: everything is in the run folder.
    """
    if config.tracking != "none":
        TRACKERS[config.tracking](config, run, folder)


def _track_by_mlflow(config: Config, run: Path, folder: Path) -> None:
    name = f"{run.name}/{folder.name}"

    def log() -> None:
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

    mirrored(f"{name} is", run, log)


TRACKERS: dict[str, Callable[[Config, Path, Path], None]] = {"mlflow": _track_by_mlflow}
"""``tracking`` → what mirrors a finished fold, or ``cv``, of a run."""


@contextmanager
def _mlflow_run(config: Config, run: Path, name: str) -> Iterator[Any]:
    import mlflow

    root = run.parent.resolve()
    # Two processes on a fresh store race in its first migration.
    with only_writer(root / MLFLOW, waits=True):
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
