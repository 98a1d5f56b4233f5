"""`rsna evaluate` and `rsna ensemble` on files and runs: wrong input is said in a line, and so is what is missing."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from rsna.cli.main import main
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run
from tests.evaluation.simulate import simulate_images


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", drawn(60), trained=(0, 1))


@pytest.fixture
def run_of_max(tmp_path):
    return write_run(tmp_path / "max", drawn(60), evaluation={"aggregate": "max"})


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
    note = f"note: {run} has 1 of 2 folds, fold 1 is missing: these are metrics of a part of its patients."
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert note in capsys.readouterr().out
    assert main(["ensemble", f"run=[{run},{other}]", "resamples=0"]) == 0
    said = capsys.readouterr().out
    assert note in said
    assert f"note: {other} has 1 of 2 folds" in said


def test_edited_metrics_are_noted_and_the_predictions_scored(run, tmp_path, capsys):
    honest = open_run(run).metric("auroc")
    text = (run / "cv" / "metrics.json").read_text()
    (run / "cv" / "metrics.json").write_text(text.replace(str(honest), "0.99"))
    assert main(["evaluate", f"run={run}", "resamples=0", f"out={tmp_path / 'o.json'}"]) == 0
    assert f"note: {run / 'cv' / 'metrics.json'}: was changed after it was written" in capsys.readouterr().out
    assert json.loads((tmp_path / "o.json").read_text())["pooled"]["auroc"] == honest


def test_edited_predictions_are_refused_by_every_verb_that_reads_them(run, tmp_path, capsys):
    oof = pd.read_parquet(run / "cv" / "oof.parquet")
    oof.assign(probability=0.5).to_parquet(run / "cv" / "oof.parquet", index=False)
    other = write_run(tmp_path / "other", drawn(60, seed=1))
    for verb in (["evaluate", f"run={run}"], ["ensemble", f"run=[{run},{other}]"]):
        assert main([*verb, "resamples=0"]) == 1
        assert f"{run / 'cv' / 'oof.parquet'}: is not the file that metrics.json was made of" in capsys.readouterr().err


def test_runs_of_other_folds_are_not_joined(run, tmp_path, capsys):
    oof = drawn(60, seed=1)
    other = write_run(tmp_path / "other", oof.assign(fold=(oof["patient_id"] < "p3").astype(int)))
    assert main(["ensemble", f"run=[{run},{other}]", "resamples=0"]) == 1
    assert "patients are in other folds in" in capsys.readouterr().err


def test_runs_of_fewer_folds_are_joined_by_those_that_all_have(run, tmp_path, capsys):
    """Folds are the first run's numbers, as of what is submitted."""
    other = drawn(60, seed=1)
    swapped = write_run(tmp_path / "other", other.assign(fold=1 - other["fold"]), trained=(1,))
    named = f"run=[{run},{swapped}]"
    assert main(["ensemble", named, "resamples=0"]) == 1
    said = capsys.readouterr().err
    assert f"{run} has the folds 0, 1, {swapped} has 1" in said
    assert "folds=[…]" in said
    oof = tmp_path / "joint.csv"
    assert main(["ensemble", named, "folds=[0]", "resamples=0", f"oof={oof}"]) == 0
    assert f"note: {run}: fold 1 is not asked for" in capsys.readouterr().out
    expected = drawn(60)
    assert set(pd.read_csv(oof)["prediction_id"]) == set(expected.loc[expected["fold"] == 0, "prediction_id"])
    assert main(["ensemble", f"run=[{run},{oof}]", "folds=[0]", "resamples=0"]) == 2
    assert "joint.csv is a file" in capsys.readouterr().err


def test_runs_without_a_patient_in_common_are_not_joined(run, tmp_path, capsys):
    others = drawn(60).assign(
        patient_id=lambda o: "x" + o["patient_id"], prediction_id=lambda o: "x" + o["prediction_id"]
    )
    other = write_run(tmp_path / "other", others)
    assert main(["ensemble", f"run=[{run},{other}]", "folds=[0]", "resamples=0"]) == 1
    assert f"no patient of {run} is in {other}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "message"),
    [("{", "run.json: is not JSON"), ("{}", "run.json: says no format"), ("[]", "run.json: says no format")],
)
def test_a_damaged_record_is_named(run, record, message, capsys):
    (run / "run.json").write_text(record)
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 1
    assert message in capsys.readouterr().err


def test_several_runs_are_scored_one_after_the_other(run, run_of_max, tmp_path, capsys):
    out = tmp_path / "o.json"
    assert main(["evaluate", f"run=[{run},{run_of_max}]", "resamples=0", f"out={out}"]) == 0
    said = capsys.readouterr().out
    assert said.index(f"\n{run}\n") < said.index(f"\n{run_of_max}\n")
    found = json.loads(out.read_text())
    assert [found[str(path)]["aggregate"] for path in (run, run_of_max)] == ["mean", "max"]


