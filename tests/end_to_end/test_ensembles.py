"""Three runs as one: what `rsna ensemble` reports is what infer, Predictor, validate and a bundle predict.

A member of images, one of another size and backbone whose folds have other numbers, and one of breasts, which compares
them and reads a table.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import rsna
from rsna.bundle.make import make_bundle, summary
from rsna.cli import main
from rsna.config.external import ValidateOptions
from rsna.config.verbs import BundleMakeOptions, ExplainOptions, InferOptions
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.tables import number
from rsna.inference.infer import StrictError, infer
from rsna.inference.validate import validate
from rsna.runs.trained_ensemble import load_ensemble
from tests.training.breasts import write_breasts
from tests.training.tiny import tiny_config, train_here

WEIGHTS = (0.5, 0.2, 0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``set``, which is one to be predicted, too, and the runs ``a``, ``b`` and ``c``: two folds trained on it."""
    folder = tmp_path_factory.mktemp("ensembles")
    root = write_breasts(folder / "set")
    (root / "test_images").symlink_to("train_images")
    pd.read_csv(root / "train.csv").drop(columns="cancer").to_csv(root / "test.csv", index=False)
    shared = {"fold": "all", "trainer__epochs": 3, "optim__lr": 1e-2}
    train_here(tiny_config(folder, run=str(folder / "a"), **shared))
    folds = pd.read_csv(folder / "a" / "folds.csv", dtype=str)
    folds["fold"] = 1 - folds["fold"].astype(int)
    folds.to_csv(folder / "folds.csv", index=False)
    other = {"preprocess__size": [64, 40], "model__backbone": "test_efficientnet_ln", "evaluation__flip_tta": True}
    train_here(tiny_config(folder, run=str(folder / "b"), folds__file=str(folder / "folds.csv"), **other, **shared))
    breasts = {"unit": "breast", "compare": True, "table_inputs": ["age"], "preprocess__size": [40, 24]}
    train_here(tiny_config(folder, run=str(folder / "c"), **breasts, **shared))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    return tuple(str(folder / name) for name in "abc")


def reported(runs, out, *more):
    """What `rsna ensemble` writes: metrics, and the joint out-of-fold probabilities by breast."""
    listed = f"[{','.join(runs)}]"
    assert main(["ensemble", f"run={listed}", "resamples=0", f"out={out}.json", f"oof={out}.csv", *more]) == 0
    return json.loads(out.with_suffix(".json").read_text()), pd.read_csv(out.with_suffix(".csv"), index_col=0)


def predict(runs, root, out, **options):
    given = {"workers": 1, "submit": "probability", "backend": "torch"} | options
    return infer(InferOptions(run=runs, input=str(root), out=str(out), **given))


def probabilities(done):
    return done.breasts.set_index("prediction_id")["probability"]


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        ([], {}),
        (["method=mean"], {"method": "mean"}),
        (["weights=[5,2,3]"], {"weights": (5.0, 2.0, 3.0)}),
    ],
)
def test_inference_by_a_fold_gives_its_breasts_their_joint_out_of_fold_probabilities(
    folder, runs, tmp_path, typed, options
):
    _, joint = reported(runs, tmp_path / "joint", *typed)
    assert sorted(joint["fold"].unique()) == [0, 1]
    for fold in (0, 1):
        expected = joint[joint["fold"] == fold]["probability"]
        done = predict(runs, folder / "set", tmp_path / f"{fold}.csv", folds=(fold,), **options)
        np.testing.assert_allclose(probabilities(done)[expected.index], expected, atol=1e-5)
        assert done.stages.prepared == len(done.images), "every file is read once, whatever the members want of it"
        images = done.images.set_index("image_id")
        assert (images["passes"] == 1 + 2 + 1).all()


