"""Groups and learning rates are those that the settings describe."""

import math

import pytest
import torch
from torch import nn

from rsna.config.training import OptimSettings
from rsna.training.schedule import lr_factor, make_optimizer, parameter_groups


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.01), (5, 0.505), (10, 1.0), (10 + 89 / 2, 0.01 + 0.99 / 2), (99, 0.01), (500, 0.01)],
)
def test_warm_up_is_linear_and_then_a_cosine_falls(step, expected):
    assert math.isclose(lr_factor(step, 100, 10, OptimSettings()), expected, rel_tol=1e-9)


def test_without_warm_up_it_starts_at_the_top():
    assert lr_factor(0, 100, 0, OptimSettings()) == 1.0


def test_biases_and_norms_do_not_decay():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 1))
    decayed, free = parameter_groups(network, 0.1)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert all(p.ndim == 1 for p in free["params"])
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert sum(len(group["params"]) for group in (decayed, free)) == len(list(network.parameters()))
    assert isinstance(make_optimizer(network, OptimSettings(), 16, True), torch.optim.AdamW)
