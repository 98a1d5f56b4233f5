"""Which runs are shown and in what order, while ranks stay those of all."""

import pytest

from rsna.board.choose import Choice, Condition, most_is_best, setting
from rsna.board.leaderboard import leaderboard
from rsna.config.settings import ConfigError
from rsna.runs.errors import RunError
from rsna.runs.run import find_runs


@pytest.fixture(scope="module")
def groups(ranked):
    return leaderboard(find_runs(ranked)[0], resamples=50)


@pytest.fixture(scope="module")
def group(groups):
    return max(groups, key=lambda group: len(group.places))


def names(choice, group):
    return [place.run.name for place in choice.places(group)]


def test_the_order_is_that_of_the_ranking_unless_another_is_asked_for(group):
    assert names(Choice(), group) == [place.run.name for place in group.places]
    by_auroc = [place.run.shown.get("auroc") for place in Choice.of("auroc", ()).places(group)]
    assert by_auroc == sorted(by_auroc, reverse=True)
    assert names(Choice.of("name", ()), group) == ["begun", "good", "poor", "twin"]
    assert names(Choice.of("-name", ()), group) == ["twin", "poor", "good", "begun"]


@pytest.mark.parametrize(("sort", "falls"), [
    ("auroc", True), ("pf1_nested_low", True), ("n_folds", True), ("folds.n_folds", True), ("public", True),
    ("pf1_nested_sd_of_seeds", False), ("behind_leader", False), ("seconds", False),
])  # fmt: skip
def test_of_what_the_best_run_has_most(sort, falls):
    assert most_is_best(sort) == falls


def test_what_lacks_the_value_stands_last_both_ways(group):
    for sort in ("behind_leader", "-behind_leader"):
        assert {*names(Choice.of(sort, ()), group)[2:]} == {group.places[0].run.name, "begun"}


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (["checkpoint=best"], {"twin"}),
        (["checkpoint!=best"], {"good", "poor", "begun"}),
        (["backbone=*EFFICIENTNET", "input=64x32"], {"good", "twin", "poor", "begun"}),
        (["folds_done<2"], {"begun"}),
        (["model.pretrained=false", "folds.n_folds>=2.0", "name=[gt]*"], {"good", "twin"}),
        (["rank<=2"], {"good", "twin"}),
        (["preprocess.size=64,32", "name=poor"], {"poor"}),
    ],
)
def test_conditions_are_of_columns_and_of_the_configuration(group, filters, left):
    assert set(names(Choice.of("rank", filters), group)) == left


def test_ranks_and_p_stay_those_of_all(group):
    (poor,) = Choice.of("rank", ["name=poor"]).places(group)
    assert poor is next(place for place in group.places if place.run.name == "poor")
    remark = Choice.of("rank", ["name=poor"]).remark(group)
    assert remark == "shown are 1 of 4 runs (name=poor); ranks, leader and p are those of all of them"
    assert Choice().remark(group) == ""


@pytest.mark.parametrize("text", ["backbone", "=b3", "", "backbone==b3", "auroc=>0.5"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        Choice.of("rank", [text])


@pytest.mark.parametrize("sign", [">", "<", ">=", "<="])
@pytest.mark.parametrize("word", ["word", "", "0,5", "nan", "nothing", "true"])
def test_a_comparison_with_what_is_no_number_is_refused(sign, word):
    with pytest.raises(ConfigError, match=f"filter: auroc{sign}{word}: '{word}' is no number"):
        Choice.of("rank", ["name=*", f"auroc{sign}{word}"])


@pytest.mark.parametrize("name", ["name", "backbone", "runs", "model.pretrained", "preprocess.size", "against_leader"])
def test_a_comparison_of_what_is_no_number_is_refused(ranked, name):
    runs = find_runs(ranked)[0]
    with pytest.raises(ConfigError, match=f"filter: {name}>3: {name} is no number, as in '.*; write = or !="):
        Choice.of("rank", [f"{name}>3"]).check(runs)
    Choice.of("rank", ["public>3", "p<0.5", "auroc<inf", "seed>=0", f"{name}!=3"]).check(runs)


def test_a_name_that_no_run_knows_is_refused_with_the_nearest(ranked):
    runs = find_runs(ranked)[0]
    with pytest.raises(ConfigError, match="filter: 'backbne' is neither .*did you mean backbone"):
        Choice.of("rank", ["backbne=b3"]).check(runs)
    with pytest.raises(ConfigError, match="sort: 'zzz' is neither .*columns: .*auroc"):
        Choice.of("-zzz", ()).check(runs)
    Choice.of("-optim.lr", ["auprc>0"]).check(runs)


def test_conditions_that_no_run_fulfils_say_what_there_is(groups):
    with pytest.raises(RunError, match=r"no run has backbone=b9; backbone is test_efficientnet"):
        Choice.of("rank", ["backbone=b9"]).require_some(groups)
    with pytest.raises(RunError, match=r"preprocess.size is 64,32$"):  # as a filter names it
        Choice.of("rank", ["preprocess.size=9"]).require_some(groups)
    Choice.of("rank", ["name=good"]).require_some(groups)


def test_keys_of_the_configuration_that_are_asked_for_are_shown_and_no_column_twice(group):
    choice = Choice.of("-unit", ["optim.lr>0", "auroc>0", "name=*", "checkpoint=*"])
    assert choice.settings(group.places) == ("unit", "optim.lr")
    assert Choice().settings(group.places) == ()


def test_nothing_is_no_number():
    assert not Condition("public", "<", "1").holds(None)
    assert Condition("public", "=", "nothing").holds(None)
    assert not Condition("rank", "=", "1").holds(True)


def test_a_seed_of_several_is_found_by_what_is_its_own(seeded):
    (group,) = leaderboard(find_runs(seeded)[0], resamples=0)
    for own in ("seed=2", "name=b3-seed1", f"run={seeded}/b3-seed2"):
        assert names(Choice.of("rank", [own]), group) == ["b3-seed0"]
    assert names(Choice.of("rank", ["seed=2", "name=b3-seed1"]), group) == []  # of two runs, not of one
    (place,) = Choice.of("rank", ["seed=1"]).places(group)
    assert setting(place, "seed") == "0, 1, 2"
    with pytest.raises(RunError, match="seed is 0 or 1 or 2"):
        Choice.of("rank", ["seed=9"]).require_some([group])
