"""The global batch is exact, or refused with numbers that work."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsna.config.settings import ConfigError
from rsna.config.training import TrainerSettings
from rsna.training.data.batch import plan_batch
from rsna.training.hardware import choose_devices, choose_precision


@pytest.mark.parametrize(
    ("total", "per_device", "devices", "expected"),
    [(16, 8, 2, (8, 1)), (16, 8, 1, (8, 2)), (16, 32, 1, (16, 1)), (16, 4, 2, (4, 2)), (1, 8, 1, (1, 1))],
)
def test_plans(total, per_device, devices, expected):
    plan = plan_batch(total, per_device, devices)
    assert (plan.per_device, plan.accumulate) == expected


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 8))
def test_a_plan_is_exact_or_the_numbers_it_names_are(total, per_device, devices):
    try:
        plan = plan_batch(total, per_device, devices)
    except ConfigError as error:
        works = [int(number) for number in str(error).rsplit(" can be ", 1)[1].split(", ")]
        for number in works:
            if "batch_size_per_device can be" in str(error):
                plan_batch(total, number, devices)
            else:
                plan_batch(total, 1, number)
    else:
        assert plan.devices * plan.per_device * plan.accumulate == total


@pytest.mark.parametrize(
    ("gpus", "global_batch_size", "per_device", "used"),
    [
        (1, 16, 8, 1),
        (2, 16, 8, 2),
        (4, 16, 8, 2),
        (8, 16, 8, 2),
        (3, 16, 8, 2),
        (4, 16, 4, 4),
        (3, 12, 4, 3),
        (2, 4, 8, 1),
    ],
)
def test_auto_takes_every_gpu_that_the_batch_can_be_spread_over(monkeypatch, gpus, global_batch_size, per_device, used):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert choose_devices(TrainerSettings(), "cuda", global_batch_size, per_device) == used
    plan_batch(global_batch_size, per_device, used)


def test_half_precision_with_scaled_gradients_is_refused_on_the_cpu():
    with pytest.raises(ConfigError, match=r"trainer\.precision: fp16 needs a GPU; use auto, bf16 or 32"):
        choose_precision(TrainerSettings(precision="fp16"), "cpu")
