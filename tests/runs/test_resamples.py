"""What is kept of a run for leaderboards has the digits of computing it, and is never believed of another."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rsna.evaluation.bootstrap import difference
from rsna.evaluation.compare import compare
from rsna.evaluation.evaluate import Evaluation
from rsna.evaluation.slices import slices
from rsna.runs import resamples
from rsna.runs.record_file import checksum
from rsna.runs.resamples import bands_of, first_resamples, resampled, slices_of
from rsna.runs.run import Run, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture
def run(tmp_path) -> Run:
    return open_run(write_run(tmp_path / "run", drawn(60)))


def nobody() -> Evaluation:
    raise AssertionError("it was evaluated again")


def test_a_comparison_of_what_is_kept_has_the_digits_of_drawing_both_at_once(tmp_path):
    runs = [open_run(write_run(tmp_path / f"run{seed}", drawn(60, seed=seed))) for seed in (1, 2)]
    for count in (200, 60):  # the second is the beginning of what is kept of the first
        kept = [first_resamples(resampled(run, count), count) for run in runs]
        both = compare(*(run.evaluate() for run in runs), resamples=count, names=("pf1_nested",))
        assert difference("pf1_nested", *kept) == both.differences["pf1_nested"]
    assert resampled(runs[0]).breasts == resampled(runs[1]).breasts


def test_what_is_kept_is_not_computed_again_unless_more_is_needed(run):
    made = resampled(run, 80)
    assert resampled(run, 80, nobody) == resampled(run, 0, nobody) == made
    with pytest.raises(AssertionError, match="evaluated again"):
        resampled(run, 81, nobody)
    assert made.metrics == {name: run.metric(name) for name in made.metrics}


def cut(file):
    file.write_bytes(file.read_bytes()[:-40])


def edit(file):
    content = json.loads(file.read_text(encoding="utf-8"))
    content["metrics"]["pf1_nested"] = 0.99
    file.write_text(json.dumps(content), encoding="utf-8")


def another(file):
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["checksum"]
    content |= {"key": "0" * 12, "metrics": {}}
    file.write_text(json.dumps(content | {"checksum": checksum(content)}), encoding="utf-8")


@pytest.mark.parametrize("spoil", [cut, edit, another, lambda file: file.write_text("[]"), lambda file: file.unlink()])
def test_what_is_damaged_or_of_something_else_is_made_again(run, spoil):
    file = run.path / "cv" / "resamples.json"
    made, written = resampled(run, 50), file.read_bytes()
    spoil(file)
    assert resampled(run, 50) == made
    assert file.read_bytes() == written


def test_other_predictions_aggregates_code_or_numpy_are_something_else(run, tmp_path, monkeypatch):
    made = resampled(run, 20)
    write_run(tmp_path / "other", drawn(60, seed=9))
    assert resampled(open_run(tmp_path / "other"), 20).key != made.key
    config = replace(run.config, evaluation=replace(run.config.evaluation, aggregate="max"))
    assert resampled(replace(run, config=config), 20).key != made.key
    monkeypatch.setattr(np, "__version__", "0")
    assert resampled(run, 20).key != made.key
    monkeypatch.undo()
    asked = []
    monkeypatch.setattr(resamples, "_code_of_metrics", lambda *folders: asked.extend(folders) or "edited")
    assert resampled(run, 20).key != made.key
    assert {folder.name for folder in asked} == {"evaluation", "dataset", "table_file"}
    assert all((folder / "__init__.py").is_file() for folder in asked)


def test_where_nothing_can_be_written_it_is_computed(run):
    (run.path / "cv" / "resamples.json").mkdir()
    assert len(resampled(run, 20).pf1_nested) == 20


def test_undefined_values_survive(tmp_path):
    """A resample in which the other fold has no positive leaves nested pF1 undefined."""
    oof = drawn(24)
    oof["cancer"] = (oof["patient_id"].isin(["p0", "p5"]) & (oof["laterality"] == "L")).astype(int)
    run = open_run(write_run(tmp_path / "few", oof))
    resampled(run, 100)
    kept = resampled(run, 100, nobody)
    assert None in kept.pf1_nested
    whole = compare(run.evaluate(), run.evaluate(), 100, names=("pf1_nested",)).differences["pf1_nested"]
    found = first_resamples(kept, 100)
    assert difference("pf1_nested", found, found) == whole


def test_slices_are_kept_by_their_number_of_resamples(run, monkeypatch):
    evaluation = run.evaluate()
    made = slices_of(run, evaluation, 30)
    assert [part.to_dict() for part in made] == [part.to_dict() for part in slices(evaluation, 30)]
    monkeypatch.setattr(resamples, "slices", lambda *_: [])
    assert [part.to_dict() for part in slices_of(run, evaluation, 30)] == [part.to_dict() for part in made]
    assert slices_of(run, evaluation, 40) == []


def test_slices_of_a_run_that_is_not_finished_are_computed(tmp_path):
    run = open_run(write_run(tmp_path / "begun", drawn(60), trained=(0,)))
    assert slices_of(run, run.evaluate(), 20)
    assert not (run.path / "cv").exists()


def test_bands_are_kept_as_they_were_drawn(run, monkeypatch):
    evaluation = run.evaluate()
    made = bands_of(run, evaluation, 40)
    monkeypatch.setattr(resamples, "curve_bands", lambda *_: pytest.fail("drawn again"))
    for one, kept in zip(made, bands_of(run, evaluation, 40), strict=True):
        for name in ("x", "y", "low", "high"):
            np.testing.assert_array_equal(getattr(one, name), getattr(kept, name))


def test_bands_of_a_run_that_is_not_finished_are_computed(tmp_path):
    run = open_run(write_run(tmp_path / "begun", drawn(60), trained=(0,)))
    assert len(bands_of(run, run.evaluate(), 20)) == 2
    assert not (run.path / "cv").exists()