def test_a_run_is_scored_by_its_own_aggregate_and_another_is_noted(run_of_max, tmp_path, capsys):
    def aggregate(*arguments):
        assert main(["evaluate", f"run={run_of_max}", "resamples=0", f"out={tmp_path / 'o.json'}", *arguments]) == 0
        return json.loads((tmp_path / "o.json").read_text())["aggregate"]

    assert aggregate() == "max"
    assert aggregate("aggregate=max") == "max"
    assert "note:" not in capsys.readouterr().out
    assert aggregate("aggregate=mean") == "mean"
    assert f"note: {run_of_max} makes breasts of images by max, not mean" in capsys.readouterr().out


def test_of_whole_breasts_an_aggregate_makes_nothing_and_nothing_is_noted(tmp_path, capsys):
    whole = drawn(60).drop_duplicates("prediction_id").drop(columns="view")
    run = write_run(tmp_path / "breasts", whole, unit="breast")
    assert main(["evaluate", f"run={run}", "resamples=0", "aggregate=max"]) == 0
    assert "makes breasts of images" not in capsys.readouterr().out


def test_files_are_scored_by_the_mean_unless_told_otherwise(csv, tmp_path):
    for arguments, expected in (([], "mean"), (["aggregate=top2"], "top2")):
        out = tmp_path / "o.json"
        assert main(["evaluate", f"predictions={csv}", "resamples=0", f"out={out}", *arguments]) == 0
        assert json.loads(out.read_text())["aggregate"] == expected


def test_a_file_of_ranks_has_no_metric_that_needs_probabilities(csv, tmp_path, capsys):
    out = tmp_path / "o.json"
    assert main(["evaluate", f"predictions={csv}", "resamples=0", "ranks=true", f"out={out}"]) == 0
    assert "no probabilities" in capsys.readouterr().out
    assert json.loads(out.read_text())["pooled"]["brier"] is None
    other = shutil.copy(csv, tmp_path / "other.csv")
    assert main(["ensemble", f"run=[{csv},{other}]", f"ranks=[{other}]", "resamples=0", f"out={out}"]) == 0
    found = json.loads(out.read_text())
    assert found["members"][str(csv)]["pooled"]["brier"] is not None
    assert found["members"][str(other)]["pooled"]["brier"] is found["joint"]["pooled"]["brier"] is None
    assert main(["ensemble", f"run=[{csv},{other}]", "ranks=[third.csv]"]) == 2
    assert "ranks: third.csv is none of run=" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["oof.txt", "oof"])
def test_a_table_is_joined_under_any_name(csv, name, capsys):
    assert main(["ensemble", f"run=[{csv},{shutil.copy(csv, csv.with_name(name))}]", "resamples=0"]) == 0
    assert name in capsys.readouterr().out


def test_any_threshold_can_be_looked_at(run, csv, tmp_path, capsys):
    out = tmp_path / "o.json"
    for source in (f"run={run}", f"predictions={csv}"):
        assert main(["evaluate", source, "resamples=50", "threshold=0.6353", "slices=false", f"out={out}"]) == 0
        at = json.loads(out.read_text())["at_threshold"]
        assert at["threshold"] == 0.6353
        line = f"pF1 at the given threshold 0.6353: {at['pf1']:.4f} (95% interval {at['interval']['low']:.4f} to "
        assert line in capsys.readouterr().out
    for threshold in ("63.53", "-0.1", "nan", "high"):
        assert main(["evaluate", f"predictions={csv}", f"threshold={threshold}"]) == 2
        assert "threshold" in capsys.readouterr().err


def test_the_scored_column_is_said_and_can_be_named(csv, run, tmp_path, capsys):
    frame = pd.read_csv(csv).rename(columns={"probability": "prob"}).assign(other=0.5)
    labelled, both = tmp_path / "labelled.csv", tmp_path / "both.csv"
    frame.to_csv(labelled, index=False)
    frame.drop(columns="cancer").to_csv(both, index=False)
    assert main(["evaluate", f"predictions={labelled}", "resamples=0"]) == 0
    assert f"scored: column prob of {labelled};" in capsys.readouterr().out
    assert main(["evaluate", f"predictions={both}", f"labels={csv}", "column=other", "resamples=0"]) == 0
    assert f"scored: column other of {both};" in capsys.readouterr().out
    assert main(["ensemble", f"run=[{labelled},{both}]", f"labels={csv}", "column=prob", "resamples=0"]) == 0
    assert f"{both}: scored column prob of {both}" in capsys.readouterr().out
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 0
    assert f"scored: column probability of {run / 'cv' / 'oof.parquet'};" in capsys.readouterr().out
    assert main(["evaluate", f"run={run}", "column=prob"]) == 2
    assert "column: a run has one" in capsys.readouterr().err


def test_labels_are_scored_by_no_verb(csv, tmp_path, capsys):
    copied = tmp_path / "copied.csv"
    pd.read_csv(csv)[["image_id", "cancer"]].to_csv(copied, index=False)
    assert main(["evaluate", f"predictions={copied}", f"labels={csv}"]) == 1
    assert "column cancer is a copy of the labels" in capsys.readouterr().err
    assert main(["ensemble", f"run=[{csv},{copied}]", f"labels={csv}"]) == 1
    assert "column cancer is a copy of the labels" in capsys.readouterr().err


