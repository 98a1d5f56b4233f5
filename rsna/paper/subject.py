"""The model that is written about: one run, or several that a bundle joins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from rsna.config.data import JoinMethod
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.decisions import OperatingPoint, operating_points
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.slices import Slice
from rsna.runs.resamples import slices_of
from rsna.runs.run import Run
from rsna.runs.schema import BreastMetrics


@dataclass(frozen=True)
class Subject:
    """Runs, the folds of each that count, and what the joint out-of-fold predictions are worth."""

    name: str
    runs: tuple[Run, ...]
    folds: tuple[tuple[int, ...], ...]
    """Of each run."""
    metrics: BreastMetrics
    evaluation: Evaluation | None = None
    """Of one run: its breasts."""
    resamples: int = 0
    """Behind the intervals of operating points and slices; 0 where these have none."""
    points: tuple[OperatingPoint, ...] = ()
    slices: tuple[Slice, ...] = ()
    names: tuple[str, ...] = ()
    """Of several members."""
    method: JoinMethod = "logit_mean"
    """How they are joined."""
    weights: tuple[float, ...] = ()
    """What they weigh, where the method is weights."""

    @classmethod
    def of_run(
        cls, run: Run, folds: Sequence[int] = (), resamples: int = 0, evaluation: Evaluation | None = None
    ) -> Self:
        """One run, by some of its folds or else all that are finished.

        Args:
            run: It learns cancer, and a breast of these folds is positive.
            folds: Which count.
            resamples: Behind the intervals of operating points and slices.
            evaluation: The run's own of all these folds, where somebody has computed it before.

        Raises:
            RunError: See :meth:`Run.breast_metrics`.
        """
        folds = tuple(folds or run.fold_metrics)
        whole = set(folds) == set(run.fold_metrics)
        metrics = run.breast_metrics(folds)
        try:
            evaluation = evaluation or run.evaluate(() if whole else folds)
        except PredictionError:
            evaluation = None
        return cls(
            name=f"{run.record.name}-{run.record.data.name}",
            runs=(run,),
            folds=(folds,),
            metrics=metrics,
            evaluation=evaluation,
            resamples=resamples,
            points=tuple(operating_points(evaluation, resamples=resamples)) if evaluation else (),
            slices=tuple(slices_of(run, evaluation, resamples)) if evaluation and whole else (),
        )

    @property
    def run(self) -> Run:
        """The first."""
        return self.runs[0]

    @property
    def simulated(self) -> bool:
        """Whether any was trained on the embedded sample."""
        return any(run.record.data.simulated for run in self.runs)

    @property
    def enriched(self) -> bool:
        """Whether the share of positives was made."""
        return self.run.record.data.sampling == "enriched"

    @property
    def n_networks(self) -> int:
        """Over runs and folds."""
        return sum(map(len, self.folds))

    def oof(self) -> pd.DataFrame:
        """Out-of-fold predictions of the first run: what is known of the patients stands there."""
        return self.run.oof(self.folds[0])
