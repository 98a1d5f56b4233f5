"""One grammar for every verb; help teaches; what is wrong is said in a line with an exit code."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import pandas as pd
import pytest
import yaml
from packaging.utils import canonicalize_name
from pydantic import TypeAdapter

import rsna.cli
from rsna.cli.main import VERBS, main
from rsna.cli.verb import TRAIN_EXTRA, Verb
from rsna.config.schema import Config
from rsna.config.settings import fields_of, is_group

ROOT = Path(__file__).parents[2]


def test_without_a_verb_the_verbs_are_listed(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in VERBS)
    assert "not a medical device" in said


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_its_keys_and_shows_examples(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert VERBS[name].summary in said or name == "train"
    assert "Examples:" in said
    if options := VERBS[name].options:
        for key, field in fields_of(options).items():
            assert f"  {key}=" in said
            assert field.description, f"{name} {key} has no line of help"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_made_of_parts_that_fit(name):
    """What would go wrong only when somebody types it."""
    verb = VERBS[name]
    keys = fields_of(verb.options) if verb.options else {}
    assert not verb.bare or verb.bare in keys, f"bare={verb.bare!r} is none of {', '.join(keys)}"
    given = ["overrides"] * verb.configured + ["options"] * bool(verb.options)
    for part in (verb.says, verb.run):
        assert len(inspect.signature(part).parameters) == len(given), f"{part} takes {', '.join(given) or 'nothing'}"
    assert re.search(rf"\b(rsna {name}|{name}\.py)\b", verb.help()), "show a command line in the docstring"


SETTINGS = [Config, *(one.annotation for one in fields_of(Config).values() if is_group(one.annotation)),
            *(verb.options for verb in VERBS.values() if verb.options)]  # fmt: skip


@pytest.mark.parametrize("cls", SETTINGS, ids=lambda cls: cls.__name__)
def test_every_default_may_be_typed(cls):
    """pydantic takes a default as it is, within its range or not."""
    for key, field in fields_of(cls).items():
        if not (field.is_required() or is_group(field.annotation)):
            kind = TypeAdapter(Annotated[field.annotation, key, *field.metadata], config={"strict": True})
            kind.validate_python(field.get_default(call_default_factory=True))


def test_every_function_that_is_marked_a_verb_is_one():
    """A module of rsna/cli that main.py does not import holds verbs that nobody finds."""
    modules = [import_module(f"rsna.cli.{found.name}") for found in iter_modules(rsna.cli.__path__)
               if found.name != "__main__"]  # fmt: skip
    marked = {one.name: module.__name__ for module in modules for one in vars(module).values() if isinstance(one, Verb)}
    lost = {name: module for name, module in marked.items() if name not in VERBS}
    assert not lost, f"import their module in rsna/cli/main.py: {lost}"


def test_the_readme_has_a_row_for_every_verb():
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Every verb")[1].split("\n## ")[0]
    assert set(re.findall(r"`rsna ([a-z ]+)`", table)) == set(VERBS)


def test_every_package_of_training_is_missed_by_its_name():
    """Where one is not installed, the message says which extra brings it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split("[<>=~\\[]", one)[0] for one in project["optional-dependencies"]["train"]}
    imported = {name: {canonicalize_name(one) for one in of} for name, of in packages_distributions().items()}
    for distribution in wanted - {"rich"}:  # without it tables have no colours
        names = {name for name, of in imported.items() if distribution in of}
        assert names & TRAIN_EXTRA, f"add one of {sorted(names)} to TRAIN_EXTRA in rsna/cli/verb.py"


def test_help_may_stand_ahead_of_the_verb(capsys):
    assert main(["help"]) == main(["help", "folds", "make"]) == main(["help", "datasets"]) == 0
    said = capsys.readouterr().out
    assert all(f"\nrsna {name} key=value …\n" in said for name in ("folds make", "datasets"))
    assert main(["help", "datasts"]) == 2
    assert "did you mean datasets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["slurm", "status", "runs/a", "runs/b"], "run: is given twice, as runs/a and as runs/b"),
        (["evaluate", "run=runs/a", "run=runs/b"], "run: is given twice, as runs/a and as runs/b"),
        (["datasets", "vindr", "name=cmmd"], "name: is given twice, as vindr and as cmmd"),
        (["browse", "n=3", "data.root=x", "n=4"], "n: is given twice, as 3 and as 4"),
    ],
)
def test_nothing_that_is_given_is_left_out_without_a_word(arguments, key, capsys):
    assert main(arguments) == 2
    assert key in capsys.readouterr().err


