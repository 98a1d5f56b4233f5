"""The verbs of this room as they are typed."""

import json

import cv2
import pytest

from rsna.cli import main
from rsna.dataset.source import load_table


def test_the_leaderboard_speaks_three_formats(ranked, capsys):
    assert main(["leaderboard", f"runs={ranked}", "resamples=50"]) == 0
    assert "nested pF1" in capsys.readouterr().out
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "format=json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert main(["leaderboard", f"runs={ranked}", "resamples=0", "format=csv"]) == 0
    assert capsys.readouterr().out.startswith("rank,run,")
    assert main(["leaderboard", f"runs={ranked}", "format=xml"]) == 2


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


def test_report_writes_one_file(pictured, tmp_path, capsys):
    out = tmp_path / "page" / "report.html"
    assert main(["report", f"run={pictured}", f"out={out}", "images=1", "resamples=50"]) == 0
    assert "1 run" in capsys.readouterr().out
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


def test_explain_writes_original_and_heat(pictured, tmp_path, capsys):
    pytest.importorskip("captum", reason="heat maps need captum")
    image_id = load_table(pictured.parents[1] / "set").frame["image_id"][0]
    assert main(["explain", f"run={pictured}", f"image={image_id}", f"out={tmp_path}", "height=200"]) == 0
    assert "that has not seen the patient" in capsys.readouterr().out
    original, heat = (cv2.imread(str(tmp_path / f"{image_id}_{kind}.png"), -1) for kind in ("original", "heat"))
    assert original.shape == heat.shape[:2]
    assert heat.shape[2] == 3
    assert main(["explain", f"run={pictured}", "image=nobody"]) == 1
    assert "neither a file nor an id" in capsys.readouterr().err
