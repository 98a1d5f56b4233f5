import numpy as np
import pytest

from rsna.config.settings import ConfigError
from rsna.evaluation.pf1 import pf1, pf1_of_ones
from rsna.evaluation.prevalence import check_prevalence, negative_weight, prevalence_weights


def test_weights_give_positives_the_stated_share():
    labels = np.arange(100) < 50
    weights = prevalence_weights(labels, 0.021)
    assert weights[labels].sum() / weights.sum() == pytest.approx(0.021)
    assert (weights[labels] == 1).all()
    assert pf1(labels, np.ones(100), weights=weights) == pytest.approx(pf1_of_ones(0.021))


def test_without_a_prevalence_all_weigh_one():
    assert prevalence_weights([1, 0], None).tolist() == [1, 1]


def test_a_set_without_negatives_keeps_its_weights():
    assert prevalence_weights([1, 1], 0.02).tolist() == [1, 1]
    assert negative_weight([3, 3], [0, 6], 0.2).tolist() == [1, 2]


def test_a_population_set_is_never_reweighted():
    with pytest.raises(ConfigError, match="sampling=population"):
        check_prevalence(0.021, "population")
    check_prevalence(0.021, "enriched")
    check_prevalence(None, "population")


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 2.1, np.nan])
def test_a_prevalence_is_a_share(prevalence):
    with pytest.raises(ConfigError, match="prevalence must lie"):
        check_prevalence(prevalence, "enriched")
    with pytest.raises(ConfigError, match="prevalence must lie"):
        check_prevalence(prevalence, "population")


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ConfigError, match="population, enriched"):
        check_prevalence(None, "enrichd")
