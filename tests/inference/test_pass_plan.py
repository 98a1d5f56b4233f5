"""What is given up when time runs short: first mirrored images, then folds, and nothing in vain."""

import time

from rsna.inference.pass_plan import Clock, Pace, PassPlan, choose_plan

FULL = PassPlan(4, True)


def test_plans_get_cheaper_step_by_step():
    assert FULL.cheaper() == [
        PassPlan(4, True),
        PassPlan(4, False),
        PassPlan(3, False),
        PassPlan(2, False),
        PassPlan(1, False),
    ]
    assert [plan.passes for plan in FULL.cheaper()] == [8, 4, 3, 2, 1]
    assert str(FULL) == "4 folds, mirrored too"
    assert str(PassPlan(1, False)) == "1 fold"


def test_the_dearest_plan_that_fits_is_taken():
    pace = Pace(prepare=0.1, network=0.1)
    assert choose_plan(FULL, pace, 1000, 1000) == FULL
    assert choose_plan(FULL, pace, 1000, 800) == PassPlan(4, False)  # 800 s leave no margin
    assert choose_plan(FULL, pace, 1000, 400) == PassPlan(3, False)
    assert choose_plan(FULL, pace, 1000, 150) == PassPlan(1, False)
    assert choose_plan(PassPlan(2, False), pace, 1000, 10_000) == PassPlan(2, False)  # what was given up stays so


def test_nothing_is_given_up_in_vain():
    """Where reading files is too slow for the budget, fewer folds would not be faster."""
    assert choose_plan(FULL, Pace(prepare=1.0, network=0.01), 1000, 500) == FULL
    assert choose_plan(FULL, Pace(prepare=1.0, network=0.2), 1000, 500) == PassPlan(4, False)


def test_the_clock_stops_before_the_end():
    clock = Clock(10.0)
    assert 8.5 < clock.left <= 9.0
    assert 8 * 3600 - 91 < Clock(8 * 3600.0).left <= 8 * 3600 - 90
    short = Clock(0.05)
    time.sleep(0.06)
    assert short.over
    assert not Clock(None).over