@pytest.mark.parametrize("options", [{}, {"method": "mean"}, {"weights": WEIGHTS}, {"method": "weights"}])
def test_threshold_and_weights_are_those_that_were_reported(runs, tmp_path, options):
    typed = [f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in options.items()]
    said, joint = reported(runs, tmp_path / "joint", *typed)
    trained = load_ensemble(runs, **options)
    assert (trained.threshold, trained.recalled) == (
        said["joint"]["threshold"]["value"],
        said["joint"]["threshold"]["recalled"],
    )
    assert trained.method == said["method"]
    assert trained.metrics.pooled.get("pf1_nested") == said["joint"]["pooled"]["pf1_nested"]
    assert trained.prevalence == joint["cancer"].mean()
    if trained.method == "weights":
        shipped = dict(zip((str(member.source) for member in trained.members), trained.member_weights, strict=True))
        assert shipped == {name: weight for name, weight in said["weights"]["all"].items() if weight}
        assert len(trained.left_out) == 3 - len(shipped)


def test_the_bundle_its_archive_and_the_predictor_predict_what_the_runs_do(folder, runs, tmp_path, capsys):
    done = predict(runs, folder / "set", tmp_path / "runs.csv", weights=WEIGHTS)
    expected = probabilities(done)
    bundle = make_bundle(
        BundleMakeOptions(run=runs, out=str(tmp_path / "bundle"), weights=WEIGHTS, host="none", precision="fp32")
    )
    assert "3 members joined by weights, folds 0, 1" in summary(bundle)
    names = sorted(file.name for file in bundle.glob("*.safetensors"))
    assert names == [f"{member}-fold{fold}.safetensors" for member in "abc" for fold in (0, 1)]
    card = (bundle / "README.md").read_text()
    assert "test_efficientnet_ln" in card
    assert "| c | 0.3 | " in card
    packed, whole = load_ensemble(bundle), load_ensemble(runs, weights=WEIGHTS)
    for key in ("method", "member_weights", "aggregate", "threshold", "recalled", "prevalence", "calibration"):
        assert getattr(packed, key) == getattr(whole, key), key
    capsys.readouterr()
    again = predict(str(bundle), folder / "set", tmp_path / "bundle.csv")
    assert "joined by weights 0.5, 0.2, 0.3" in capsys.readouterr().out
    np.testing.assert_array_equal(probabilities(again), expected)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle)
    one = predict(archive, folder / "set", tmp_path / "archive.csv", folds=(1,))
    np.testing.assert_array_equal(
        probabilities(one),
        probabilities(predict(runs, folder / "set", tmp_path / "one.csv", folds=(1,), weights=WEIGHTS)),
    )
    for source, options in ((runs, {"weights": WEIGHTS}), (bundle, {})):
        with rsna.Predictor(source, workers=1, backend="torch", **options) as predictor:
            found = predictor.predict(folder / "set")
        breasts = {breast.prediction_id: breast for breast in found.breasts}
        np.testing.assert_allclose([breasts[name].probability for name in expected.index], expected, atol=1e-6)
        assert found.threshold == whole.threshold
        line = whole.calibration
        logit = np.log(expected / (1 - expected))
        calibrated = 1 / (1 + np.exp(-(line.slope * logit + line.intercept)))
        np.testing.assert_allclose([breasts[name].calibrated for name in expected.index], calibrated, atol=1e-5)
        images = {image.image_id: image.probability for image in found.images}
        joint = done.images.set_index("image_id")["probability"]
        np.testing.assert_allclose([images[name] for name in joint.index], joint, atol=1e-6)


def test_a_labelled_folder_is_scored_by_what_would_be_submitted(folder, runs, tmp_path, capsys):
    submitted = predict(runs, folder / "set", tmp_path / "submission.csv", folds=(0,)).breasts
    labels = pd.read_csv(folder / "set" / "train.csv", dtype={"patient_id": str})
    labels["prediction_id"] = labels["patient_id"] + "_" + labels["laterality"]
    of_breast = labels.groupby("prediction_id")[["patient_id", "cancer"]].first()
    expected = evaluate(submitted.join(of_breast, on="prediction_id").drop(columns="views"), resamples=0)
    capsys.readouterr()
    out = tmp_path / "predictions.csv"
    found = validate(
        ValidateOptions((str(folder / "set"),), run=runs, folds=(0,), resamples=100, workers=1, out=str(out))
    )
    printed = capsys.readouterr().out
    assert "scored: 3 members joined by logit_mean" in printed
    for name in ("pf1_raw", "auroc"):
        assert number(expected.pooled.values[name]) in printed
    assert f"pF1 at the run's threshold {load_ensemble(runs, (0,)).threshold:.4f}" in printed
    assert len(found) == len(pd.read_csv(folder / "set" / "train.csv"))
    pd.testing.assert_series_equal(pd.read_csv(out)["probability"], found["probability"])


