import shutil

import pytest

from rsna.runs.errors import RunError
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture
def good(tmp_path):
    return write_run(tmp_path / "good", drawn())


def test_a_run_tells_what_it_is(good):
    run = open_run(good)
    assert (run.name, run.backbone, run.input, run.record.n_folds) == ("good", "test_efficientnet", "64×32", 2)
    assert run.commit == "0123456+"
    assert run.hardware == "2 × T4"
    assert run.seconds == 3600
    assert not run.selected
    assert open_run(write_run(good.with_name("twin"), drawn(seed=2), checkpoint="best")).selected


def test_metrics_of_the_evaluation_are_those_on_disk(good):
    run = open_run(good)
    assert run.evaluate().pooled.pf1_nested == run.metric("pf1_nested")


def test_an_incomplete_run_has_no_pooled_metrics_but_predictions(tmp_path):
    run = open_run(write_run(tmp_path / "begun", drawn(), trained=(0,)))
    assert run.metrics is None
    assert set(run.oof()["fold"]) == {0}


def test_a_damaged_run_is_left_out_and_named(tmp_path):
    write_run(tmp_path / "good", drawn(40))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    (tmp_path / "bad" / "config.yaml").write_text("name: bad")
    shutil.copytree(tmp_path / "good", tmp_path / "half")
    (tmp_path / "half" / "config.yaml").unlink()
    runs, left_out = find_runs(tmp_path)
    assert [run.name for run in runs] == ["good"]
    assert len(left_out) == 2
    assert "run.json: is not JSON" in left_out[0]
    assert "config.yaml: is missing" in left_out[1]


def test_a_damaged_configuration_is_named_in_one_line(tmp_path):
    run = write_run(tmp_path / "bad", drawn(40))
    (run / "config.yaml").write_text("name: bad\nmodel: {backbone: x")
    with pytest.raises(RunError, match=r"config\.yaml, line 2: is not YAML") as error:
        open_run(run)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        find_runs(tmp_path / "none")


def test_a_run_without_predictions_says_so(tmp_path):
    run = open_run(write_run(tmp_path / "new", drawn(40), trained=()))
    with pytest.raises(RunError, match="no out-of-fold predictions"):
        run.oof()


def test_a_notebook_shows_a_run_as_a_table(good):
    shown = open_run(good)._repr_html_()
    assert shown.startswith("<table>")
    assert all(word in shown for word in ("good", "test_efficientnet", "64×32", "2 of 2"))
    assert f"{open_run(good).metric('pf1_nested'):.4f}" in shown
