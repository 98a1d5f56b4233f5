"""Runs that are joined have the same breasts, labels and folds, or it is said what differs."""

import shutil

import numpy as np
import pytest

from rsna.config.settings import ConfigError
from rsna.evaluation.checks import PredictionError
from rsna.runs.errors import RunError
from rsna.runs.joining import open_members
from rsna.runs.trained_ensemble import load_ensemble
from tests.board.runs import drawn, write_run


def written(folder, name, seed, **options):
    return str(write_run(folder / name, drawn(60, seed=seed), networks=True, **options))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return written(folder, "a", 0), written(folder, "b", 1)


def test_one_run_is_an_ensemble_of_one(pair):
    one = load_ensemble(pair[0])
    assert one == load_ensemble([pair[0]])
    assert (one.method, one.member_weights, len(one.members)) == ("mean", (), 1)
    scores = np.array([[0.0, 1e-9, 0.3, 1.0, np.nan]])
    np.testing.assert_array_equal(one.join(scores), scores[0])


def test_what_a_member_lacks_is_joined_of_the_others(pair):
    scores = np.array([[0.2, 0.2, np.nan, np.nan], [0.4, np.nan, 0.6, np.nan]])
    np.testing.assert_allclose(load_ensemble(pair, method="mean").join(scores), [0.3, 0.2, 0.6, np.nan])
    weighted = load_ensemble(pair, weights=(3, 1))
    z = 0.75 * np.log(0.2 / 0.8) + 0.25 * np.log(0.4 / 0.6)
    np.testing.assert_allclose(weighted.join(scores), [1 / (1 + np.exp(-z)), 0.2, 0.6, np.nan])
    assert weighted.join(np.zeros((2, 0))).shape == (0,)


def test_a_member_that_weighs_nothing_is_left_out_and_said(pair):
    found = load_ensemble(pair, weights=(0, 2))
    assert [member.name for member in found.members] == ["b"]
    assert found.member_weights == (1.0,)
    assert f"{pair[0]} weighs nothing in this ensemble, and nothing is predicted with it" in found.notes(())


@pytest.mark.parametrize("method", ["rank_mean", "any"])
def test_an_order_cannot_be_submitted(pair, method):
    with pytest.raises(ConfigError, match=rf"method: {method} is an order within one set"):
        load_ensemble(pair, method=method)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ("a", {"weights": (1.0,)}, "weights: there is one run"),
        ("a", {"method": "mean"}, "method: there is one run"),
        ("ab", {"weights": (1.0,)}, "weights: 1 for 2 runs"),
        ("ab", {"weights": (0.0, 0)}, "weights: none is above 0"),
        ("ab", {"weights": (-1, 2)}, "weights: -1 is no finite number"),
        ("ab", {"weights": (float("nan"), 2)}, "weights: nan is no finite number"),
        ("ab", {"weights": (1, float("inf"))}, "weights: inf is no finite number"),
        ("ab", {"weights": (1, 1), "method": "mean"}, "weights: they go with method=weights"),
        ("ab", {"method": "median"}, "method: median is none of auto, mean"),
        ("aa", {}, "a is there twice"),
        ("aba", {"weights": (1, 1, 1)}, "a is there twice"),
        ("", {}, "run: is required"),
    ],
)
def test_what_joins_nothing_is_refused_and_not_passed_over(pair, names, options, message):
    given = [pair["ab".index(name)] for name in names]
    with pytest.raises(ConfigError, match=message):
        load_ensemble(given, **options)
    if len(given) == 1:
        with pytest.raises(ConfigError, match=message):
            load_ensemble(given[0], **options)


def test_an_epoch_that_was_chosen_on_the_reported_fold_is_said(pair, tmp_path):
    best = written(tmp_path, "best", 1, checkpoint="best")
    (said,) = [note for note in load_ensemble([pair[0], best]).notes(()) if "checkpoint" in note]
    assert said.startswith("best: checkpoint=best chose the epoch on the very fold")
    assert not any("checkpoint" in note for note in load_ensemble(pair).notes(()))


def test_folds_of_other_numbers_are_translated(pair, tmp_path):
    oof = drawn(60, seed=2)
    other = str(write_run(tmp_path / "c", oof.assign(fold=1 - oof["fold"]), networks=True))
    members = load_ensemble([pair[0], other], (0,)).members
    assert [[(weights.fold, weights.own) for weights in member.weights] for member in members] == [[(0, 0)], [(0, 1)]]
    assert members[1].weights[0].file.parent.name == "fold1"
    assert open_members([pair[0], other])[other][1] == {0: 1, 1: 0}


def test_runs_that_cannot_be_joined_say_why(pair, tmp_path):
    half = written(tmp_path, "half", 3, trained=(0,))
    with pytest.raises(RunError, match=r"a has the folds 0, 1, .*half has 0, .*name those that all have with folds="):
        load_ensemble([pair[0], half])
    assert load_ensemble([pair[0], half], (0,)).folds == (0,)
    with pytest.raises(RunError, match=r"half.*fold 1|fold1"):
        load_ensemble([pair[0], half], (1,))
    oof = drawn(60, seed=1)
    split = write_run(tmp_path / "split", oof.assign(fold=(oof["patient_id"] < "p3").astype(int)), networks=True)
    with pytest.raises(PredictionError, match="patients are in other folds"):
        load_ensemble([pair[0], str(split)])
    with pytest.raises(PredictionError, match="breasts are in one run only"):
        load_ensemble([pair[0], str(write_run(tmp_path / "more", drawn(80, seed=1), networks=True))])
    relabelled = oof.assign(cancer=oof["cancer"].mask(oof["patient_id"].eq("p0"), 0))
    with pytest.raises(PredictionError, match="breasts differ in cancer between the runs"):
        load_ensemble([pair[0], str(write_run(tmp_path / "labels", relabelled, networks=True))])
    with pytest.raises(ConfigError, match=r"make breasts of images differently \(.*mean, .*max\); what is submitted"):
        load_ensemble([pair[0], written(tmp_path, "max", 1, evaluation={"aggregate": "max"})])
    data = {"root": "nowhere", "name": "demo", "sampling": "population"}
    with pytest.raises(ConfigError, match=r"sampled differently \(enriched, population\)"):
        load_ensemble([pair[0], written(tmp_path, "screening", 1, data=data)])
    with pytest.raises(RunError, match="learnt view, not cancer"):
        load_ensemble([pair[0], written(tmp_path, "view", 1, targets=["view"])])
    edited = shutil.copytree(pair[1], tmp_path / "edited")
    (edited / "fold0" / "oof.parquet").write_bytes((tmp_path / "half" / "fold0" / "oof.parquet").read_bytes())
    with pytest.raises(RunError, match=r"oof.parquet: is not the file that metrics.json was made of"):
        load_ensemble([pair[0], str(edited)])


def test_a_run_of_breasts_has_no_say_in_how_images_are_joined(pair, tmp_path):
    images = written(tmp_path, "images", 0, evaluation={"aggregate": "max"})
    breasts = written(tmp_path, "breasts", 1, unit="breast")  # mean, which it never asked for
    assert load_ensemble([breasts, images]).aggregate == "max"
    with pytest.raises(ConfigError, match=r"make breasts of images differently \(.*a: mean, .*images: max\)"):
        load_ensemble([pair[0], breasts, images])
