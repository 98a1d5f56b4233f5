"""The verbs of this room as they are typed."""

import json
import re

import cv2
import pytest

from rsna.board.pixels import images_beside
from rsna.cli import main
from rsna.dataset.source import load_table
from rsna.runs.run import open_run
from rsna.runs.trained_ensemble import load_ensemble
from tests.inference.runs import write_run
from tests.training.breasts import write_breasts


def test_the_leaderboard_speaks_three_formats(ranked, capsys):
    assert main(["leaderboard", f"runs={ranked}", "resamples=50"]) == 0
    assert "nested pF1" in capsys.readouterr().out
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "format=json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "format=csv"]) == 0
    assert capsys.readouterr().out.startswith("rank,run,")
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "format=md", "sort=auroc", "filter=name=[gp]*"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("| good |") < shown.index("| poor |")
    assert "| twin" not in shown
    assert main(["leaderboard", f"runs={ranked}", "format=xml"]) == 2


@pytest.mark.parametrize("verb", ["leaderboard", "leaderboard format=json", "leaderboard submit submissions={table}",
                                  "report out={out}"])  # fmt: skip
def test_no_runs_are_an_answer_of_no_everywhere(verb, tmp_path, capsys):
    table = tmp_path / "submissions.csv"
    table.write_text("fileName,date,description,status,publicScore,privateScore\ns.csv,2023,mine,complete,0.3,0.2\n")
    (tmp_path / "runs").mkdir()
    arguments = verb.format(table=table, out=tmp_path / "page.html").split()
    for folder, said in (("runs", "holds no run; python train.py fold=all"), ("none", "there is no such folder")):
        assert main([*arguments, f"runs={tmp_path / folder}"]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"runs={tmp_path / folder}: {said}" in printed.err
    assert not (tmp_path / "page.html").exists()


def test_a_filter_that_leaves_no_run_is_an_answer_of_no(ranked, capsys):
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "filter=backbone=b9"]) == 1
    assert "no run has backbone=b9; backbone is test_efficientnet" in capsys.readouterr().err
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "sort=colour"]) == 2


def test_scores_are_recorded_typed_or_from_the_clients_table(ranked, tmp_path, capsys):
    run = ranked / "poor"
    assert main(["leaderboard", "submit", f"run={run}", "public=0.2", "private=0.1"]) == 0
    table = tmp_path / "submissions.csv"
    header = "fileName,date,description,status,publicScore,privateScore\n"
    table.write_text(header + "submission.csv,2099-01-01,poor again,complete,0.3,\n")
    assert main(["leaderboard", "submit", f"submissions={table}", f"runs={ranked}"]) == 0
    assert "1 of 1 submissions are new" in capsys.readouterr().out
    main(["leaderboard", f"runs={ranked}", "resamples=0", "format=json"])
    poor = next(row for row in json.loads(capsys.readouterr().out) if row["experiment"] == "poor")
    assert (poor["public"], poor["private"]) == (0.3, 0.1)
    (run / "cv" / "lb.json").unlink()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["public=0.2"], "run: name the one run folder"),
        (["run=x"], "public: give public= and private="),
        (["run={runs}/poor", "public=52"], "52.0 is no pF1"),
        (["run={runs}", "public=0.5"], "is no run folder"),
    ],
)
def test_scores_that_cannot_be_recorded_are_refused(ranked, arguments, says, capsys):
    assert main(["leaderboard", "submit", *(a.format(runs=ranked) for a in arguments)]) != 0
    assert says in capsys.readouterr().err


def test_a_table_that_names_no_run_says_what_it_names(ranked, tmp_path, capsys):
    table = tmp_path / "submissions.csv"
    table.write_text("fileName,date,description,status,publicScore,privateScore\ns.csv,2023,mine,complete,0.3,0.2\n")
    assert main(["leaderboard", "submit", f"submissions={table}", f"runs={ranked}"]) == 2
    assert "there are: mine" in capsys.readouterr().err


