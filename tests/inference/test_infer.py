"""A submission is always complete: whatever is wrong with files, rows, devices and time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rsna.bundle.make import make_bundle
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions, InferOptions
from rsna.dataset.table import TableError
from rsna.evaluation.evaluate import evaluate
from rsna.inference.batch import Batch
from rsna.inference.devices import choose_devices, choose_precision
from rsna.inference.infer import StrictError, infer
from rsna.inference.networks import TorchNetworks
from rsna.inference.submission import write_submission
from rsna.prepare.cache import Cache
from rsna.prepare.table import prepare_table
from rsna.runs.errors import RunError
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import load_trained
from tests.board.runs import put_weights, rewrite
from tests.inference.runs import write_exams, write_run

REAL = Path(os.environ.get("RSNA_TEST_DATA", "/nowhere")) / "rsna"
REAL_FILES = sorted((REAL / "train_images").glob("*/*.dcm")) if REAL.is_dir() else []


def predict(run, root, tmp_path, **options):
    """Predicts and reads back what was written."""
    out = tmp_path / "out" / "submission.csv"
    done = infer(InferOptions(run=str(run), input=str(root), out=str(out), workers=1, **options))
    written = pd.read_csv(out)
    pd.testing.assert_frame_equal(written, done.submission, check_dtype=False)
    return done


@pytest.fixture
def exams(tmp_path):
    root = tmp_path / "exams"
    write_exams(root)
    return root


def test_rows_are_those_of_test_csv_in_its_order(run, exams, tmp_path):
    table = pd.read_csv(exams / "test.csv").iloc[::-1]
    table.to_csv(exams / "test.csv", index=False)
    done = predict(run, exams, tmp_path, submit="probability")
    assert done.submission["prediction_id"].tolist() == ["p1_R", "p1_L", "p0_R", "p0_L"]
    assert done.submission["cancer"].between(0, 1, inclusive="neither").all()
    assert done.submission["cancer"].nunique() == 4
    assert not done.breasts["filled"].any()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"run": "nowhere"}, RunError, "nowhere: there is no such folder"),
        ({"folds": (7,)}, RunError, "has no weights of fold 7"),
        ({"input": "nowhere"}, TableError, "input=nowhere: there is no such folder"),
        ({"precision": "fp16"}, ConfigError, "precision: fp16 is for GPUs"),
        ({"run": "boxes"}, ConfigError, r"preprocess\.crop: boxes are known for the training images alone"),
    ],
)
def test_what_is_wrong_is_refused_before_networks_load_and_nothing_is_written(
    run, exams, tmp_path, monkeypatch, options, error, said
):
    (tmp_path / "boxes.csv").write_text("image_id,x0,y0,x1,y1\n")
    if options.get("run") == "boxes":
        boxes = {"size": [64, 32], "crop": "boxes", "boxes": str(tmp_path / "boxes.csv")}
        options["run"] = str(write_run(tmp_path / "boxes", preprocess=boxes))
    monkeypatch.setattr("rsna.inference.infer.load_members", lambda *_: pytest.fail("networks were loaded"))
    before = sorted(tmp_path.rglob("*"))
    given = {"run": str(run), "input": str(exams), "out": str(tmp_path / "out.csv")} | options
    with pytest.raises(error, match=said):
        infer(InferOptions(**given))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_breast_is_the_mean_of_its_images_over_the_mean_logit_of_the_folds(run, exams, tmp_path):
    both = predict(run, exams, tmp_path).images.set_index("image_id")["probability"]
    singles = [predict(run, exams, tmp_path, folds=(k,)).images.set_index("image_id")["probability"] for k in (0, 1)]
    logits = [np.log(p / (1 - p)) for p in singles]
    np.testing.assert_allclose(both, 1 / (1 + np.exp(-(logits[0] + logits[1]) / 2)), atol=1e-5)
    done = predict(run, exams, tmp_path)
    expected = done.images.groupby("prediction_id")["probability"].mean()
    np.testing.assert_allclose(done.breasts.set_index("prediction_id")["probability"], expected, atol=1e-9)


def test_probabilities_can_be_averaged_instead_of_logits(run, exams, tmp_path):
    joined = predict(run, exams, tmp_path, average="probabilities").images["probability"]
    singles = [predict(run, exams, tmp_path, folds=(k,)).images["probability"] for k in (0, 1)]
    np.testing.assert_allclose(joined, (singles[0] + singles[1]) / 2, atol=1e-6)


def test_the_threshold_makes_zeros_and_ones(run, exams, tmp_path):
    p = predict(run, exams, tmp_path, submit="probability").submission["cancer"]
    cut = float(p.median())
    done = predict(run, exams, tmp_path, threshold=cut)
    assert done.submission["cancer"].tolist() == [int(v >= cut) for v in p]


def test_flip_predicts_the_mirrored_image_too(run, exams, tmp_path):
    plain = predict(run, exams, tmp_path).images["probability"]
    flipped = predict(run, exams, tmp_path, flip=True).images["probability"]
    assert not np.allclose(plain, flipped, atol=1e-6)


def test_images_are_mirrored_where_they_were_out_of_fold(exams, tmp_path):
    run = write_run(tmp_path / "run", evaluation={"flip_tta": True})
    unsaid, flipped, plain = (
        predict(run, exams, tmp_path, flip=flip).images["probability"] for flip in ("auto", True, False)
    )
    np.testing.assert_array_equal(unsaid, flipped)
    assert not np.allclose(unsaid, plain, atol=1e-6)
    bundle = make_bundle(BundleMakeOptions(str(run), str(tmp_path / "bundle"), precision="fp32", host="none"))
    np.testing.assert_allclose(predict(bundle, exams, tmp_path).images["probability"], flipped, atol=1e-6)


@pytest.mark.parametrize(
    ("trained", "has_bf16", "expected"),
    [
        ("32", True, "32"),
        ("auto", True, "bf16"),
        ("auto", False, "fp16"),
        ("bf16", False, "fp16"),
        ("fp16", True, "fp16"),
    ],
)
def test_a_run_predicts_in_32_bits_where_it_was_trained_so(tmp_path, monkeypatch, trained, has_bf16, expected):
    run = write_run(tmp_path / "run", trainer={"precision": trained})
    bundle = make_bundle(BundleMakeOptions(str(run), str(tmp_path / "bundle"), precision="fp32", host="none"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    for source in (run, bundle):
        assert choose_precision(torch.device("cuda"), load_trained(source).precision) == expected
        assert choose_precision(torch.device("cpu"), load_trained(source).precision) == "32"


def test_a_file_that_fails_leaves_its_breast_to_its_other_views(run, exams, tmp_path, capsys):
    (exams / "test_images" / "p0" / "10.dcm").write_bytes(b"no dicom at all")
    done = predict(run, exams, tmp_path)
    images = done.images.set_index("image_id")
    breast = done.breasts.set_index("prediction_id").loc["p0_L"]
    assert images.loc["10", "failure"].startswith("NotDicom")
    assert np.isnan(images.loc["10", "probability"])
    assert breast["probability"] == pytest.approx(images.loc["12", "probability"])
    assert breast["views"] == 1
    assert not breast["filled"]
    said = capsys.readouterr().out
    assert "failed: 10: NotDicom" in said


def test_a_breast_without_any_image_gets_the_training_prevalence(run, exams, tmp_path, capsys):
    (exams / "test_images" / "p0" / "10.dcm").write_bytes(b"")
    (exams / "test_images" / "p0" / "12.dcm").unlink()
    done = predict(run, exams, tmp_path, submit="probability")
    breast = done.breasts.set_index("prediction_id").loc["p0_L"]
    assert breast["filled"]
    assert breast["probability"] == pytest.approx(0.1)  # 8 of 80 breasts a fold
    said = capsys.readouterr().out
    assert "1 breasts have no readable image and get the training prevalence 0.1000 (first: p0_L)" in said
    assert "of the 3 other breasts are at or above it" in said


def test_rows_without_files_and_files_without_rows(run, exams, tmp_path, capsys):
    (exams / "test_images" / "p1" / "99.dcm").write_bytes((exams / "test_images" / "p1" / "20.dcm").read_bytes())
    with (exams / "test.csv").open("a") as table:
        table.write("p7,70,L,CC,p7_L\n")
    done = predict(run, exams, tmp_path)
    assert done.submission["prediction_id"].tolist() == ["p0_L", "p0_R", "p1_L", "p1_R", "p7_L"]
    assert done.images.set_index("image_id").loc["70", "failure"] == "no file for this row"
    assert "1 files have no row in test.csv and are left out (first: p1/99)" in capsys.readouterr().out


def test_no_images_at_all_still_makes_a_submission(run, exams, tmp_path):
    shutil.rmtree(exams / "test_images")
    done = predict(run, exams, tmp_path)
    assert done.breasts["filled"].all()
    assert len(done.submission) == 4


def test_unknown_views_and_machines_are_predicted_like_others(run, tmp_path):
    root = tmp_path / "strange"
    table = write_exams(root, 1, Manufacturer="Nobody", ManufacturerModelName="X-1").assign(view="AT")
    table.loc[0, "view"] = None
    table.assign(machine_id=99999, site_id=7).to_csv(root / "test.csv", index=False)
    done = predict(run, root, tmp_path)
    assert not done.breasts["filled"].any()
    assert (done.images["failure"] == "").all()


def test_a_repeated_image_counts_once(run, exams, tmp_path, capsys):
    table = pd.read_csv(exams / "test.csv")
    pd.concat([table, table.iloc[:1]]).to_csv(exams / "test.csv", index=False)
    done = predict(run, exams, tmp_path)
    assert len(done.images) == 8
    assert "1 rows of test.csv repeat an image_id" in capsys.readouterr().out


@pytest.mark.parametrize("unit", ["image", "breast"])
def test_an_image_of_two_breasts_counts_for_both(run, breast_run, exams, tmp_path, capsys, unit):
    table = pd.read_csv(exams / "test.csv")
    pd.concat([table, table.iloc[:1].assign(prediction_id="another")]).to_csv(exams / "test.csv", index=False)
    done = predict(run if unit == "image" else breast_run, exams, tmp_path, submit="probability")
    assert done.stages.prepared == 8
    assert not done.breasts["filled"].any()
    assert "8 images, 5 breasts" in capsys.readouterr().out
    both = done.images[done.images["image_id"].eq("10")]
    assert both["failure"].tolist() == ["", ""]
    if unit == "image":
        assert done.submission["cancer"].iloc[-1] == both["probability"].iloc[0] == both["probability"].iloc[1]


def test_images_of_one_name_are_each_predicted_and_each_taken_from_the_progress(run, exams, tmp_path):
    plain = predict(run, exams, tmp_path, submit="probability").submission
    table = pd.read_csv(exams / "test.csv", dtype=str)
    short = table["laterality"] + table["view"]
    for patient, image_id, name in zip(table["patient_id"], table["image_id"], short, strict=True):
        folder = exams / "test_images" / patient
        (folder / f"{image_id}.dcm").rename(folder / f"{name}.dcm")
    table.assign(image_id=short).to_csv(exams / "test.csv", index=False)
    last = exams / "test_images" / "p1" / "RCC.dcm"
    last.rename(tmp_path / "aside")
    predict(run, exams, tmp_path)
    (tmp_path / "aside").rename(last)
    done = predict(run, exams, tmp_path, submit="probability")
    assert done.stages.prepared == 1
    pd.testing.assert_frame_equal(done.submission, plain, atol=1e-6)
    assert done.images["image_id"].is_unique


@pytest.mark.parametrize("name", ["s.csv.gz", "s.txt", "s", "s.parquet.zip"])
def test_a_submission_of_another_kind_is_refused(name):
    with pytest.raises(ConfigError, match=f"out: {name} is neither .csv nor .parquet"):
        InferOptions(run="run", input="exams", out=name)


@pytest.mark.parametrize(("name", "read"), [("s.CSV", pd.read_csv), ("s.Parquet", pd.read_parquet)])
def test_a_submission_is_what_its_name_says_in_any_case(tmp_path, name, read):
    breasts = pd.DataFrame({"prediction_id": ["a_L"], "probability": [0.4], "filled": [False]})
    out = tmp_path / InferOptions(run="run", input="exams", out=name).out
    pd.testing.assert_frame_equal(write_submission(breasts, out, None), read(out))


def test_prediction_ids_of_the_table_need_no_laterality(run, exams, tmp_path):
    pd.read_csv(exams / "test.csv").drop(columns=["laterality", "view"]).to_csv(exams / "test.csv", index=False)
    assert not predict(run, exams, tmp_path).breasts["filled"].any()


def test_a_folder_without_test_csv_is_read_by_its_tags(run, exams, tmp_path):
    with_table = predict(run, exams, tmp_path, submit="probability").submission.set_index("prediction_id")["cancer"]
    (exams / "test.csv").unlink()
    (exams / "notes.txt").write_text("no DICOM")
    by_tags = predict(run, exams, tmp_path, submit="probability").submission.set_index("prediction_id")["cancer"]
    assert sorted(by_tags.index) == sorted(with_table.index)
    np.testing.assert_allclose(by_tags.sort_index(), with_table.sort_index(), atol=1e-6)


def test_folders_that_cannot_be_used(run, tmp_path):
    with pytest.raises(TableError, match="there is no such folder"):
        predict(run, tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "film.png").write_bytes(b"\x89PNG")
    with pytest.raises(TableError, match="1 are no DICOM.*of pictures a table has to say patient, side and path"):
        predict(run, tmp_path / "pictures", tmp_path)
    with pytest.raises(TableError, match="holds no mammogram"):
        predict(run, tmp_path / "empty", tmp_path)
    (tmp_path / "empty" / "test.csv").write_text("image_id\n1\n")
    with pytest.raises(TableError, match=r"has no column patient_id, laterality"):
        predict(run, tmp_path / "empty", tmp_path)


def test_strict_turns_fallbacks_into_errors(run, exams, tmp_path):
    (exams / "test_images" / "p0" / "10.dcm").write_bytes(b"no dicom")
    with pytest.raises(StrictError, match="10.dcm: NotDicom"):
        predict(run, exams, tmp_path, strict=True)
    (exams / "test_images" / "p0" / "10.dcm").unlink()
    with pytest.raises(StrictError, match="1 rows have no file"):
        predict(run, exams, tmp_path, strict=True)


def test_a_second_start_goes_on(run, exams, tmp_path, capsys):
    """What was predicted is not predicted again, and the result is the same."""
    (exams / "test_images" / "p0" / "10.dcm").rename(tmp_path / "aside")
    first = predict(run, exams, tmp_path, submit="probability")
    (tmp_path / "aside").rename(exams / "test_images" / "p0" / "10.dcm")
    capsys.readouterr()
    second = predict(run, exams, tmp_path, submit="probability")
    assert "7 images were predicted by an earlier start" in capsys.readouterr().out
    assert second.stages.prepared == 1
    shutil.rmtree(tmp_path / "out")
    fresh = predict(run, exams, tmp_path, submit="probability")
    np.testing.assert_allclose(second.submission["cancer"], fresh.submission["cancer"], atol=1e-6)
    assert first.submission["cancer"].iloc[0] != second.submission["cancer"].iloc[0]
    # A complete submission leaves nothing to go on from.
    assert predict(run, exams, tmp_path).stages.prepared == 8


def test_progress_of_other_files_of_the_same_names_and_sizes_is_not_taken(run, exams, tmp_path):
    (exams / "test_images" / "p0" / "10.dcm").unlink()
    predict(run, exams, tmp_path)
    file = exams / "test_images" / "p0" / "11.dcm"  # not compressed
    content = bytearray(file.read_bytes())
    content[-1000:] = bytes([1]) * 1000
    file.write_bytes(content)
    assert predict(run, exams, tmp_path).stages.prepared == 1


def test_the_threshold_of_some_folds_is_chosen_on_all_of_their_breasts(exams, tmp_path, capsys):
    run = write_run(tmp_path / "three", n_folds=3, trained=(0, 1))
    images = pd.concat([pd.read_parquet(run / f"fold{fold}" / "oof.parquet") for fold in (0, 1)])
    expected = evaluate(images, sampling="enriched", resamples=0)
    trained = load_ensemble(run)
    assert (trained.threshold, trained.recalled) == (expected.threshold.value, expected.threshold.recalled)
    assert trained.prevalence == expected.pooled.prevalence
    predict(run, exams, tmp_path)
    assert "note: folds not trained or not asked for: 1 of 3" in capsys.readouterr().out
    bundle = make_bundle(BundleMakeOptions(str(run), str(tmp_path / "bundle"), precision="fp32", host="none"))
    assert load_ensemble(bundle).threshold == trained.threshold
    one = evaluate(images[images["fold"] == 1], sampling="enriched", resamples=0)
    assert load_ensemble(run, (1,)).threshold == one.threshold.value


def test_a_breast_that_nothing_is_known_of_is_not_recalled(tmp_path):
    breasts = pd.DataFrame(
        {"prediction_id": ["a_L", "a_R", "b_L"], "probability": [0.4, 0.4, 0.1], "filled": [False, True, False]}
    )
    assert write_submission(breasts, tmp_path / "s.csv", 0.3)["cancer"].tolist() == [1, 0, 0]
    assert write_submission(breasts, tmp_path / "s.csv", None)["cancer"].tolist() == [0.4, 0.4, 0.1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU works")
def test_gpus_that_cannot_compute_are_left_out(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_devices() == [torch.device("cpu")]
    assert "cuda:0 is left out: " in caplog.text
    assert "cuda:1 is left out: " in caplog.text


def test_progress_of_other_weights_is_not_taken(run, exams, tmp_path):
    (exams / "test_images" / "p0" / "10.dcm").unlink()
    predict(run, exams, tmp_path)
    assert predict(run, exams, tmp_path, folds=(1,)).stages.prepared == 7


def test_a_submission_exists_before_the_networks_are_loaded(run, exams, tmp_path):
    """The weights are another network's, and yet there is a complete, valid submission."""
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    put_weights(broken, 0, {"classifier.weight": torch.zeros(1)})
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(broken, exams, tmp_path)
    submission = pd.read_csv(tmp_path / "out" / "submission.csv")
    assert submission["prediction_id"].tolist() == ["p0_L", "p0_R", "p1_L", "p1_R"]


