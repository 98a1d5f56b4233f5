"""How long the metrics take at the competition's size: 23,826 breasts of 11,913 patients, 492 positive, four folds.

    python benchmarks/evaluation.py [--json FILE]

One core. `threshold_ms`: the exact best threshold with its plateau. `bootstrap_s`: 2,000 patient resamples of all ten
metrics. `scikit_learn_s`: what two of them, AUROC and average precision, would take in scikit-learn (from 40).
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import statistics
import time
from collections.abc import Callable

import numpy as np
from common import parser_of, write_result
from sklearn.metrics import average_precision_score, roc_auc_score

from rsna.evaluation.bootstrap import RESAMPLES, resample
from rsna.evaluation.counts import OperatingPoints, SortedBreasts
from rsna.evaluation.metrics import METRICS
from rsna.evaluation.threshold import best_threshold

PATIENTS, POSITIVES = 11_913, 492


def main() -> None:
    """Measures, prints, and writes the times where asked."""
    options = parser_of(__doc__).parse_args()

    rng = np.random.default_rng(0)
    breasts = 2 * PATIENTS
    positive = np.zeros(breasts, dtype=bool)
    positive[rng.choice(breasts, POSITIVES, replace=False)] = True
    scores = 1 / (1 + np.exp(4 - 2 * positive - rng.normal(0, 1.2, breasts)))
    patients = np.repeat(np.arange(PATIENTS), 2)
    sorted_once = SortedBreasts(positive, scores, patients, patients % 4, OperatingPoints())

    threshold = [seconds(lambda: best_threshold(positive, scores)) for _ in range(50)]
    bootstrap = [seconds(lambda: resample([sorted_once], RESAMPLES)) for _ in range(3)]
    weights = rng.multinomial(PATIENTS, np.full(PATIENTS, 1 / PATIENTS), size=40)[:, patients].astype(float)
    library = seconds(lambda: [areas(positive, scores, w) for w in weights]) * RESAMPLES / len(weights)
    found = {
        "threshold_ms": round(1000 * statistics.median(threshold), 2),
        "bootstrap_s": round(statistics.median(bootstrap), 2),
        "scikit_learn_s": round(library, 1),
    }
    print(f"{breasts:,} breasts, {RESAMPLES:,} resamples of {len(METRICS)} metrics, one core")
    for name, value in found.items():
        print(f"{name:16s}{value:8}")
    write_result(options.json, found)


def seconds(work: Callable[[], object]) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def areas(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """AUROC and average precision by scikit-learn."""
    return (
        roc_auc_score(positive, scores, sample_weight=weights),
        average_precision_score(positive, scores, sample_weight=weights),
    )


if __name__ == "__main__":
    main()
