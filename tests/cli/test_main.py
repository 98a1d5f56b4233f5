"""One grammar for every verb; help teaches; what is wrong is said in a line with an exit code."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rsna.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]


def test_without_a_verb_the_verbs_are_listed(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in VERBS)
    assert "not a medical device" in said


@pytest.mark.parametrize("name", [name for name in VERBS if name != "train"])
def test_every_verb_explains_its_keys_and_shows_examples(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert VERBS[name].summary in said
    assert "Examples:" in said


def test_every_key_has_a_line_of_help():
    from rsna.config.settings import field_docs

    for verb in VERBS.values():
        if verb.options:
            documented = field_docs(verb.options)
            assert all(documented.get(field) for field in verb.options.__dataclass_fields__), verb.name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "there is no verb 'trian'; did you mean"),
        (["xyz"], 2, "there is no verb 'xyz'; verbs: "),
        (["folds", "mkae"], 2, "there is no verb 'folds'; did you mean folds make or folds check"),
        (["infer", "run=a"], 2, "input: is required"),
        (["infer", "run=a", "input=b", "bach_size=3"], 2, "bach_size: there is no such key; did you mean batch_size"),
        (["infer", "run", "a"], 2, "write options as key=value"),
        (["infer", "run=nowhere", "input=b"], 1, "input=b: there is no such folder"),
        (["predict", "run=a", "input=nowhere.dcm"], 1, "input=nowhere.dcm: there is no such file or folder"),
        (["evaluate"], 2, "run: give run=FOLDER or predictions=FILE"),
        (["evaluate", "run=nowhere"], 1, "run=nowhere: there is no such folder"),
        (["leaderboard", "runs=nowhere"], 1, "runs=nowhere: there is no such folder"),
        (["table", "input=nowhere"], 1, "nowhere: there is no such folder"),
        (["prepare", "data=rsna", "data.root=nowhere"], 1, "nowhere: there is no such folder"),
        (["prepare", "data.rot=x"], 2, "data.rot: there is no such key; did you mean root"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSNA_DATA", raising=False)
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_folds_are_made_and_checked(tmp_path, capsys):
    labels = tmp_path / "train.csv"
    rows = [(p, f"{p}{i}", "LR"[i % 2], int(p < 3 and i % 2)) for p in range(12) for i in range(4)]
    pd.DataFrame(rows, columns=["patient_id", "image_id", "laterality", "cancer"]).to_csv(labels, index=False)
    out = tmp_path / "folds.csv"
    assert main(["folds", "make", f"labels={labels}", f"out={out}", "n_folds=3"]) == 0
    assert list(pd.read_csv(out).columns) == ["patient_id", "image_id", "fold"]
    assert main(["folds", "check", f"splits={out}"]) == 0
    leaking = pd.read_csv(out)
    leaking.loc[0, "fold"] = (leaking.loc[0, "fold"] + 1) % 3
    leaking.to_csv(out, index=False)
    assert main(["folds", "check", f"splits={out}"]) == 1
    assert "1 patients stand on both sides (first: 0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    ["fold=1 --cfg job", "--cfg job fold=1", "--cfg job fold=1 --package _global_", "experiment=demo --cfg job fold=1"],
)
def test_the_composed_configuration_is_printed_wherever_the_flag_stands(arguments):
    command = [sys.executable, str(ROOT / "train.py"), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    printed = yaml.safe_load(done.stdout)
    assert printed["fold"] == 1
    assert printed["trainer"]["epochs"] >= 1
    assert printed["data"]["root"]
