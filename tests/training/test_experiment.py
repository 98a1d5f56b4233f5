"""Whatever can be known to be wrong is refused before anything is done, and nothing is written."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from rsna.config.settings import ConfigError
from rsna.dataset.adapters import competition
from rsna.dataset.table import TableError
from rsna.runs.errors import RunError
from rsna.training.experiment import resolve
from rsna.training.run import train
from tests.prepare import phantoms
from tests.prepare.files import write_picture
from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder with the tiny set and nothing prepared, beside files that fit nothing."""
    folder = tmp_path_factory.mktemp("bare")
    write_set(folder / "set")
    save_file({"conv_stem.weight": torch.zeros(3)}, folder / "other.safetensors")
    (folder / "torn.pth").write_bytes(b"PK torn")
    (folder / "boxes.csv").write_text("image_id,x0,y0\n1,2,3\n")
    (folder / "folds.csv").write_text("patient_id,image_id,fold\n0,0CC,0\n")
    table = pd.read_csv(folder / "set" / "train.csv", dtype=str)
    table.assign(fold=table["patient_id"].astype(int) % 3)[["patient_id", "image_id", "fold"]].to_csv(
        folder / "thirds.csv", index=False
    )
    (folder / "a_file").write_text("in the way")
    unlabelled = folder / "unlabelled"
    shutil.copytree(folder / "set", unlabelled)
    table = pd.read_csv(unlabelled / "train.csv", dtype=str)
    table.loc[table["patient_id"] == "20", "cancer"] = None
    table.to_csv(unlabelled / "train.csv", index=False)
    write_set(folder / "healthy", positives=0)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").write_text("not a run")
    return folder