def test_a_budget_that_is_spent_leaves_a_complete_submission(run, exams, tmp_path):
    done = predict(run, exams, tmp_path, time_budget="0.01s")
    assert len(done.submission) == 4
    assert set(done.images["failure"]) == {"the time budget was spent before its turn"}
    with pytest.raises(StrictError, match="time budget ended 8 images early"):
        predict(run, exams, tmp_path, time_budget="0.01s", strict=True)


def test_a_killed_run_goes_on(run, tmp_path):
    """After SIGKILL the submission is complete and valid, and what was predicted is not predicted again."""
    write_exams(tmp_path / "exams", 10)
    out = tmp_path / "submission.csv"
    options = {"run": run, "input": tmp_path / "exams", "out": out, "workers": 1, "batch_size": 1}
    command = [sys.executable, "-m", "rsna.cli", "infer", *(f"{key}={value}" for key, value in options.items())]
    progress = tmp_path / "submission_progress.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not progress.exists() or progress.read_text().count("\n") < 4):
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    assert len(pd.read_csv(out)) == 20
    kept = progress.read_text().count("\n") - 1
    assert 0 < kept < 40
    done = infer(InferOptions(**{key: str(v) if isinstance(v, Path) else v for key, v in options.items()}))
    assert done.stages.prepared == 40 - kept
    assert not done.breasts["filled"].any()


