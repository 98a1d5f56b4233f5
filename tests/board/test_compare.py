"""What separates runs: settings, metrics, slices, and breasts counted one by one."""

import json

import numpy as np
import pytest

from rsna.board.compare import compare_runs, compare_slices, different_settings
from rsna.board.compare_text import comparison_text
from rsna.evaluation.calibration import logit
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.compare import compare
from rsna.evaluation.evaluate import evaluate
from rsna.runs.errors import RunError
from rsna.runs.run import SELECTED, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs = tmp_path_factory.mktemp("compared")
    write_run(runs / "a", drawn(seed=1))
    write_run(runs / "b", drawn(seed=2, signal=3.0), optim={"lr": 0.01}, cache_dir="elsewhere")
    write_run(runs / "c", drawn(seed=3, signal=1.0))
    return runs


@pytest.fixture(scope="module")
def found(folder):
    return compare_runs([open_run(folder / name) for name in "abc"], resamples=100)


def test_every_other_run_is_held_against_the_first(folder, found):
    a, b, c = (open_run(folder / name).evaluate() for name in "abc")
    assert [run.name for run in found.runs] == list(found.names) == ["a", "b", "c"]
    assert found.others[0].comparison.differences == compare(b, a, 100).differences
    assert found.others[1].comparison.differences == compare(c, a, 100).differences
    gap = found.others[0].comparison.differences["auroc"]
    assert gap.value == pytest.approx(b.pooled.auroc - a.pooled.auroc)


def test_settings_that_differ_are_listed_those_that_matter_first(folder, found):
    settings = {one.key: one for one in found.settings}
    assert settings["optim.lr"].values == (settings["optim.lr"].values[0], "0.01", settings["optim.lr"].values[2])
    assert settings["cache_dir"].free
    assert not settings["optim.lr"].free
    assert [one.free for one in found.settings] == sorted(one.free for one in found.settings)
    assert "name" not in settings
    assert different_settings([open_run(folder / "a"), open_run(folder / "c")]) == ()


def test_recalls_are_counted_breast_by_breast(folder, found):
    a, b = (open_run(folder / name).evaluate().breasts for name in "ab")
    for name, cancer in (("cancers", 1), ("other breasts", 0)):
        pairs = list(zip(a["recalled"][a["cancer"] == cancer], b["recalled"][b["cancer"] == cancer], strict=True))
        expected = [(True, True), (True, False), (False, True), (False, False)]
        assert found.others[0].recalls[name] == tuple(map(pairs.count, expected))
    kinds = {part.kind: part.breasts for part in found.others[0].disagreements}
    cancers, others = (found.others[0].recalls[name] for name in ("cancers", "other breasts"))
    counted = {"found": cancers[2], "missed": cancers[1], "false alarm": others[2], "spared": others[1]}
    assert {kind: len(rows) for kind, rows in kinds.items()} == counted
    for kind, rows in kinds.items():
        assert (rows["recalled_other"] != rows["recalled"]).all()
        assert (rows["recalled_other"] == (kind in ("found", "false alarm"))).all()
        assert (np.diff(rows["apart"]) <= 0).all()


def test_what_is_most_apart_does_not_depend_on_the_scale_of_a_run(folder, tmp_path):
    """Halving every logit of a run moves its thresholds with it."""
    oof = drawn(seed=2, signal=3.0)
    squeezed = oof.assign(probability=1 / (1 + np.exp(-logit(oof["probability"].to_numpy()) / 2)))
    other = open_run(write_run(tmp_path / "squeezed", squeezed))
    found = compare_runs([open_run(folder / "a"), other], resamples=20).others[0]
    plain = compare_runs([open_run(folder / "a"), open_run(folder / "b")], resamples=20).others[0]
    assert found.recalls == plain.recalls
    assert found.correlation == pytest.approx(plain.correlation, abs=0.01)


