import pandas as pd
import pytest

from rsna.board.leaderboard import leaderboard
from rsna.evaluation.bootstrap import Difference, Interval
from rsna.evaluation.compare import Comparison
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


def test_runs_on_other_images_or_folds_are_never_ranked_together(ranked, tmp_path):
    oof = drawn(seed=6)
    other = open_run(write_run(tmp_path / "refolded", oof.assign(fold=1 - oof["fold"])))
    groups = leaderboard([*find_runs(ranked)[0], other], resamples=0)
    assert sorted(len(group.places) for group in groups) == [1, 1, 4]
    assert [group.places[0].rank for group in groups] == [1, 1, 1]


def test_the_best_nested_pf1_leads_and_an_incomplete_run_is_not_ranked(ranked):
    group = max(leaderboard(find_runs(ranked)[0], resamples=0), key=lambda g: len(g.places))
    nested = [p.run.metric("pf1_nested") for p in group.places if p.rank]
    assert nested == sorted(nested, reverse=True)
    assert [p.rank for p in group.places] == [1, 2, 3, None]
    assert group.places[-1].run.name == "begun"
    assert group.places[-1].why == "1 of 2 folds are finished"


def test_a_difference_that_may_be_noise_is_told_from_one_that_is_not(ranked):
    group = max(leaderboard(find_runs(ranked)[0], resamples=400), key=lambda g: len(g.places))
    against = {place.run.name: place.against for place in group.places}
    leader, second = (place.run.name for place in group.places[:2])
    assert {leader, second} == {"good", "twin"}
    assert against == {leader: "leader", second: "noise", "poor": "behind", "begun": "not compared"}
    assert group.places[2].p < 0.05 <= group.places[1].p


def test_p_is_corrected_for_the_runs_that_are_compared(tmp_path, monkeypatch):
    """One p of 0.02 among four comparisons with the best of five runs does not tell two of them apart."""
    for seed in range(5):
        write_run(tmp_path / f"run{seed}", drawn(seed=seed))
    raw = iter([0.3, 0.02, 0.001, 0.9])

    def compare(first, second, resamples, names):
        gap = Difference(0.1, Interval(-0.1, 0.2), next(raw))
        return Comparison({"pf1_nested": gap}, resamples, 0)

    monkeypatch.setattr("rsna.board.leaderboard.compare", compare)
    group = leaderboard(find_runs(tmp_path)[0], resamples=100)[0]
    assert [place.against for place in group.places] == ["leader", "noise", "noise", "behind", "noise"]
    assert [place.p for place in group.places] == [None, pytest.approx(0.6), pytest.approx(0.06), 0.004, 0.9]
    assert [place.difference.p for place in group.places[1:]] == [0.3, 0.02, 0.001, 0.9]


def test_a_run_that_lost_breasts_is_ranked_but_not_compared(tmp_path):
    oof = drawn()
    write_run(tmp_path / "whole", drawn(signal=3.0))
    write_run(tmp_path / "less", oof[oof["prediction_id"] != "p1_R"], split=oof)
    group = leaderboard(find_runs(tmp_path)[0], resamples=100)[0]
    assert group.places[1].against == "not compared"
    assert "p1_R" in group.places[1].why


def test_a_run_that_never_learnt_cancer_is_listed(tmp_path):
    run = write_run(tmp_path / "view", drawn(40), targets=["view"])
    place = leaderboard([open_run(run)])[0].places[0]
    assert (place.rank, place.why) == (None, "learns view, not cancer")


def test_resampling_is_on_the_pooled_out_of_fold_breasts(ranked):
    place = leaderboard([open_run(ranked / "good")])[0].places[0]
    assert len(place.evaluate().breasts) == pd.read_parquet(ranked / "good/cv/oof.parquet")["prediction_id"].nunique()