def test_help_says_what_a_key_may_be(capsys):
    main(["infer", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "batch_size=16 Images per forward pass; halved where memory runs out. [≥ 1]" in said
    assert "average=logits What is averaged over the folds. [logits, probabilities]" in said
    assert "run=… Run folder" in said


def test_the_version_is_said(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rsna {version('rsna-mammography')}\n"


def test_the_package_lists_its_public_names_and_loads_them_late():
    code = """if True:
        import sys, rsna
        assert not {"numpy", "torch", "pydantic"} & set(sys.modules)
        assert set(rsna.__all__) <= set(dir(rsna))
        assert not {"import_module", "Any", "TYPE_CHECKING"} & set(dir(rsna))
        assert all(getattr(rsna, name).__doc__ for name in rsna.__all__)
        assert all(name in rsna.__doc__ for name in rsna.__all__)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_list_of_verbs_and_a_verbs_help_import_nothing_heavy():
    code = """if True:
        import sys
        from rsna.cli import main
        main(["--help"]), main(["infer", "--help"])
        assert not {"numpy", "pandas", "torch", "hydra"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "there is no verb 'trian'; did you mean"),
        (["xyz"], 2, "there is no verb 'xyz'; verbs: "),
        (["folds", "mkae"], 2, "there is no verb 'folds'; did you mean folds make or folds check?"),
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
        (["prepare", "-m", "fold=0,1"], 2, "-m: train.py alone sweeps"),
        (["prepare", "experiment=strong_b3"], 2, "data.root=FOLDER"),
        (["train", "experiment=strong_b3"], 2, "take the embedded sample with experiment=demo"),
        (["train", "experiment=null"], 2, "experiment=null: choose one of breast_b3, demo, reference_b3, small"),
        (["train", "-m", "model=b3,b33"], 2, "model: there is no 'b33'; options: b0, b1"),
        (["train", "-m", "trianer.epochs=1,2"], 2, "trianer.epochs: there is no such key; did you mean trainer"),
        (["train", "trainer.epochs=0"], 2, "rsna train: trainer.epochs: 0 is below 1"),
        (["train", "folds"], 2, "write overrides as key=value"),
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


def test_training_leaves_the_process_as_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = list(sys.argv)
    assert main(["train", "data.root=nowhere", "model.pretrained=false"]) == 1
    assert main(["train", "data.root=nowhere", "model.pretrained=false"]) == 1
    assert (sys.argv, "HYDRA_FULL_ERROR" in os.environ) == (before, False)
    assert capsys.readouterr().err.count("nowhere: there is no such folder") == 2


@pytest.mark.parametrize("arguments", ["models", "--help", "train --help", "folds check splits=folds.csv"])
def test_a_reader_that_has_seen_enough_ends_a_verb_quietly(arguments, tmp_path):
    """As `| head` does: the shell's code for it, and not a word."""
    pd.DataFrame({"patient_id": ["1", "2"], "fold": [0, 1]}).to_csv(tmp_path / "folds.csv", index=False)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rsna.cli", *arguments.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    verb = arguments.removesuffix(" splits=folds.csv")
    assert done.returncode == 141
    # Its first line, and how far it was, stand on standard error.
    assert all(line.startswith((f"rsna {verb}", "count")) for line in done.stderr.splitlines()), done.stderr


def test_an_output_that_cannot_be_written_is_said_once():
    command = [sys.executable, "-m", "rsna.cli", "models"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("No space left on device") == 1
    assert "No space left on device" in done.stderr.splitlines()[-1]
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, text=True)
    assert closed.returncode == 0
    assert all(line.startswith(("rsna models", "count")) for line in closed.stderr.splitlines()), closed.stderr


@pytest.mark.parametrize(
    "odd", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_terminal_without_the_characters_ends_nothing(odd, tmp_path):
    """Texts are UTF-8 whatever the locale; what it cannot show is shown by its number."""
    # main() sets it for processes of its own, and other tests have called it in this one.
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    name = tmp_path / "×é日本"
    name.mkdir()
    pd.DataFrame({"patient_id": ["é", "é"], "fold": [0, 1]}).to_csv(name / "splits.csv", index=False)
    for verb in (f"folds check splits={name / 'splits.csv'}", f"leaderboard runs={name}", f"evaluate run={name}"):
        command = [sys.executable, "-m", "rsna.cli", *verb.split()]
        done = subprocess.run(command, env=plain | odd, capture_output=True)
        assert b"Traceback" not in done.stderr
        assert done.returncode in (0, 1)
        assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize("verb", [["prepare"], ["prepare", "merge"]])
def test_what_fills_a_cache_takes_no_pack(verb, capsys):
    assert main([*verb, "experiment=demo", "pack=packs/demo"]) == 2
    assert f"pack: rsna {' '.join(verb)} fills the cache" in capsys.readouterr().err