def test_a_slice_is_the_paired_comparison_of_its_breasts(folder, found):
    a, b = (open_run(folder / name).evaluate() for name in "ab")
    slices = {(part.by, part.value): part for part in found.others[0].slices}
    part = slices["site", "1"]
    rows = a.breasts["site_id"] == 1
    assert (part.breasts, part.positives) == (int(rows.sum()), int(a.breasts.loc[rows, "cancer"].sum()))
    own = [
        evaluate(drawn(seed=seed, signal=signal).query("site_id == 1"), resamples=0)
        for seed, signal in ((1, 2.0), (2, 3.0))
    ]
    assert part.differences["auroc"].value == pytest.approx(own[1].pooled.auroc - own[0].pooled.auroc)
    assert part.differences["auroc"].interval.low < part.differences["auroc"].value
    assert all(
        bool(one.differences) == (min(one.positives, one.breasts - one.positives) >= 10) for one in slices.values()
    )
    assert compare_slices(b, a, 100) == found.others[0].slices


def test_a_run_against_its_twin_differs_in_nothing(folder, tmp_path):
    twin = open_run(write_run(tmp_path / "twin", drawn(seed=1)))
    one = compare_runs([open_run(folder / "a"), twin], resamples=50).others[0]
    assert {gap.value for gap in one.comparison.differences.values()} == {0.0}
    assert {gap.p for gap in one.comparison.differences.values()} == {1.0}
    assert [len(part.breasts) for part in one.disagreements] == [0, 0, 0, 0]
    assert one.correlation == pytest.approx(1.0)


def test_runs_of_some_folds_are_compared_on_those_that_all_have(folder, tmp_path):
    begun = open_run(write_run(tmp_path / "begun", drawn(seed=2), trained=(1,)))
    found = compare_runs([open_run(folder / "a"), begun], resamples=20)
    assert found.notes[0] == "on fold 1, which all of them have finished"
    assert set(found.first.evaluation.breasts["fold"]) == {1}
    other = open_run(write_run(tmp_path / "other", drawn(seed=3), trained=(0,)))
    with pytest.raises(RunError, match=r"no fold is finished in all of these runs .*begun: 1; .*other: 0"):
        compare_runs([begun, other], resamples=20)


def test_runs_on_other_breasts_are_refused_and_named(folder, tmp_path):
    oof = drawn(seed=2)
    less = open_run(write_run(tmp_path / "less", oof[oof["prediction_id"] != "p1_R"], split=oof))
    with pytest.raises(PredictionError, match=r"less cannot be compared with .*/a: .*p1_R"):
        compare_runs([open_run(folder / "a"), less], resamples=20)


def test_a_run_of_one_probability_has_no_correlation(folder, tmp_path):
    flat = open_run(write_run(tmp_path / "flat", drawn().assign(probability=0.5)))
    assert np.isnan(compare_runs([open_run(folder / "a"), flat], resamples=20).others[0].correlation)


def test_names_are_paths_where_two_are_called_alike(folder, tmp_path):
    other = open_run(write_run(tmp_path / "a", drawn(seed=2)))
    found = compare_runs([open_run(folder / "a"), other], resamples=20)
    assert found.names == (str(folder / "a"), str(tmp_path / "a"))


