"""Breasts of two images through everything: table, training, out of fold, inference, a second start, export."""

import shutil

import numpy as np
import pandas as pd
import pytest

from rsna.config.verbs import ExportOptions, InferOptions
from rsna.evaluation.evaluate import evaluate
from rsna.inference.infer import infer
from rsna.training.experiment import resolve
from rsna.training.run import pool, prepare, train_fold
from tests.training.tiny import tiny_config, write_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``set``, which is one to be predicted, too, and ``run``: two folds trained on its breasts."""
    folder = tmp_path_factory.mktemp("breasts")
    root = write_set(folder / "set")
    (root / "test_images").symlink_to("train_images")
    pd.read_csv(root / "train.csv").drop(columns=["cancer", "biopsy"]).to_csv(root / "test.csv", index=False)
    config = tiny_config(
        folder, unit="breast", targets=["cancer", "view", "density"], global_batch_size=4, batch_size_per_device=2,
        trainer__epochs=3, trainer__ema=0.5, augment__mixup=0.2, sampler__kind="balanced",
    )  # fmt: skip
    experiment = resolve(config)
    cache = prepare(experiment)
    for fold in experiment.all_folds:
        train_fold(experiment, fold, cache)
    pool(experiment)
    return folder


@pytest.fixture(scope="module")
def oof(folder):
    """The first fold's out-of-fold predictions."""
    return pd.read_parquet(folder / "run" / "fold0" / "oof.parquet").set_index("prediction_id", drop=False)


def predict(folder, root, out, **options):
    run = str(folder / "run")
    return infer(InferOptions(run=run, input=str(root), out=str(out), workers=1, submit="probability", **options))


def test_every_breast_is_predicted_out_of_fold_once_and_scored(folder, oof):
    pooled = pd.read_parquet(folder / "run" / "cv" / "oof.parquet")
    assert sorted(pooled["prediction_id"]) == sorted(f"{patient}_L" for patient in range(24))
    assert pooled["views"].tolist() == [2] * 24
    assert {"p_cancer", "p_density_A"} <= set(pooled)
    assert not {"p_view", "image_id"} & set(pooled)  # a breast has no view
    history = pd.read_csv(folder / "run" / "fold0" / "history.csv")
    last = evaluate(oof.reset_index(drop=True), resamples=0).pooled
    assert history["step"].tolist() == [4, 8, 12]  # eight negatives, each with a positive, two pairs a step
    assert history["val_auroc"].iloc[-1] == pytest.approx(last.auroc, abs=1e-6)
    # 32-bit sums over batches of other sizes differ in the last digits.
    assert history["val_pf1"].iloc[-1] == pytest.approx(last.pf1_raw, abs=1e-4)


def test_inference_gives_the_breasts_of_a_folder_their_out_of_fold_probabilities(folder, oof, tmp_path):
    done = predict(folder, folder / "set", tmp_path / "submission.csv", folds=(0,))
    found = done.breasts.set_index("prediction_id").loc[oof.index]
    assert found["views"].tolist() == [2] * len(oof)
    np.testing.assert_allclose(found["probability"], oof["probability"], atol=1e-5)


def test_a_second_start_predicts_the_breasts_that_were_not_whole_anew(folder, tmp_path, capsys):
    root = shutil.copytree(folder / "set", tmp_path / "set", symlinks=True)
    lost = root / "train_images" / "3" / "3MLO.png"
    content = lost.read_bytes()
    lost.write_bytes(b"no picture")
    first = predict(folder, root, tmp_path / "submission.csv").breasts.set_index("prediction_id")
    assert first.loc["3_L", "views"] == 1
    lost.write_bytes(content)
    capsys.readouterr()
    second = predict(folder, root, tmp_path / "submission.csv")
    assert "46 images were predicted by an earlier start" in capsys.readouterr().out
    assert second.stages.prepared == 2
    breasts = second.breasts.set_index("prediction_id")
    assert breasts["views"].eq(2).all()
    assert breasts.loc["3_L", "probability"] != first.loc["3_L", "probability"]
    others = breasts.index != "3_L"
    np.testing.assert_array_equal(breasts["probability"][others], first["probability"][others])


def test_the_export_predicts_the_same_breasts(folder, oof, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from rsna.inference.export import export

    (found,), _ = export(ExportOptions(run=str(folder / "run"), images=str(folder / "set")))
    assert all(0 <= fold.difference < 1e-4 for fold in found.folds)
    done = predict(folder, folder / "set", tmp_path / "submission.csv", backend="onnxruntime", folds=(0,))
    probability = done.breasts.set_index("prediction_id")["probability"][oof.index]
    np.testing.assert_allclose(probability, oof["probability"], atol=1e-4)