def test_compare_prints_and_writes_one_file(ranked, tmp_path, capsys):
    out = tmp_path / "page" / "compare.html"
    named = f"runs=[{ranked}/good,{ranked}/poor]"
    assert main(["compare", named, f"out={out}", "images=0", "resamples=50"]) == 0
    printed = capsys.readouterr()
    assert f"b: {ranked}/poor" in printed.out
    assert f"{out}: 0." in printed.err
    assert [file.name for file in out.parent.iterdir()] == ["compare.html"]
    assert main(["compare", named, "out=", "format=json", "resamples=50"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [f"{ranked}/good", f"{ranked}/poor"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["runs={runs}/good"], 2, "runs: two run folders or more, not 1"),
        (["runs=[{runs}/good,{runs}/./good]"], 2, "runs: {runs}/./good is there twice"),
        (["run=[{runs}/good,{runs}/poor]"], 2, "runs"),
        (["runs=[{runs}/good,{runs}/elsewhere,{runs}/none]"], 1, "run={runs}/none: there is no such folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(ranked, arguments, code, says, capsys):
    assert main(["compare", *(argument.format(runs=ranked) for argument in arguments)]) == code
    assert says.format(runs=ranked) in capsys.readouterr().err


def test_report_writes_one_file(pictured, tmp_path, capsys):
    out = tmp_path / "page" / "report.html"
    assert main(["report", f"run={pictured}", f"out={out}", "images=1", "resamples=50"]) == 0
    assert "1 run" in capsys.readouterr().out
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


def test_explain_writes_original_and_heat(pictured, tmp_path, capsys):
    pytest.importorskip("captum", reason="heat maps need captum")
    image_id = load_table(pictured.parents[1] / "set").frame["image_id"][0]
    assert main(["explain", f"run={pictured}", f"image={image_id}", f"out={tmp_path}", "height=200"]) == 0
    said = capsys.readouterr().out
    assert "that has not seen the patient" in said
    assert re.search(r"; probability [01]\.\d{4}$", said, re.M)
    original, heat = (cv2.imread(str(tmp_path / f"{image_id}_{kind}.png"), -1) for kind in ("original", "heat"))
    assert original.shape[0] == 200
    assert heat.shape[2] == 3
    assert (heat[:10] == 255).all()  # a figure on paper
    assert main(["explain", f"run={pictured}", "image=nobody"]) == 1
    assert "neither a file nor an id" in capsys.readouterr().err


def test_explain_says_the_probability_of_the_image_that_is_asked_for(tmp_path, capsys):
    pytest.importorskip("captum", reason="heat maps need captum")
    from rsna.inference.explain import explain

    model = {"backbone": "test_efficientnet", "pretrained": False}
    runs = [str(write_run(tmp_path / unit, unit=unit, model=model)) for unit in ("breast", "image")]
    write_breasts(tmp_path / "set", patients=4)
    file = tmp_path / "set" / "train_images" / "3" / "3L2.png"
    trained = load_ensemble(runs)
    found = explain(trained, images_beside(open_run(runs[0]), file, str(tmp_path / "set")), file, 40)
    said = {one.file: f"probability {one.probability:.4f}" for one in found}
    assert len(set(said.values())) == 2  # the other images of the breast, which one member alone looks at, have one
    arguments = [f"run=[{','.join(runs)}]", f"image={file}", f"data={tmp_path / 'set'}", f"out={tmp_path}", "height=40"]
    assert main(["explain", *arguments]) == 0
    assert said[file] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "runs={runs}", "out="], "out: name the file to write"),
        (["report", "runs={runs}", "out={runs}"], "out: {runs} is a folder; name a file, such as {runs}/report.html"),
        (["report", "runs={runs}", "out={runs}/good/run.json/page.html"], "{runs}/good/run.json is a file"),
        (["report", "run={runs}/good", "data={runs}/none"], "data: there is no folder {runs}/none"),
        (["compare", "runs=[{runs}/good,{runs}/poor]", "out={runs}"], "name a file, such as {runs}/compare.html"),
        (["compare", "runs=[{runs}/good,{runs}/poor]", "data={runs}/none"], "data: there is no folder {runs}/none"),
        (["explain", "run={runs}/good", "image=i1", "data={runs}/none"], "data: there is no folder {runs}/none"),
        (["evaluate", "run={runs}/good", "out={runs}"], "out: {runs} is a folder"),
        (
            ["ensemble", "run=[{runs}/good,{runs}/poor]", "oof={runs}/good/run.json/a.csv"],
            "oof: {runs}/good/run.json/a",
        ),
    ],
)
def test_what_cannot_be_written_or_is_not_there_is_said_ahead_of_the_work(ranked, arguments, says, capsys):
    assert main([argument.format(runs=ranked) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert says.format(runs=ranked) in printed.err
    assert printed.out == ""


def test_a_score_of_several_runs_together_is_that_of_none(ranked, tmp_path, capsys):
    table = tmp_path / "submissions.csv"
    header = "fileName,date,description,status,publicScore,privateScore\n"
    table.write_text(
        f"{header}s.csv,2023-01-02,good and twin,complete,0.6,0.5\ns.csv,2023-01-01,twin,complete,0.3,0.2\n"
    )
    assert main(["leaderboard", "submit", f"submissions={table}", f"runs={ranked}"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{ranked}/twin: 1 of 1 submissions are new\n"
    assert "left out: 'good and twin': names several runs" in printed.err
    assert main(["leaderboard", "submit", f"submissions={table}", f"run={ranked}/good"]) == 2
    (ranked / "twin" / "cv" / "lb.json").unlink()


@pytest.mark.parametrize("verb", [["report"], ["leaderboard", "submit", "public=0.5"]])
def test_a_folder_of_runs_beside_runs_that_are_named_is_refused(verb, capsys):
    assert main([*verb, "run=runs/a", "runs=elsewhere"]) == 2
    assert "runs: run= names what is meant, and nothing is looked for in elsewhere" in capsys.readouterr().err