class Slow(TorchNetworks):
    """Networks of a machine that is too slow for its budget."""

    def logits(self, batch, plan=None):
        time.sleep(0.4 * plan.passes * len(batch.images))
        return super().logits(batch, plan)


def test_a_budget_drops_mirrored_images_and_folds(run, tmp_path, monkeypatch, capsys):
    write_exams(tmp_path / "exams", 4)
    monkeypatch.setattr("rsna.inference.infer.WARM_UP", 1)
    monkeypatch.setattr("rsna.inference.infer.REPLAN_EVERY_S", 0.0)
    monkeypatch.setattr(
        "rsna.inference.infer.load_members",
        lambda members, *_: [[Slow(member.networks(), torch.device("cpu")) for member in members]],
    )
    done = predict(run, tmp_path / "exams", tmp_path, flip=True, time_budget="15s", batch_size=1)
    assert "time budget 15s: from here on 1 fold instead of 2 folds, mirrored too" in capsys.readouterr().out
    assert (done.images["failure"] == "").all()
    assert done.seconds < 15
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(StrictError, match="2 folds, mirrored too do not fit into time_budget=15s"):
        predict(run, tmp_path / "exams", tmp_path, flip=True, time_budget="15s", batch_size=1, strict=True)


def test_options_are_checked():
    for value in ("soon", "0h", "-1h", "3d"):
        with pytest.raises(ConfigError, match="time_budget"):
            InferOptions(run="r", input="i", time_budget=value)
    assert InferOptions(run="r", input="i", time_budget="8h").budget_seconds == 8 * 3600
    assert InferOptions(run="r", input="i", time_budget="90").budget_seconds == 90


