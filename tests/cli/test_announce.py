"""The first line of a verb comes ahead of everything that takes long, and disturbs nothing."""

import json
import os
import subprocess
import sys

import pytest

from rsna.cli.announce import tell
from rsna.cli.main import VERBS, main

FIRST = {
    "train": ["experiment=demo"],
    "prepare": ["data=demo"],
    "prepare merge": ["data=demo"],
    "pack": ["cache=cache/demo/a", "out=packs/demo"],
    "browse": ["out=sheets"],
    "table": ["input=/archive"],
    "audit": ["input=/archive", "out=look"],
    "folds make": ["labels=train.csv"],
    "folds check": ["splits=folds.csv"],
    "evaluate": ["run=[a,b,c,d,e]"],
    "ensemble": ["run=[a,b]"],
    "models": [],
    "validate": ["run=a", "input=/exams"],
    "calibrate": ["run=a", "input=/exams"],
    "datasets": [],
    "infer": ["run=a", "input=/exams", "out=sub.csv"],
    "infer merge": ["run=a", "input=/exams", "out=sub.csv"],
    "predict": ["run=a", "input=/exams"],
    "bundle make": ["run=a", "out=bundle"],
    "bundle verify": ["run=bundle"],
    "export": ["run=a"],
    "leaderboard": [],
    "leaderboard submit": ["run=a", "public=0.5"],
    "compare": ["runs=[a,b]", "out=page.html"],
    "report": ["out=page.html"],
    "explain": ["run=a", "image=1.dcm"],
    "slurm train": ["experiment=demo"],
    "slurm prepare": ["shards=8"],
    "slurm infer": ["run=a", "input=/exams", "out=sub.csv"],
    "slurm status": ["run=a"],
}
"""Verb → arguments that it is called with."""

HEAVY = {"numpy", "pandas", "torch", "timm", "hydra", "omegaconf", "pytorch_lightning", "cv2", "sklearn", "pydicom"}


def test_every_verb_says_what_it_does_ahead_of_what_takes_long():
    code = f"""if True:
        import json, sys
        from rsna.cli import verb as module
        from rsna.cli.main import main
        said = {{}}
        class Said(BaseException): pass
        def tell(verb, text):
            said[verb] = text, sorted({HEAVY!r} & set(sys.modules))
            raise Said
        module.tell = tell
        for verb, given in {FIRST!r}.items():
            try:
                main([*verb.split(), *given])
            except Said:
                pass
        print(json.dumps(said))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    said = json.loads(done.stdout)
    assert set(said) == set(FIRST) == set(VERBS)
    assert {verb: imported for verb, (_, imported) in said.items() if imported} == {}
    for verb, (text, _) in said.items():
        named = [argument.partition("=")[2].strip("[]").partition(",")[0] for argument in FIRST[verb]]
        assert text, verb
        assert "('" not in text, verb
        # Those of a configuration name theirs once it is composed, and of a job its file is named when it is written.
        later = (
            "train",
            "prepare",
            "prepare merge",
            "leaderboard submit",
            "slurm train",
            "slurm prepare",
            "slurm infer",
        )
        assert verb in later or all(name in text for name in named), (verb, text)
    assert said["evaluate"][0] == "scores a, b, c and 2 more"
    assert said["infer"][0] == "predicts /exams with a, for sub.csv"


def test_what_is_for_programs_stands_alone_on_standard_output(capsys):
    assert main(["models", "format=json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) > 9
    assert printed.err.splitlines()[0] == "rsna models: counts parameters and multiply-adds of every EfficientNet"


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--info", "searchpath"]])
def test_a_question_about_the_configuration_is_only_answered(flags, capsys):
    tell("train", VERBS["train"].says(["fold=1", *flags]))
    assert capsys.readouterr().err == ""


def test_one_of_several_ranks_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    tell("train", VERBS["train"].says(["fold=1"]))
    assert capsys.readouterr().err == ""


def test_a_closed_standard_error_keeps_nobody_from_working():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from rsna.cli.announce import tell; tell('models', 'counts'); print('done'); sys.stderr = None"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60)
    os.close(writer)
    assert done.stdout == "done\n"
