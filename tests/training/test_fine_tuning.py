"""A run starts from another run's weights: fold from fold, in either direction of patients only where it is honest."""

from dataclasses import replace

import pytest
import torch

from rsna.config.settings import ConfigError
from rsna.model.network import build_model
from rsna.runs.errors import RunError
from rsna.runs.run import open_run
from rsna.runs.weights import read_weights, write_weights
from rsna.training.experiment import resolve
from rsna.training.run import train
from tests.board.runs import drawn, write_run
from tests.training.tiny import tiny_config


def test_a_fold_goes_on_from_the_same_fold_of_another_run(prepared, tmp_path, capsys):
    config = tiny_config(prepared, run=str(tmp_path / "tuned"), model__weights=str(prepared / "run"), optim__lr=1e-9,
                         trainer__epochs=1, model__norm="frozen")  # fmt: skip
    train(config)
    said = capsys.readouterr().out
    assert said.count("starts from the same fold of") == 1
    assert f"{prepared}/run/fold0/model.safetensors: " in said
    before, after = (
        read_weights(run / "fold0" / "model.safetensors") for run in (prepared / "run", tmp_path / "tuned")
    )
    # At such a rate it moves by less than is compared: what it ends with is what it started from.
    torch.testing.assert_close(after["backbone.conv_head.weight"], before["backbone.conv_head.weight"])
    assert before["classifier.weight"].any()
    torch.testing.assert_close(after["classifier.weight"], before["classifier.weight"])
    scratch = build_model(replace(config.model, weights=""), 1).state_dict()
    assert not torch.allclose(scratch["backbone.conv_head.weight"], before["backbone.conv_head.weight"])
    assert open_run(tmp_path / "tuned").config.model.weights == str(prepared / "run")


def test_breasts_go_on_from_the_images_that_a_run_has_learnt(prepared, tmp_path, capsys):
    """The second stage of two: what images have is taken, and whatever joins them starts as nothing."""
    config = tiny_config(prepared, run=str(tmp_path / "breasts"), model__weights=str(prepared / "run"), unit="breast",
                         fusion__kind="attention", optim__lr=1e-9, trainer__epochs=1, model__norm="frozen")  # fmt: skip
    train(config)
    assert "starts from the same fold of" in capsys.readouterr().out
    before, after = (
        read_weights(run / "fold0" / "model.safetensors") for run in (prepared / "run", tmp_path / "breasts")
    )
    learnt = [key for key in before if not key.endswith("num_batches_tracked")]
    assert {key.split(".")[0] for key in after.keys() - before.keys()} == {"fusion"}
    for key in learnt:
        torch.testing.assert_close(after[key], before[key])
    assert open_run(tmp_path / "breasts").config.unit == "breast"


def test_other_folds_than_the_runs_are_refused_before_any_work(prepared, tmp_path):
    options = {"run": str(tmp_path / "tuned"), "model__weights": str(prepared / "run")}
    with pytest.raises(ConfigError, match=r"fold 0 of .* was trained on \d+ of the 12 patients that fold 0 validates"):
        resolve(tiny_config(prepared, folds__seed=1, **options))
    with pytest.raises(RunError, match=r"no weights for fold 1 to start from \(finished folds: 0\)"):
        resolve(tiny_config(prepared, fold=1, **options))
    resolve(tiny_config(prepared, folds__seed=1, folds__file=str(prepared / "run" / "folds.csv"), **options))
    assert not (tmp_path / "tuned").exists()


def test_the_weights_of_every_fold_are_read_before_any_work(prepared, tmp_path):
    """Of other people; the file of the second fold holds a NaN."""
    first = write_run(tmp_path / "first", drawn(), networks=True)
    options = {"run": str(tmp_path / "tuned"), "model__weights": str(first), "fold": "all"}
    resolve(tiny_config(prepared, **options))
    state = read_weights(first / "fold1" / "model.safetensors")
    state["backbone.bn1.bias"][0] = float("nan")
    write_weights(state, first / "fold1" / "model.safetensors")
    with pytest.raises(
        ConfigError, match=r"fold1/model\.safetensors holds .* 1 tensors with NaN .*backbone\.bn1\.bias"
    ):
        resolve(tiny_config(prepared, **options))
