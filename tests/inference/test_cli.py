"""The verbs, as typed."""

import json

import pytest

from rsna.cli import main
from tests.inference.runs import write_exams


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 1)
    return root


def test_predict_as_table_and_json(run, exams, capsys):
    assert main(["predict", f"input={exams}", f"bundle={run}", "workers=1"]) == 0
    assert "p0_R" in capsys.readouterr().out
    file = exams / "test_images" / "p0" / "10.dcm"
    assert main(["predict", f"input={file}", f"bundle={run}", "format=json", "workers=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"][0]["geometry"]["size"] == [64, 32]
    assert found["breasts"][0]["prediction_id"] == "p0_L"


def test_predict_says_which_file_failed(run, tmp_path, capsys):
    (tmp_path / "bad.dcm").write_bytes(b"bad")
    assert main(["predict", f"input={tmp_path / 'bad.dcm'}", f"bundle={run}", "workers=1"]) == 1
    assert "NotDicom" in capsys.readouterr().out


def test_bundle_make_and_verify(run, tmp_path, capsys):
    out = tmp_path / "bundle"
    assert main(["bundle", "make", f"run={run}", f"out={out}", "target=none"]) == 0
    assert main(["bundle", "verify", f"bundle={out}", "install=false"]) == 0
    assert "3 files are whole, 4 simulated images predicted; nothing was installed" in capsys.readouterr().out
    (out / "fold0.safetensors").write_bytes(b"")
    assert main(["bundle", "verify", f"bundle={out}", "install=false"]) == 1
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