def test_members_are_joined_by_the_aggregate_that_their_runs_share(run, run_of_max, tmp_path, capsys):
    def aggregates(*members, more=()):
        named = ",".join(str(member) for member in members)
        assert main(["ensemble", f"run=[{named}]", "resamples=0", f"out={tmp_path / 'o.json'}", *more]) == 0
        found = json.loads((tmp_path / "o.json").read_text())
        return {member["aggregate"] for member in [found["joint"], *found["members"].values()]}

    file = tmp_path / "oof.csv"
    drawn(60, seed=1).to_csv(file, index=False)
    assert aggregates(run_of_max, file) == {"max"}
    assert aggregates(file, shutil.copy(file, tmp_path / "again.csv")) == {"mean"}
    assert main(["ensemble", f"run=[{run},{run_of_max}]", "resamples=0"]) == 2
    said = capsys.readouterr().err
    assert f"make breasts of images differently ({run}: mean, {run_of_max}: max); say how with aggregate=" in said
    assert aggregates(run, run_of_max, more=["aggregate=mean"]) == {"mean"}
    assert f"note: {run_of_max} makes breasts of images by max, not mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("evaluation: {}", "config.yaml: is not the file that was recorded"),
        ("evaluation: {aggregate: [max]}", "config.yaml: evaluation.aggregate: ['max'] is not one of"),
    ],
)
def test_a_damaged_configuration_is_named(run, config, message, capsys):
    (run / "config.yaml").write_text(config)
    assert main(["evaluate", f"run={run}", "resamples=0"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[a.csv,a.csv]", "run: a.csv is there twice"),
        ("[a.csv,b.csv,./a.csv]", "run: ./a.csv is there twice"),
        ("a.csv", "run: two at least, not 1"),
    ],
)
def test_members_are_two_different_ones_at_least(members, message, capsys):
    assert main(["ensemble", f"run={members}"]) == 2
    assert message in capsys.readouterr().err


def test_a_chosen_epoch_is_said_under_every_table(tmp_path, capsys):
    best = write_run(tmp_path / "best", drawn(60), checkpoint="best")
    last = write_run(tmp_path / "last", drawn(60, seed=1))
    for verb, runs in (("evaluate", f"run={best}"), ("ensemble", f"run=[{last},{best}]")):
        assert main([verb, runs, "resamples=0"]) == 0
        assert capsys.readouterr().out.count(f"note: {best}: checkpoint=best chose the epoch") == 1


@pytest.mark.parametrize("sampling", ["population", "enriched"])
def test_a_run_knows_its_own_sampling(run, run_of_max, sampling, tmp_path, capsys):
    assert main(["evaluate", f"run={run}", f"sampling={sampling}"]) == 2
    assert "sampling: a run knows its own; it goes with predictions=FILE" in capsys.readouterr().err
    assert main(["ensemble", f"run=[{run},{run_of_max}]", "aggregate=mean", f"sampling={sampling}", "resamples=0"]) == (
        0 if sampling == "enriched" else 2
    )
    said = capsys.readouterr().err
    assert ("sampling: population, and the runs are of sets that are enriched" in said) == (sampling == "population")


@pytest.mark.parametrize("key", ["labels", "column"])
def test_what_goes_with_files_is_refused_beside_runs_alone(run, run_of_max, csv, key, capsys):
    given = ["ensemble", f"run=[{run},{run_of_max}]", "aggregate=mean", "resamples=0", f"{key}={csv}"]
    assert main(given) == 2
    assert f"{key}: all of these are runs, which bring their own; it goes with files" in capsys.readouterr().err


def test_slices_have_no_more_resamples_than_are_asked_for(tmp_path, capsys):
    run = write_run(tmp_path / "run", drawn(120))
    for resamples, ends in (("resamples=0", False), ("resamples=100", True)):
        assert main(["evaluate", f"run={run}", "slices=true", resamples]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("site 1"))
        assert (" to " in line) is ends


def test_joint_predictions_keep_the_exams_that_their_members_tell_apart(tmp_path):
    oof = drawn(40)
    patient, exam = oof["patient_id"].str[1:].astype(int) // 4, oof["patient_id"].str[1:].astype(int) % 4 // 2
    oof = oof.assign(patient_id="q" + patient.astype(str), exam_date=exam.map({0: "2018-03-05", 1: "2020-03-05"}))
    names = [str(tmp_path / name) for name in ("one.csv", "two.csv", "joint.csv", "exams.json")]
    oof.drop(columns="fold").to_csv(names[0], index=False)
    oof.drop(columns="fold").assign(probability=oof["probability"] ** 2).to_csv(names[1], index=False)
    assert main(["ensemble", f"run=[{names[0]},{names[1]}]", f"oof={names[2]}", "resamples=0"]) == 0
    assert main(["evaluate", f"predictions={names[2]}", "unit=exam", f"out={names[3]}", "resamples=0"]) == 0
    assert json.loads(Path(names[3]).read_text())["pooled"]["exams"] == 20
    assert oof["patient_id"].nunique() == 10
