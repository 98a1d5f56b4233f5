"""The global batch is exact, or refused with numbers that work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsna.settings import ConfigError
from rsna.training.batch import plan_batch


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
