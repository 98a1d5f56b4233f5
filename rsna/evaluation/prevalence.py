"""Weights that give an enriched set the prevalence of screening."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from rsna.config.settings import ConfigError, require
from rsna.evaluation.arrays import Floats, as_labels

Sampling = Literal["population", "enriched"]
"""Whether the share of positives in a set is that of the women screened, or was made by choosing cases."""


def negative_weight(positives: ArrayLike, negatives: ArrayLike, prevalence: float) -> Floats:
    """What a negative must weigh, beside positives of weight 1, so that positives are `prevalence` of all.

    Works on counts of any shape; 1 where there is no negative to weigh.
    """
    yes, no = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    return np.divide(yes * (1 - prevalence), prevalence * no, out=np.ones(np.shape(no)), where=no > 0)


def prevalence_weights(labels: ArrayLike, prevalence: float | None) -> Floats:
    """(n,) weights: 1 for positives, the weight of `negative_weight` for negatives; ones where prevalence is None."""
    positive = as_labels(labels)
    if prevalence is None:
        return np.ones(positive.size)
    weight = float(negative_weight(positive.sum(), (~positive).sum(), prevalence))
    return np.where(positive, 1.0, weight)


def check_prevalence(prevalence: float | None, sampling: Sampling) -> None:
    """ConfigError for a prevalence outside (0, 1), or any on a set whose own share of positives is the true one."""
    known = get_args(Sampling)
    require(sampling in known, f"sampling must be one of {', '.join(known)}, not {sampling!r}")
    if prevalence is None:
        return
    require(0 < prevalence < 1, f"prevalence must lie in (0, 1), not {prevalence}")
    if sampling == "population":
        raise ConfigError(
            f"prevalence={prevalence} reweights negatives, which a set of sampling=population must not be: its share "
            "of positives is the true one. Drop prevalence, or say sampling=enriched if cases were chosen"
        )
