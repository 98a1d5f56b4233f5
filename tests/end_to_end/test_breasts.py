"""Breasts unlike each other, compared and told by a table: training, inference, files that fail, export, bundle."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import rsna
from rsna.board.gallery import gallery
from rsna.board.pixels import Pixels
from rsna.bundle.make import make_bundle
from rsna.cli import main
from rsna.config.verbs import BundleMakeOptions, ExportOptions, InferOptions
from rsna.inference.batch import ImageFacts
from rsna.inference.explain import grad_cam_example
from rsna.inference.infer import infer
from rsna.model.network import listening
from rsna.runs.run import open_run
from rsna.runs.trained_model import load_trained
from tests.training.breasts import write_breasts
from tests.training.tiny import tiny_config, train_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``set``, which is one to be predicted, too, and ``run``: two folds trained on its breasts."""
    folder = tmp_path_factory.mktemp("breasts")
    root = write_breasts(folder / "set")
    (root / "test_images").symlink_to("train_images")
    pd.read_csv(root / "train.csv").drop(columns="cancer").to_csv(root / "test.csv", index=False)
    options = {
        "fusion__kind": "transformer",
        "fusion__width": 16,
        "compare": True,
        "table_inputs": ["age", "machine_id"],
    }
    train_here(tiny_config(folder, fold="all", unit="breast", trainer__epochs=4, optim__lr=1e-2, **options))
    return folder


@pytest.fixture(scope="module")
def oof(folder):
    """The first fold's out-of-fold predictions."""
    return pd.read_parquet(folder / "run" / "fold0" / "oof.parquet").set_index("prediction_id", drop=False)


def predict(folder, root, out, **options):
    run = options.pop("run", folder / "run")
    given = {"workers": 1, "submit": "probability", "backend": "torch", "folds": (0,)} | options
    return infer(InferOptions(run=str(run), input=str(root), out=str(out), **given))


def probabilities(done):
    return done.breasts.set_index("prediction_id")["probability"]


def test_inference_gives_breasts_their_out_of_fold_probabilities(folder, oof, tmp_path):
    done = predict(folder, folder / "set", tmp_path / "submission.csv")
    np.testing.assert_allclose(probabilities(done)[oof.index], oof["probability"], atol=1e-5)
    assert done.breasts.set_index("prediction_id").loc[oof.index, "views"].tolist() == oof["views"].tolist()
    assert done.stages.prepared == len(done.images)  # once, though half of them are looked at with either breast
    assert oof["probability"].nunique() == len(oof)
    with rsna.Predictor(folder / "run", folds=(0,), workers=1, backend="torch", batch_size=5) as predictor:
        found = {one.prediction_id: one.probability for one in predictor.predict(folder / "set").breasts}
    np.testing.assert_allclose([found[name] for name in oof.index], oof["probability"], atol=1e-5)


def test_what_is_not_known_is_said_and_predicted_without(folder, tmp_path, capsys):
    root = shutil.copytree(folder / "set", tmp_path / "set", symlinks=True)
    table = pd.read_csv(root / "test.csv")
    table.drop(columns="age").assign(machine_id=170).to_csv(root / "test.csv", index=False)
    without = probabilities(predict(folder, root, tmp_path / "submission.csv"))
    assert "table_inputs: age, machine_id is not known of any image by the table" in capsys.readouterr().out
    known = probabilities(predict(folder, folder / "set", tmp_path / "known" / "submission.csv"))
    assert (without != known).all()


def test_a_breast_that_lost_a_file_is_predicted_from_the_rest_and_anew_once_it_can_be_read(folder, tmp_path, capsys):
    root = shutil.copytree(folder / "set", tmp_path / "set", symlinks=True)
    whole = predict(folder, root, tmp_path / "whole" / "submission.csv")
    # All of one breast, which is the other side of 1_L; and one of three images of 2_L.
    lost = [root / "train_images" / "1" / f"1R{number}.png" for number in range(3)]
    lost.append(root / "train_images" / "2" / "2L1.png")
    kept = [file.read_bytes() for file in lost]
    for file in lost:
        file.write_bytes(b"no picture")
    cut = predict(folder, root, tmp_path / "submission.csv")
    views = cut.breasts.set_index("prediction_id")["views"]
    assert (views["1_R"], views["1_L"], views["2_L"]) == (0, 2, 2)
    changed = probabilities(cut) != probabilities(whole)
    assert set(changed[changed].index) == {"1_R", "1_L", "2_L", "2_R"}
    failed = cut.images[cut.images["failure"].ne("")]
    assert sorted(failed["image_id"]) == ["1R0", "1R1", "1R2", "2L1"]
    for file, content in zip(lost, kept, strict=True):
        file.write_bytes(content)
    capsys.readouterr()
    again = predict(folder, root, tmp_path / "submission.csv")
    assert "were predicted by an earlier start" in capsys.readouterr().out
    np.testing.assert_array_equal(probabilities(again), probabilities(whole))


