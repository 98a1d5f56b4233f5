"""`rsna evaluate` and `rsna ensemble` on files and runs: wrong input is said in a line, and so is what is missing."""

import shutil

import pytest

from rsna.cli.main import main
from tests.board.runs import drawn, write_run
from tests.evaluation.simulate import simulate_images


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", drawn(60), trained=(0, 1))


@pytest.fixture
def csv(tmp_path):
    simulate_images(patients=40).assign(age=[*["076Y"] * 2, *["60"] * 158]).to_csv(tmp_path / "oof.csv", index=False)
    return tmp_path / "oof.csv"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prevalence=0.021"], 2, "a set of sampling=population must not be"),
        (["prevalence=2"], 2, "prevalence must lie in (0, 1), not 2.0"),
        (["sampling=enriched", "prevalence=2"], 2, "prevalence must lie in (0, 1), not 2.0"),
        (["slices=true"], 1, "1 of 80 (10000_L) breasts have an age that is no number of years, first '076Y'"),
    ],
)
def test_what_cannot_be_scored_is_said_in_a_line(csv, arguments, code, message, capsys):
    assert main(["evaluate", f"predictions={csv}", "resamples=0", *arguments]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("label", "message"), [(0, "none of the 40 breasts is positive"), (1, "leave calibration")])
def test_one_class_is_said_in_a_line(tmp_path, label, message, capsys):
    simulate_images(patients=20).assign(cancer=label).to_csv(tmp_path / "oof.csv", index=False)
    assert main(["evaluate", f"predictions={tmp_path / 'oof.csv'}", "resamples=0", "calibration=true"]) == 1
    assert message in capsys.readouterr().err


def test_a_missing_fold_is_noted_under_the_figures(run, capsys):
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert "note:" not in capsys.readouterr().out
    shutil.rmtree(run / "cv")
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert "note:" not in capsys.readouterr().out
    shutil.rmtree(run / "fold1")
    other = shutil.copytree(run, run.with_name("other"))
    note = f"note: {run} has 1 of 2 folds, fold 1 is missing: these are figures of a part of its patients."
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert note in capsys.readouterr().out
    assert main(["ensemble", f"members=[{run},{other}]", "resamples=0"]) == 0
    said = capsys.readouterr().out
    assert note in said
    assert f"note: {other} has 1 of 2 folds" in said


@pytest.mark.parametrize(
    ("record", "message"),
    [("{", "run.json is not JSON"), ("{}", "run.json: lacks data.sampling or n_folds"), ("[]", "run.json: lacks")],
)
def test_a_damaged_record_is_named(run, record, message, capsys):
    (run / "run.json").write_text(record)
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[a.csv,a.csv]", "members: a.csv is there twice"),
        ("[a.csv,b.csv,./a.csv]", "members: ./a.csv is there twice"),
        ("a.csv", "members: two at least, not 1"),
    ],
)
def test_members_are_two_different_ones_at_least(members, message, capsys):
    assert main(["ensemble", f"members={members}"]) == 2
    assert message in capsys.readouterr().err
