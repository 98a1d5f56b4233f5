"""Every shipped configuration composes, every documented override works, and what is wrong is said before any work."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rsna.config.compose import compose, conf_dir, groups, read_arguments
from rsna.config.reference import TRAIN_EXAMPLES
from rsna.config.schema import Config
from rsna.config.settings import ConfigError, fields_of, from_mapping, to_mapping
from rsna.config.verbs import BrowseOptions, PrepareOptions
from rsna.dataset.source import load_data

GROUPS = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((conf_dir() / group).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """A folder without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSNA_DATA", raising=False)


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=["=".join(option) for option in OPTIONS])
def test_every_shipped_option_composes(group, option):
    config = compose([f"{group}={option}", *["unit=breast"] * (group == "fusion")])
    assert from_mapping(Config, to_mapping(config)) == config


def test_a_plain_command_line_is_composed_once_and_as_hydra_itself_does(monkeypatch):
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    composed, load = [], ConfigLoaderImpl.load_configuration

    def counted(self, *given, **named):
        composed.append(named.get("overrides"))
        return load(self, *given, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    for overrides in (["experiment=demo", "fold=1"], ["data.root='a b'", "name=1.50", "model=b0", "targets=[view]"]):
        composed.clear()
        plain = compose(overrides)
        assert len(composed) == 1
        assert plain == compose([*overrides, "hydra.job.name=other"])


def documented_overrides() -> list[list[str]]:
    """Overrides of every `train.py` line in the help, the README and the docs."""
    root = Path(__file__).parents[2]
    texts = [TRAIN_EXAMPLES, (root / "README.md").read_text()]
    texts += [file.read_text() for file in sorted((root / "docs").glob("*.md"))]
    lines = [
        m[1]
        for text in texts
        for m in re.finditer(r"(?:train\.py|rsna train|rsna prepare|rsna browse)((?: +[^-\s]\S*=[^\s`]+)+)", text)
    ]
    # What the verbs take beside the configuration.
    own = {*fields_of(BrowseOptions), *fields_of(PrepareOptions), "seeds"}
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
        ("data=rnsa", "^data: there is no 'rnsa'; options: demo, films, rsna$"),
        ("modle=b3", "^modle: there is no such key; did you mean model"),
        ("trainer.epochs=0", "trainer.epochs: 0 is below 1"),
        ("trainer.precision=64", "trainer.precision: .* is not one of auto, 32, bf16, fp16"),
        ("targets=[cancr]", r"targets\[0\]: 'cancr' is not one of cancer, biopsy"),
        ("targets=[]", "targets: name at least one of cancer, biopsy"),
        ("targets=[view,view]", "targets: 'view' is named 2 times"),
        ("fold=-1", "fold: -1 is below 0"),
        ("fold=some", "fold: expected a whole number"),
        ("model.drop_rate=1", r"model.drop_rate: 1 is not in \[0, 1\)"),
        ("optim.lr=fast", "optim.lr: expected a finite number > 0, got 'fast'"),
        ("name=a/b", "name: 'a/b' becomes a folder's name"),
        ("data.name=..", "data.name: '..' is a folder that is there already"),
        ("cache_dir=", "cache_dir: expected text, got ''"),
        ("cache_dir=a/${b}", r"^cache_dir: \$\{…\} stands for another key's value, and none .*'b'.* write \\\$\{…\}$"),
    ],
)
def test_wrong_overrides_are_refused_by_key_value_and_what_is_allowed(override, message):
    with pytest.raises(ConfigError, match=message):
        compose([override])


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("value", ["null", "", "[a,b]", "[]", "{a: 1}"])
def test_a_group_without_a_choice_is_refused_in_a_line(group, value):
    with pytest.raises(ConfigError, match=rf"^{group}=.*: choose one of \w+") as error:
        compose([f"{group}={value}"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_a_choice_and_each_option_a_line(group):
    options = groups()[group]
    assert len(options) >= 2, f"conf/{group}/ has one option alone: a group is there to be chosen from"
    mute = [name for name, line in options.items() if not line.endswith((".", "}.", ")"))]
    assert not mute, (
        f"conf/{group}/{mute and mute[0]}.yaml: begin it with a comment that is a sentence; --help prints it"
    )


def test_without_data_and_experiment_the_experiment_is_the_demo_and_that_is_said(capsys):
    assert compose(["fold=1"]) == compose(["experiment=demo", "fold=1"])
    assert capsys.readouterr().err == (
        "neither $RSNA_DATA nor data/rsna is there: experiment=demo, the embedded sample\n"
    )
    flags, overrides, said = read_arguments(["-m", "fold=0,1"])
    assert (flags, overrides) == (["-m"], ["fold=0,1", "experiment=demo"])
    assert "experiment=demo" in said


@pytest.mark.parametrize(
    "overrides", [["experiment=strong_b3"], ["data=demo"], ["data=rsna"], ["data.root=x"], ["+data.root=x"]]
)
def test_who_names_a_set_or_an_experiment_gets_no_other(overrides):
    assert read_arguments(overrides)[1:] == (overrides, "")


def test_who_has_a_set_gets_no_demo(tmp_path, monkeypatch):
    monkeypatch.setenv("RSNA_DATA", str(tmp_path))
    assert compose([]).data.root == str(tmp_path)
    monkeypatch.delenv("RSNA_DATA")
    (tmp_path / "data" / "rsna").mkdir(parents=True)
    assert compose([]).data.root == "data/rsna"


def test_a_set_that_nobody_has_is_refused_with_the_three_ways_on(tmp_path, monkeypatch):
    for variable in (None, ""):
        monkeypatch.setenv("RSNA_DATA", variable) if variable is not None else None
        data = compose(["experiment=strong_b3"]).data
        with pytest.raises(ConfigError, match=r"set RSNA_DATA .*data\.root=FOLDER.*experiment=demo"):
            load_data(data)
    monkeypatch.setenv("RSNA_DATA", "/nowhere")
    with pytest.raises(ConfigError, match="RSNA_DATA=/nowhere: there is no such folder"):
        load_data(compose(["experiment=strong_b3"]).data)


def test_demo_and_own_data_stand_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("RSNA_DATA", str(tmp_path))
    demo, real = compose(["experiment=demo"]), compose(["experiment=strong_b3"])
    assert (demo.data.root, demo.preprocess.size, demo.model.pretrained) == ("data/demo", (160, 80), False)
    assert (demo.sampler.kind, demo.sampler.positives, demo.optim.lr) == ("balanced", 6, 1e-3)
    assert (real.data.root, real.preprocess.size, real.model.pretrained) == (str(tmp_path), (1024, 512), True)
    assert len({demo.run_dir, real.run_dir, compose(["data=demo"]).run_dir, compose([]).run_dir}) == 4


def test_data_demo_names_the_set_alone():
    demo, own = compose(["data=demo"]), compose(["data=rsna"])
    assert replace(demo, data=own.data) == own
    assert demo.data.demo


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


EXPERIMENT = """# @package _global_
defaults:
  - override /model: own
  - override /folds: five
name: mine
trainer: {epochs: 3}
"""


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder with an experiment, a model and a config of somebody's own."""
    write(tmp_path / "their conf" / "experiment" / "mine.yaml", EXPERIMENT)
    write(tmp_path / "their conf" / "model" / "own.yaml", "backbone: test_efficientnet\n")
    write(tmp_path / "their conf" / "study.yaml", "defaults: [config, {override experiment: mine}, _self_]\nseed: 7\n")
    return tmp_path / "their conf"


def test_files_of_ones_own_are_composed(own):
    for arguments in (
        [f"--config-dir={own}", "experiment=mine"],
        ["--config-dir", str(own), "experiment=mine", "fold=0"],
        ["experiment=mine", f'hydra.searchpath=["file://{own}"]'],
    ):
        config = compose(arguments)
        assert (config.name, config.model.backbone, config.trainer.epochs) == ("mine", "test_efficientnet", 3)
        assert config.folds.n_folds == 5
    assert compose([f"--config-dir={own}", "data=demo", "model=own"]).model.backbone == "test_efficientnet"


def test_a_whole_configuration_of_ones_own_is_composed(own):
    config = compose(["--config-dir", str(own), "-cn", "study", "data.root=x"])
    assert (config.seed, config.name) == (7, "mine")
    assert read_arguments(["--config-path", str(own), "fold=1"])[1:] == (["fold=1"], "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: {epochs: [", "mine.yaml"),
        ("name: ${nowhere.key}", "nowhere.key"),
        ("trainer: null", "trainer: expected a group of keys, got None"),
        ("defaults: [override /model: b33]", "^model: there is no 'b33'; options: b0, b1"),
        ("defaults: [override /modle: b3]", "modle"),
    ],
)
def test_files_of_ones_own_that_cannot_be_composed_are_refused_in_a_line(own, text, message):
    write(own / "experiment" / "mine.yaml", f"# @package _global_\n{text}\n")
    with pytest.raises(ConfigError, match=message) as error:
        compose([f"--config-dir={own}", "experiment=mine"])
    assert "\n" not in str(error.value)


def test_groups_of_ones_own_without_a_choice_and_folders_that_are_not_there_are_refused(own):
    write(own / "extra" / "a.yaml", "# @package _global_\nseed: 1\n")
    assert compose([f"--config-dir={own}", "data.root=x", "+extra=a"]).seed == 1
    for arguments in ([f"--config-dir={own}", "extra=null"], ["--config-dir=nowhere"], ["-cn", "nowhere"]):
        with pytest.raises(ConfigError):
            compose(arguments)


def test_what_is_wrong_in_files_of_ones_own_is_said_with_the_file(own):
    with pytest.raises(
        ConfigError, match="^experiment: there is no 'mein'; options: breast_b3, demo, mine, reference_b3, small"
    ):
        compose([f"--config-dir={own}", "experiment=mein"])
    write(own / "experiment" / "mine.yaml", EXPERIMENT.replace("epochs", "epoch"))
    with pytest.raises(ConfigError, match="experiment/mine.*trainer.epoch: there is no such key; did you mean epochs"):
        compose([f"--config-dir={own}", "experiment=mine"])