def test_a_start_with_another_age_does_not_take_over_what_was_predicted(folder, tmp_path):
    root = shutil.copytree(folder / "set", tmp_path / "set", symlinks=True)
    (root / "train_images" / "0" / "0L0.png").write_bytes(b"no picture")  # so that there is progress to go on with
    predict(folder, root, tmp_path / "submission.csv")
    table = pd.read_csv(root / "test.csv")
    table["age"] = table["age"].mask(table["patient_id"].eq(3), 90)
    table.to_csv(root / "test.csv", index=False)
    again = predict(folder, root, tmp_path / "submission.csv")
    assert again.stages.prepared == len(table[table["patient_id"].eq(3)])


@pytest.mark.slow
def test_the_export_and_the_bundle_predict_the_same_breasts(folder, oof, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from rsna.inference.export import export

    (found,), _ = export(ExportOptions(run=str(folder / "run"), images=str(folder / "set")))
    assert all(0 <= fold.difference < 1e-4 for fold in found.folds)
    done = predict(folder, folder / "set", tmp_path / "submission.csv", backend="onnxruntime")
    np.testing.assert_allclose(probabilities(done)[oof.index], oof["probability"], atol=1e-4)
    bundle = make_bundle(
        BundleMakeOptions(run=str(folder / "run"), out=str(tmp_path / "bundle"), host="none", precision="fp32")
    )
    card = (bundle / "README.md").read_text()
    said = " ".join(card.split())
    assert "All images of a breast are looked at at once, in training" in said
    assert "and joined by transformer" in said
    assert "The exam's other breast is looked at as well" in said
    assert "Beside its pixels it is told of each image: " in said
    done = predict(folder, folder / "set", tmp_path / "packed.csv", run=bundle)
    np.testing.assert_allclose(probabilities(done)[oof.index], oof["probability"], atol=1e-5)


def test_the_gallery_shows_every_image_with_its_weight_and_its_part_of_the_heat(folder):
    pytest.importorskip("captum", reason="heat maps need captum")
    run = open_run(folder / "run")
    shown = gallery(run, run.evaluate(), Pixels(run), 4)
    oof = pd.read_parquet(folder / "run" / "cv" / "oof.parquet").set_index("prediction_id")
    cases = (*shown.misses, *shown.false_alarms)
    assert cases
    assert not shown.note
    for case in cases:
        row = oof.loc[case.prediction_id]
        assert sorted(view.image_id for view in case.views) == sorted(row["image_ids"])
        weights = dict(zip(row["image_ids"], row["image_weights"], strict=True))
        assert {view.image_id: view.weight for view in case.views} == pytest.approx(weights)
        assert all(view.picture and view.heat for view in case.views)


def test_explaining_an_image_explains_its_breast_with_the_weight_of_each_image(folder, oof, tmp_path, capsys):
    pytest.importorskip("captum", reason="heat maps need captum")
    breast = oof[oof["views"].eq(3)].iloc[0]
    command = ["explain", f"run={folder / 'run'}", f"image={breast['image_ids'][1]}", f"out={tmp_path}"]
    assert main(command) == 0
    said = capsys.readouterr().out
    for image_id, weight in zip(breast["image_ids"], breast["image_weights"], strict=True):
        assert f"{tmp_path / image_id}_heat.png, weight {weight:.2f} in its breast" in said
    assert len(list(tmp_path.glob("*.png"))) == 6
    file = next((folder / "set" / "train_images").glob("*/*.png"))
    shutil.copy(file, tmp_path / "elsewhere.png")
    assert main(["explain", f"run={folder / 'run'}", f"image={tmp_path / 'elsewhere.png'}", f"out={tmp_path}"]) == 0
    assert "weight 1.00" in (said := capsys.readouterr().out)
    assert "this one is of this image alone" in said


def test_heat_is_the_gradient_of_the_breast(folder):
    """An image that weighs nothing has none, whatever it shows."""
    pytest.importorskip("captum", reason="heat maps need captum")
    network = load_trained(folder / "run").networks()[0]
    generator = np.random.default_rng(0)
    images = list(generator.integers(0, 255, (3, 48, 32), dtype=np.uint8))
    table, other = np.full((3, 3), np.nan, dtype=np.float32), np.zeros(3, dtype=np.bool_)
    torch.nn.init.normal_(network.classifier.weight)
    torch.nn.init.zeros_(network.fusion.widen.weight)  # the weighted mean alone
    torch.nn.init.zeros_(network.comparison.layer.weight)
    with listening(network) as heard:
        heats = grad_cam_example([network], images, 0, ImageFacts(table, other))
    alone = [grad_cam_example([network], [image], 0)[0] for image in images]
    for heat, single, weight in zip(heats, alone, heard[0].tolist(), strict=True):
        assert 0 < weight < 1
        np.testing.assert_allclose(heat, single * weight, rtol=1e-3, atol=1e-6)
