"""What is given up when time runs short: first mirrored images, then folds, and nothing in vain."""

import math
import time

import pytest

from rsna.inference.pass_plan import Clock, Pace, PassPlan, cheaper, choose_plans, in_words

FULL = PassPlan(4, True)


def plans(*networks):
    return tuple(PassPlan(count, False) for count in networks)


def test_plans_get_cheaper_step_by_step():
    assert cheaper((FULL,)) == [(FULL,), plans(4), plans(3), plans(2), plans(1)]
    assert [plan.passes for (plan,) in cheaper((FULL,))] == [8, 4, 3, 2, 1]
    assert in_words((FULL,)) == "4 folds, mirrored too"
    assert in_words(plans(1)) == "1 fold"


def test_members_give_up_folds_in_turn_and_then_go_from_the_last():
    found = cheaper((PassPlan(2, False), PassPlan(3, True)))
    assert found == [
        (PassPlan(2, False), PassPlan(3, True)),
        plans(2, 3),
        plans(2, 2),
        plans(2, 1),
        plans(1, 1),
        plans(1, 0),
    ]
    assert in_words(found[0]) == "2 folds + 3 folds, mirrored too"


def test_the_dearest_plan_that_fits_is_taken():
    pace = Pace(0.1, (0.1,))
    assert choose_plans((FULL,), pace, 1000, 1000) == (FULL,)
    assert choose_plans((FULL,), pace, 1000, 800) == plans(4)  # 800 s leave no margin
    assert choose_plans((FULL,), pace, 1000, 400) == plans(3)
    assert choose_plans((FULL,), pace, 1000, 150) == plans(1)
    assert choose_plans(plans(2), pace, 1000, 10_000) == plans(2)  # what was given up stays so
    both = Pace(0.1, (0.1, 0.3))
    assert both.seconds(10, plans(2, 1)) == pytest.approx(5.0)
    assert choose_plans(plans(2, 2), both, 1000, 600) == plans(2, 1)
    assert choose_plans(plans(2, 2), both, 1000, 150) == plans(1, 0)


def test_nothing_is_given_up_in_vain():
    """Where reading files is too slow for the budget, fewer folds would not be faster."""
    assert choose_plans((FULL,), Pace(1.0, (0.01,)), 1000, 500) == (FULL,)
    assert choose_plans((FULL,), Pace(1.0, (0.2,)), 1000, 500) == plans(4)


def test_a_clock_may_have_begun_before_it_was_made():
    """As the process did, whose imports take seconds."""
    clock = Clock(100.0, time.monotonic() - 30.0)
    assert 59.0 < clock.left <= 60.0
    files, networks = clock.deadlines
    assert clock.left < files - time.monotonic() < networks - time.monotonic() < 70.0
    assert Clock(None).deadlines == (math.inf, math.inf)


def test_the_clock_stops_before_the_end():
    clock = Clock(10.0)
    assert 8.5 < clock.left <= 9.0
    assert 8 * 3600 - 91 < Clock(8 * 3600.0).left <= 8 * 3600 - 90
    short = Clock(0.05)
    time.sleep(0.06)
    assert short.over
    assert not Clock(None).over