def test_a_breast_that_lost_files_is_predicted_from_the_rest_and_anew_once_they_can_be_read(
    folder, runs, tmp_path, capsys
):
    root = shutil.copytree(folder / "set", tmp_path / "set", symlinks=True)
    whole = probabilities(predict(runs, root, tmp_path / "whole.csv"))
    lost = [root / "train_images" / "1" / f"1R{number}.png" for number in range(3)]  # all of one breast
    lost.append(root / "train_images" / "2" / "2L1.png")
    kept = [file.read_bytes() for file in lost]
    for file in lost:
        file.write_bytes(b"no picture")
    cut = predict(runs, root, tmp_path / "submission.csv")
    breasts = cut.breasts.set_index("prediction_id")
    assert breasts.index[breasts["filled"]].tolist() == ["1_R"]
    assert breasts.loc["1_R", "probability"] == load_ensemble(runs).prevalence
    assert breasts.loc["2_L", "views"] == 2
    changed = probabilities(cut) != whole
    assert set(changed[changed].index) == {"1_R", "1_L", "2_L", "2_R"}
    assert sorted(cut.images.loc[cut.images["failure"].ne(""), "image_id"]) == ["1R0", "1R1", "1R2", "2L1"]
    with pytest.raises(StrictError, match="strict: .*(1R|2L)"):
        predict(runs, root, tmp_path / "strict.csv", strict=True)
    for file, content in zip(lost, kept, strict=True):
        file.write_bytes(content)
    capsys.readouterr()
    again = predict(runs, root, tmp_path / "submission.csv")
    assert "images were predicted by an earlier start" in capsys.readouterr().out
    exams = again.images["prediction_id"].isin(["1_L", "1_R", "2_L", "2_R"])
    assert again.stages.prepared == exams.sum()  # the files of the two exams, once each
    np.testing.assert_array_equal(probabilities(again), whole)
    # Other weights of members change no logit.
    (root / "train_images" / "2" / "2L1.png").write_bytes(b"no picture")
    predict(runs, root, tmp_path / "submission.csv")
    assert predict(runs, root, tmp_path / "submission.csv", weights=WEIGHTS).stages.prepared < len(again.images) / 2


def test_a_spent_budget_leaves_a_complete_submission(folder, runs, tmp_path):
    done = predict(runs, folder / "set", tmp_path / "submission.csv", time_budget="0.01s")
    assert done.breasts["filled"].all()
    assert set(done.images["failure"]) == {"the time budget was spent before its turn"}


def test_heat_of_members_of_other_sizes_lies_on_one_picture(folder, runs, tmp_path, capsys):
    pytest.importorskip("captum", reason="heat maps need captum")
    assert ExplainOptions(run=runs[:2], image="0L0").run == runs[:2]
    assert main(["explain", f"run=[{runs[0]},{runs[1]}]", "image=0L0", f"out={tmp_path}"]) == 0
    assert "that has not seen the patient" in capsys.readouterr().out
    assert (tmp_path / "0L0_heat.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_other_runtimes_predict_every_member(folder, runs, tmp_path, backend):
    pytest.importorskip(backend, reason="the extra is not installed")
    if backend == "onnxruntime":
        pytest.importorskip("onnxscript", reason="the extra export is not installed")
        assert main(["export", f"run=[{runs[0]},{runs[1]}]", f"images={folder / 'set'}"]) == 0
    done = predict(runs, folder / "set", tmp_path / "other.csv", backend=backend)
    expected = predict(runs, folder / "set", tmp_path / "torch.csv")
    np.testing.assert_allclose(probabilities(done), probabilities(expected), atol=1e-4)