def test_json_holds_all_of_it(found):
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [run.rpartition("/")[2] for run in plain["runs"]] == ["a", "b", "c"]
    first = plain["less_the_first"][0]
    assert first["differences"]["auroc"]["value"] == found.others[0].comparison.differences["auroc"].value
    assert sum(first["recalls"]["cancers"].values()) == 24
    assert len(first["slices"]) == len(found.others[0].slices)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two configurations, of three seeds and of two, and one of one."""
    runs = tmp_path_factory.mktemp("seeds")
    for seed in (0, 1, 2):
        write_run(runs / f"a-{seed}", drawn(seed=10 + seed), seed=seed)
    for seed in (0, 1):
        write_run(runs / f"b-{seed}", drawn(seed=20 + seed, signal=3.0), seed=seed, optim={"lr": 0.01})
    write_run(runs / "c", drawn(seed=30), optim={"lr": 0.02})
    return runs


def _open(folder, *names):
    return [open_run(folder / name) for name in names]


def test_runs_that_differ_in_the_seed_alone_are_one_configuration(seeds):
    found = compare_runs(_open(seeds, "b-1", "a-2", "a-0", "c", "b-0", "a-1"), resamples=100)
    assert [side.seeds for side in found.sides] == [(0, 1), (0, 1, 2), (0,)]
    assert found.names == ("b-0 ×2", "a-0 ×3", "c")
    assert {one.key for one in found.settings} == {"optim.lr"}
    assert found.noise.degrees == 3
    auroc = [[open_run(run.path).evaluate().pooled.auroc for run in side.runs] for side in found.sides]
    for one, own in zip(found.others, auroc[1:], strict=True):
        gap = one.comparison.differences["auroc"]
        assert gap.value == pytest.approx(np.mean(own) - np.mean(auroc[0]))
        assert gap.interval.low < gap.value < gap.interval.high
    assert "over patients and seeds" in found.scope
    assert [[run["seed"] for run in side] for side in found.to_dict()["seeds"]] == [[0, 1], [0, 1, 2], [0]]
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_noise_of_training_widens_what_patients_alone_say(seeds, tmp_path):
    """Seeds that scatter: one of each would tell them apart, both together do not."""
    for name, lr, signals in (("x", 0.1, (1.2, 2.6)), ("y", 0.2, (2.6, 4.0))):
        for seed, signal in enumerate(signals):
            write_run(tmp_path / f"{name}-{seed}", drawn(seed=40, signal=signal), seed=seed, optim={"lr": lr})
    alone = compare_runs(_open(tmp_path, "x-0", "y-0"), resamples=200)
    both = compare_runs(_open(tmp_path, "x-0", "x-1", "y-0", "y-1"), resamples=200)
    one, other = (found.others[0].comparison.differences["auroc"] for found in (alone, both))
    assert alone.noise is None
    assert one.p < 0.05 < other.p
    assert other.interval.high - other.interval.low > one.interval.high - one.interval.low


def test_two_seeds_of_one_configuration_are_compared_as_runs(seeds):
    found = compare_runs(_open(seeds, "a-0", "a-1"), resamples=50)
    assert found.names == ("a-0", "a-1")
    assert found.noise is None
    assert [one.key for one in found.settings] == ["seed"]


def test_more_configurations_than_can_be_told_apart_are_refused(seeds, tmp_path):
    for place in range(2):
        write_run(tmp_path / f"d-{place}", drawn(seed=place), optim={"lr": 0.1 + place})
    runs = [*_open(seeds, "a-0", "a-1", "b-0", "c"), *_open(tmp_path, "d-0", "d-1")]
    assert len(compare_runs(runs[:5], resamples=10).sides) == 4
    with pytest.raises(RunError, match="at most 4 configurations side by side, and these are of 5"):
        compare_runs(runs, resamples=10)


def test_breasts_without_a_threshold_are_counted_by_nobody_and_said(one_sided, folder):
    run = open_run(one_sided)
    oof = run.oof()
    other = open_run(write_run(folder / "one-sided", oof.assign(probability=oof["probability"] ** 2), seed=3))
    found = compare_runs([run, other], resamples=20)
    assert sum(found.others[0].recalls["cancers"]) == 0
    assert sum(found.others[0].recalls["other breasts"]) == 120
    assert sum("120 breasts have no nested threshold" in note for note in found.notes) == 2
    assert "nan" not in comparison_text(found)


def test_a_chosen_epoch_is_said(folder):
    best = open_run(write_run(folder / "best", drawn(seed=4), checkpoint="best"))
    notes = compare_runs([open_run(folder / "a"), best], resamples=20).notes
    assert [note for note in notes if "metrics are too good" in note] == [f"{best.path}: {SELECTED}"]


def test_a_run_that_has_learned_nothing_is_said(folder):
    nothing = open_run(write_run(folder / "nothing", drawn(seed=6, signal=0.0)))
    notes = compare_runs([open_run(folder / "a"), nothing], resamples=20).notes
    assert [note.split(": ")[0] for note in notes if "has learned nothing" in note] == [str(nothing.path)]