def test_runs_that_cannot_predict(exams, tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        predict(tmp_path / "none", exams, tmp_path)
    with pytest.raises(RunError, match=r"holds neither config.yaml"):
        predict(exams, exams, tmp_path)
    half = write_run(tmp_path / "half", trained=(0,))
    assert len(predict(half, exams, tmp_path).submission) == 4
    with pytest.raises(RunError, match="has no weights of fold 1"):
        predict(half, exams, tmp_path, folds=(1,))
    other = write_run(tmp_path / "other", targets=["view"])
    with pytest.raises(RunError, match="learnt view, not cancer"):
        predict(other, exams, tmp_path)
    hashes = json.loads((half / "run.json").read_text())["hashes"]
    rewrite(half / "run.json", hashes=hashes | {"preprocessing": "0" * 12})
    with pytest.raises(RunError, match="was trained with preprocessing 000000000000, this version prepares with"):
        predict(half, exams, tmp_path)


def test_breasts_are_predicted_from_their_readable_images_and_resumed_whole(run, breast_run, exams, tmp_path, capsys):
    """A breast that lost an image is predicted from the rest, and anew once that can be read."""
    file = exams / "test_images" / "p0" / "10.dcm"
    content = file.read_bytes()
    file.write_bytes(b"no dicom")
    (exams / "test_images" / "p1" / "21.dcm").unlink()
    options = {"folds": (0,), "submit": "probability", "batch_size": 3}
    done = predict(breast_run, exams, tmp_path, **options)
    breasts, images = done.breasts.set_index("prediction_id"), done.images.set_index("image_id")
    assert breasts["views"].to_dict() == {"p0_L": 1, "p0_R": 2, "p1_L": 2, "p1_R": 1}
    assert images.loc["10", "failure"].startswith("NotDicom")
    assert images.loc["21", "failure"] == "no file for this row"
    assert images["probability"].isna().sum() == 2
    single = predict(run, exams, tmp_path / "single", **options).images.set_index("image_id")["probability"]
    logits = np.log(single / (1 - single)).groupby(images["prediction_id"]).mean()
    # One linear layer stands behind the mean of the features.
    np.testing.assert_allclose(breasts["probability"], 1 / (1 + np.exp(-logits)), atol=1e-5)

    file.write_bytes(content)
    capsys.readouterr()
    again = predict(breast_run, exams, tmp_path, **options)
    assert "5 images were predicted by an earlier start" in capsys.readouterr().out
    assert again.stages.prepared == 2  # both images of the breast that was not whole
    assert again.breasts["views"].tolist() == [2, 2, 2, 1]
    with pytest.raises(StrictError, match="1 rows have no file"):
        predict(breast_run, exams, tmp_path, strict=True)
    predict(run, exams, tmp_path, **options)
    assert "were predicted by an earlier start" not in capsys.readouterr().out  # images are other examples


@pytest.mark.skipif(not REAL_FILES, reason="RSNA_TEST_DATA does not name the folder of real files")
def test_real_files_are_predicted_from_the_pixels_that_training_sees(run, tmp_path):
    table = pd.read_csv(REAL / "train.csv", dtype=str)
    files = {path.stem: path for path in REAL_FILES}
    table = table[table["image_id"].isin(files)].reset_index(drop=True)
    table["prediction_id"] = table["patient_id"] + "_" + table["laterality"]
    root = tmp_path / "exams"
    root.mkdir()
    (root / "test_images").symlink_to(REAL / "train_images")
    table.drop(columns=["cancer"]).to_csv(root / "test.csv", index=False)
    done = predict(run, root, tmp_path)
    assert (done.images["failure"] == "").all()
    assert done.submission["prediction_id"].tolist() == table["prediction_id"].unique().tolist()

    trained = load_trained(run)
    cache = Cache.create(tmp_path / "cache", "real", trained.preprocess)
    prepare_table(table.assign(path=table["image_id"].map(files)), trained.preprocess, cache, workers=1)
    images = np.stack([cache.read(image_id) for image_id in done.images["image_id"]])
    logits = TorchNetworks(trained.networks()).logits(Batch(images)).mean(axis=0)[:, trained.cancer_column]
    np.testing.assert_allclose(done.images["probability"], 1 / (1 + np.exp(-logits)), atol=1e-5)