def tree(folder: Path) -> dict[str, int]:
    """Every file and folder with its time of change."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


REFUSED = [
    ({"model__backbone": "efficientnet_b33"}, ConfigError, r"model\.backbone: timm has no 'efficientnet_b33'; near it"),
    ({"model__backbone": "tf_efficientnet_b3.nonsense"}, ConfigError, r"model\.backbone: timm has no weights"),
    (
        {"model__backbone": "vit_tiny_patch16_224", "preprocess__size": [50, 33]},
        ConfigError,
        r"cannot take images of 50×33",
    ),
    ({"model__weights": "{folder}/none.pth"}, ConfigError, r"model\.weights: there is no file .*none\.pth"),
    ({"model__weights": "{folder}/torn.pth"}, ConfigError, r"model\.weights: .*torn\.pth"),
    ({"model__weights": "{folder}/other.safetensors"}, ConfigError, r"does not fit model\.backbone"),
    ({"model__pretrained": True}, ConfigError, r"model\.pretrained: the weights of test_efficientnet"),
    ({"model__norm": "sync"}, ConfigError, r"model\.norm: sync works between GPUs"),
    ({"trainer__accelerator": "cuda"}, ConfigError, r"trainer\.accelerator: torch finds no cuda device here"),
    ({"trainer__precision": "fp16"}, ConfigError, r"trainer\.precision: fp16 needs a GPU"),
    ({"trainer__devices": 3}, ConfigError, r"trainer\.devices can be 1, 2, 4, 8, 16"),
    ({"trainer__devices": 2, "global_batch_size": 12}, ConfigError, r"batch_size_per_device can be 1, 2, 3, 6"),
    ({"fold": 9}, ConfigError, r"fold: there is no fold 9; this run has 0, 1, or all"),
    ({"fold": 3, "folds__file": "{folder}/thirds.csv"}, ConfigError, r"no fold 3; this run has 0, 1, 2, or all"),
    ({"folds__n_folds": 90}, TableError, r"folds\.n_folds: 90 folds need as many patients, the table has 24"),
    ({"folds__file": "{folder}/none.csv"}, TableError, r"none\.csv: there is no such file"),
    ({"folds__file": "{folder}/folds.csv"}, TableError, r"folds\.csv: 46 images have no fold, and neither has"),
    ({"preprocess__crop": "boxes", "preprocess__boxes": "{folder}/none.csv"}, ConfigError, r"none\.csv"),
    (
        {"preprocess__crop": "boxes", "preprocess__boxes": "{folder}/boxes.csv"},
        ConfigError,
        r"has no column x1, y1; it has image_id, x0, y0",
    ),
    ({"data__root": "{folder}/nowhere"}, TableError, r"nowhere: there is no such folder; name the one with train\.csv"),
    ({"data__root": "{folder}/foreign"}, TableError, r"train\.csv: is missing"),
    (
        {"data__root": "{folder}/unlabelled"},
        TableError,
        r"2 of 48 images have no label in column cancer \(20CC, 20MLO\)",
    ),
    ({"data__extra": ["{folder}/nowhere"]}, TableError, r"nowhere: there is no such folder"),
    ({"targets": ["difficult_negative_case"]}, TableError, r"no labels for difficult_negative_case"),
    (
        {"data__root": "{folder}/healthy", "sampler__kind": "balanced"},
        ConfigError,
        r"sampler\.kind: balanced needs positives",
    ),
    ({"run": "{folder}/foreign"}, RunError, r"foreign: holds files but no config\.yaml"),
    ({"run": "{folder}/a_file"}, ConfigError, r"run: .*a_file is a file, where a folder is wanted"),
    ({"cache_dir": "{folder}/a_file/cache"}, ConfigError, r"cache_dir: .*a_file is a file, where a folder is wanted"),
]  # fmt: skip


def filled(value: object, folder: Path) -> object:
    if isinstance(value, list):
        return [filled(item, folder) for item in value]
    return value.format(folder=folder) if isinstance(value, str) else value


@pytest.mark.parametrize(("overrides", "error", "said"), REFUSED, ids=[json.dumps(row[0]) for row in REFUSED])
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU makes some of these possible")
def test_what_is_wrong_is_refused_and_nothing_is_written(bare, monkeypatch, overrides, error, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # its variable is read when it is imported
    before = tree(bare)
    with pytest.raises(error, match=said):
        train(tiny_config(bare, **{key: filled(value, bare) for key, value in overrides.items()}))
    assert tree(bare) == before


def test_resolving_what_is_right_writes_nothing_and_says_what_the_run_will_be(bare):
    before = tree(bare)
    experiment = resolve(tiny_config(bare, fold="all", targets=["cancer", "BIRADS"]))
    assert tree(bare) == before
    assert experiment.all_folds == experiment.folds_to_train == [0, 1]
    assert [target.name for target in experiment.targets] == ["cancer"]
    assert str(experiment.plan) == "16 examples a step = 1 device(s) × 8 × 2 accumulated"
    assert set(experiment.hashes) == {"preprocessing", "folds", "dataset"}
    assert not experiment.run.exists()


def test_pictures_that_use_twelve_of_sixteen_bits_are_resolved_to_the_range_of_the_set(tmp_path, capsys):
    root = write_set(tmp_path / "set")
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        write_picture(file, phantoms.breast(64, 48, seed=number)[0] / 16, bits=16)
    experiment = resolve(tiny_config(tmp_path))
    assert experiment.config.preprocess.value_range == (0, 4095)
    assert "hold values from" in " ".join(experiment.table.notes)
    assert resolve(tiny_config(tmp_path, fold=1)).hashes == experiment.hashes
    assert resolve(tiny_config(tmp_path, preprocess__value_range=[0, 65535])).hashes != experiment.hashes


def test_a_run_that_ended_before_its_first_checkpoint_binds_nothing(tiny):
    with pytest.raises(Exception, match="is damaged"):
        for file in (tiny / "cache").rglob("*.tif"):
            file.write_bytes(b"broken")
        train_here(tiny_config(tiny, optim__lr=0.5))
    assert not (tiny / "run" / "config.yaml").exists()
    shutil.rmtree(tiny / "cache")
    train_here(tiny_config(tiny, trainer__epochs=1))
    assert (tiny / "run" / "config.yaml").exists()


def test_a_set_of_a_layout_without_cancer_labels_is_trained_for_its_other_targets(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(competition, "LABELS", {})
    table = write_set(tmp_path / "set") / "train.csv"
    pd.read_csv(table, dtype=str).drop(columns=["cancer"]).to_csv(table, index=False)
    done = train(tiny_config(tmp_path, targets=["density"], trainer__epochs=1))
    assert "24 breasts, unknown how many positive" in capsys.readouterr().out
    assert done.objective is None
    assert "p_density_A" in pd.read_parquet(done.run / "fold0" / "oof.parquet")


def test_the_objective_is_the_metric_that_is_asked_for(tiny):
    one = train(tiny_config(tiny, trainer__epochs=1, objective="auroc"))
    recorded = json.loads((one.run / "fold0" / "metrics.json").read_text())["breasts"]["pooled"]
    assert one.objective == recorded["auroc"]
    both = train(tiny_config(tiny, trainer__epochs=1, objective="raw_pf1", fold="all"))
    assert both.objective == json.loads((both.run / "cv" / "metrics.json").read_text())["breasts"]["pooled"]["pf1_raw"]
