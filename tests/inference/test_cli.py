"""The verbs, as typed."""

import json

import pandas as pd
import pydicom
import pytest

from rsna.cli import main
from rsna.runs.trained_ensemble import load_ensemble
from tests.inference.runs import write_exams


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 1)
    return root


def test_predict_as_table_and_json(run, exams, capsys):
    assert main(["predict", f"input={exams}", f"run={run}", "workers=1"]) == 0
    printed = capsys.readouterr().out
    assert "p0_R" in printed
    threshold = load_ensemble(run).threshold
    assert f"above {threshold:.4f}" in printed
    file = exams / "test_images" / "p0" / "10.dcm"
    assert main(["predict", f"input={file}", f"run={run}", "format=json", "workers=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"][0]["geometry"]["size"] == [64, 32]
    assert found["breasts"][0]["prediction_id"] == "p0_L"
    assert found["threshold"] == threshold


def test_predict_says_which_file_failed(run, tmp_path, capsys):
    (tmp_path / "bad.dcm").write_bytes(b"bad")
    assert main(["predict", f"input={tmp_path / 'bad.dcm'}", f"run={run}", "workers=1"]) == 1
    assert "NotDicom" in capsys.readouterr().out


@pytest.fixture
def broken(exams, tmp_path):
    """A folder with one good file, three that cannot be used, and one of another modality."""
    whole = exams / "test_images" / "p0"
    good = (whole / "10.dcm").read_bytes()
    (tmp_path / "good.dcm").write_bytes(good)
    (tmp_path / "cut.dcm").write_bytes(good[:350])
    (tmp_path / "zeros.dcm").write_bytes(bytes(5000))
    (tmp_path / "empty.dcm").touch()
    mr = pydicom.dcmread(whole / "12.dcm")
    mr.Modality = "MR"
    mr.save_as(tmp_path / "mr.dcm")
    return tmp_path


def test_predict_names_every_file_of_a_folder_that_is_lost(run, broken, capsys):
    assert main(["predict", f"input={broken}", f"run={run}", "format=json", "workers=1"]) == 1
    found = json.loads(capsys.readouterr().out)
    failures = {image["image_id"]: image["failure"].partition(":")[0] for image in found["images"]}
    assert failures == {"good": "", "cut.dcm": "Truncated", "empty.dcm": "NotDicom", "zeros.dcm": "NotDicom"}
    assert [breast["views"] for breast in found["breasts"]] == [1]
    assert found["notes"] == ["1 files are left out (first: mr.dcm: Modality (0008,0060) is MR, not MG)"]


def test_predict_of_a_folder_without_losses_is_done(run, broken, capsys):
    for name in ("cut", "zeros", "empty"):
        (broken / f"{name}.dcm").unlink()
    assert main(["predict", f"input={broken}", f"run={run}", "workers=1"]) == 0


def test_infer_lists_what_is_lost_and_strict_refuses_it(run, broken, capsys, tmp_path):
    out = tmp_path / "out" / "submission.csv"
    command = ["infer", f"input={broken}", f"run={run}", f"out={out}", "workers=1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "failed: cut.dcm: Truncated" in said
    assert "failed: zeros.dcm: NotDicom" in said
    assert pd.read_csv(out)["prediction_id"].tolist() == ["p0_L"]
    listed = pd.read_csv(out.with_name("submission_images.csv")).set_index("image_id")["failure"]
    assert listed.notna().to_dict() == {"good": False, "cut.dcm": True, "empty.dcm": True, "zeros.dcm": True}
    assert main([*command, "strict=true"]) == 1
    assert "strict: 3 files cannot be used (first: " in capsys.readouterr().err


def test_bundle_make_and_verify(run, tmp_path, capsys):
    out = tmp_path / "bundle"
    assert main(["bundle", "make", f"run={run}", f"out={out}", "host=none"]) == 0
    assert main(["bundle", "verify", f"run={out}", "install=false"]) == 0
    assert "4 files are whole, 4 simulated images predicted; nothing was installed" in capsys.readouterr().out
    (out / "fold0.safetensors").write_bytes(b"")
    assert main(["bundle", "verify", f"run={out}", "install=false"]) == 1
    assert "its SHA-256 is not the recorded one" in capsys.readouterr().err


def test_options_that_are_wrong_are_usage_errors(capsys):
    for arguments, said in (
        (["bundle", "make", "run=r", "out=o", "precision=int8"], "precision"),
        (["bundle", "make", "run=r", "out=o", "python=2.7"], "python: '2.7' is not like 3.12"),
        (["export", "run=r", "format=torchscript"], "format"),
        (["infer", "run=r", "input=i", "time_budget=soon"], "is no time above 0 such as 8h"),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
