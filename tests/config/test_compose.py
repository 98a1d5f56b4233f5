"""Every shipped configuration composes, every documented override works, and what is wrong is said before any work."""

import dataclasses
import re
from pathlib import Path

import pytest

from rsna.config.compose import check_overrides, compose, conf_dir, resolve_overrides
from rsna.config.data import choose_data
from rsna.config.schema import Config
from rsna.config.settings import ConfigError, from_mapping, to_mapping
from rsna.config.verbs import BrowseOptions

GROUPS = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((conf_dir() / group).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """A folder without data, so that data=auto means the demo."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSNA_DATA", raising=False)


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=["=".join(option) for option in OPTIONS])
def test_every_shipped_option_composes(group, option):
    config = compose([f"{group}={option}"])
    assert from_mapping(Config, to_mapping(config)) == config


def documented_overrides() -> list[list[str]]:
    """Overrides of every `train.py` line in the help, the README and the docs."""
    root = Path(__file__).parents[2]
    texts = [(conf_dir() / "config.yaml").read_text(), (root / "README.md").read_text()]
    texts += [file.read_text() for file in sorted((root / "docs").glob("*.md"))]
    lines = [
        m[1]
        for text in texts
        for m in re.finditer(r"(?:train\.py|rsna train|rsna prepare|rsna browse)((?: +\S+=\S+)+)", text)
    ]
    own = {field.name for field in dataclasses.fields(BrowseOptions)}
    return [[word for word in line.split() if word.partition("=")[0] not in own] for line in lines]


@pytest.mark.parametrize("overrides", documented_overrides(), ids=" ".join)
def test_every_documented_override_composes(overrides):
    once = [o.replace("fold=0,1,2,3", "fold=0").replace("fold=0,1", "fold=0") for o in overrides]
    compose(once)


def test_the_documents_hold_overrides():
    assert len(documented_overrides()) >= 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("traner.epochs=1", "traner.epochs: there is no such key; did you mean trainer"),
        ("trainer.epoch=1", "trainer.epoch: there is no such key; did you mean epochs"),
        ("data=rnsa", "data: there is no 'rnsa'; options: auto, demo, rsna"),
        ("trainer.epochs=0", "trainer.epochs: 0 is below 1"),
        ("trainer.precision=64", "trainer.precision: .* is not one of auto, 32, bf16, fp16"),
        ("targets=[cancr]", "targets.0.: 'cancr' is not one of cancer, biopsy"),
        ("fold=-1", "fold: -1 is below 0"),
        ("fold=some", "fold: expected a whole number"),
        ("model.drop_rate=1", "model.drop_rate: 1.0 is not in"),
        ("optim.lr=fast", "optim.lr: expected a finite number, got 'fast'"),
        ("name=a/b", "name: 'a/b' becomes a folder's name"),
    ],
)
def test_wrong_overrides_are_refused_by_key_value_and_what_is_allowed(override, message):
    with pytest.raises(ConfigError, match=message):
        compose([override])


def test_sweeps_are_checked_option_by_option():
    check_overrides(["-m", "fold=0,1", "data=demo,rsna"])
    with pytest.raises(ConfigError, match="there is no 'x'"):
        check_overrides(["data=demo,x"])


def test_auto_takes_the_variable_then_the_folder_then_the_demo(tmp_path):
    assert choose_data({})[0] == "demo"
    (tmp_path / "data" / "rsna").mkdir(parents=True)
    assert choose_data({})[0] == "rsna"
    assert choose_data({"RSNA_DATA": str(tmp_path)}) == ("rsna", f"$RSNA_DATA is {tmp_path}")
    with pytest.raises(ConfigError, match="RSNA_DATA=/nowhere: there is no such folder"):
        choose_data({"RSNA_DATA": "/nowhere"})


def test_auto_says_what_it_chose_and_an_experiments_own_set_is_kept():
    overrides, said = resolve_overrides(["fold=0"])
    assert overrides == ["fold=0", "data=demo"]
    assert said.startswith("data=auto → data=demo: neither $RSNA_DATA nor data/rsna")
    assert resolve_overrides(["data=rsna"]) == (["data=rsna"], "")
    assert resolve_overrides(["data.root=/archive"]) == (
        ["data.root=/archive", "data=rsna"], "data=auto → data=rsna: data.root=/archive is given",
    )  # fmt: skip
    assert resolve_overrides(["data=demo", "data.root=x"]) == (["data=demo", "data.root=x"], "")
    assert resolve_overrides(["experiment=demo"]) == (["experiment=demo"], "")


def test_the_demo_brings_a_small_recipe_and_two_sets_never_share_a_run(tmp_path, monkeypatch):
    demo = compose([])
    assert demo.data.demo
    assert not demo.model.pretrained
    monkeypatch.setenv("RSNA_DATA", str(tmp_path))
    real = compose([])
    assert real.model.pretrained
    assert real.preprocess.size == (1024, 512)
    assert real.run_dir != demo.run_dir
