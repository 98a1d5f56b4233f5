"""Breasts of two images through everything: table, training, out of fold, inference, a second start, export."""

import shutil

import numpy as np
import pandas as pd
import pytest

from rsna.config.verbs import ExportOptions, InferOptions
from rsna.evaluation.metrics import evaluate
from rsna.inference.infer import infer
from rsna.training.data.fold import fold_data
from rsna.training.experiment import resolve
from rsna.training.fit import fit_fold
from rsna.training.oof import predict_fold
from rsna.training.run import prepare
from tests.training.tiny import tiny_config, write_set


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Fold 0 of a run on breasts, its data, and its out-of-fold predictions; the set, as one to be predicted, too."""
    folder = tmp_path_factory.mktemp("breasts")
    root = write_set(folder / "set")
    (root / "test_images").symlink_to(root / "train_images")
    pd.read_csv(root / "train.csv").drop(columns=["cancer", "biopsy"]).to_csv(root / "test.csv", index=False)
    config = tiny_config(
        folder, targets=["cancer", "view"], global_batch_size=4, batch_size_per_device=2, trainer__epochs=3,
        trainer__ema=0.5, augment__mixup=0.2, sampler__kind="balanced",
    )  # fmt: skip
    experiment = resolve(config)
    data = fold_data(experiment.table, experiment.folds, 0, prepare(experiment), experiment.targets, "breast")
    fold = experiment.run / "fold0"
    fold.mkdir(parents=True)
    fit_fold(experiment, 0, fold, data)
    return experiment.run, data, predict_fold(config, 0, fold, data)


def predict(run, root, out, **options):
    return infer(InferOptions(run=str(run), input=str(root), out=str(out), workers=1, **options), "breast")


def test_every_breast_of_the_fold_is_predicted_once_and_scored(trained):
    run, data, oof = trained
    assert [target.name for target in data.targets] == ["cancer"]  # a breast has no view
    assert oof["prediction_id"].tolist() == list(data.validation.ids)
    assert oof["views"].tolist() == [2] * 12
    history = pd.read_csv(run / "fold0" / "history.csv")
    last = evaluate(oof, resamples=0).pooled
    assert history["step"].tolist() == [3, 6, 9]
    # 32-bit sums of other batches differ in the last digits.
    assert history["val_auroc"].iloc[-1] == pytest.approx(last.auroc, abs=1e-6)
    assert history["val_pf1"].iloc[-1] == pytest.approx(last.pf1_raw, abs=1e-4)


def test_a_folder_of_the_same_images_gets_the_same_probabilities(trained, tmp_path):
    run, data, oof = trained
    done = predict(run, data.cache.directory.parents[2] / "set", tmp_path / "submission.csv", submit="probability")
    found = done.breasts.set_index("prediction_id").loc[oof["prediction_id"]]
    assert found["views"].tolist() == [2] * 12
    np.testing.assert_allclose(found["probability"], oof["probability"], atol=1e-5)


def test_a_second_start_predicts_whole_breasts_anew(trained, tmp_path, capsys):
    run, data, _ = trained
    root = shutil.copytree(data.cache.directory.parents[2] / "set", tmp_path / "set")
    lost = root / "train_images" / "3" / "3MLO.png"
    content = lost.read_bytes()
    lost.write_bytes(b"no picture")
    first = predict(run, root, tmp_path / "submission.csv", submit="probability").breasts.set_index("prediction_id")
    assert first.loc["3_L", "views"] == 1
    lost.write_bytes(content)
    capsys.readouterr()
    second = predict(run, root, tmp_path / "submission.csv", submit="probability")
    assert "46 images were predicted by an earlier start" in capsys.readouterr().out
    assert second.stages.prepared == 2
    breasts = second.breasts.set_index("prediction_id")
    assert breasts["views"].eq(2).all()
    assert breasts.loc["3_L", "probability"] != first.loc["3_L", "probability"]
    others = breasts.index != "3_L"
    np.testing.assert_array_equal(breasts["probability"][others], first["probability"][others])


def test_the_export_predicts_the_same_breasts(trained, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from rsna.inference.export import export

    run, data, oof = trained
    root = data.cache.directory.parents[2] / "set"
    found = export(ExportOptions(run=str(run), images=str(root)))
    assert all(0 <= fold.difference < 1e-4 for fold in found.folds)
    done = predict(run, root, tmp_path / "submission.csv", submit="probability", backend="onnxruntime")
    probability = done.breasts.set_index("prediction_id")["probability"][oof["prediction_id"]]
    np.testing.assert_allclose(probability, oof["probability"], atol=1e-4)
