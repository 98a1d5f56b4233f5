"""ONNX exports predict what torch predicts, and say so where they do not."""

import shutil

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

import rsna
from rsna.cli import main
from rsna.config.verbs import ExportOptions
from rsna.inference.backends.onnx_networks import OnnxNetworks, find_exports
from rsna.inference.batch import Batch
from rsna.inference.export import export
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.runs.errors import RunError
from rsna.runs.trained_ensemble import load_ensemble
from rsna.runs.trained_model import load_trained
from rsna.runs.weights import read_weights
from tests.board.runs import drawn, put_weights
from tests.board.runs import write_run as write_drawn
from tests.inference.runs import SIZE, write_exams, write_run
from tests.prepare import phantoms


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """A run with its export, and exams to check on."""
    folder = tmp_path_factory.mktemp("export")
    copy = shutil.copytree(run, folder / "run")
    write_exams(folder / "exams", 1)
    (found,), _ = export(ExportOptions(run=str(copy), images=str(folder / "exams")))
    return copy, folder / "exams", found


def test_export_reports_parity(exported):
    _, _, found = exported
    assert found.images == 4
    assert [fold.fold for fold in found.folds] == [0, 1]
    assert all(0 <= fold.difference < 1e-4 for fold in found.folds)
    assert "fold 1" in found.table()


def test_networks_of_tokens_take_any_batch_size(tmp_path):
    model = {"backbone": "vit_tiny_patch16_224", "pretrained": False}
    run = write_run(tmp_path / "run", trained=(0,), model=model)
    write_exams(tmp_path / "exams", 1)
    (found,), _ = export(ExportOptions(run=str(run), images=str(tmp_path / "exams")))
    assert all(0 <= fold.difference < 1e-4 for fold in found.folds)
    images = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    assert OnnxNetworks(find_exports(load_trained(run))).logits(Batch(images)).shape == (1, 3, 1)


def test_any_batch_size_and_any_plan(exported):
    folder, _, _ = exported
    trained = load_trained(folder)
    ours, theirs = OnnxNetworks(find_exports(trained)), trained.networks()
    torch_ones = TorchNetworks(theirs)
    breasts = [phantoms.breast(*SIZE, side="left", muscle=False, seed=k)[0] for k in range(3)]
    for size in (1, 3):
        images = (np.stack(breasts[:size]) * 255).astype(np.uint8)
        for plan in (PassPlan(2, True), PassPlan(1, False)):
            found = ours.logits(Batch(images), plan)
            assert found.shape == (plan.passes, size, 1)
            np.testing.assert_allclose(found, torch_ones.logits(Batch(images), plan), atol=2e-3)


def test_examples_of_several_images_are_joined_as_torch_joins_them(exported):
    trained = load_trained(exported[0])
    ours, theirs = OnnxNetworks(find_exports(trained)), TorchNetworks(trained.networks())
    breasts = [phantoms.breast(*SIZE, side="left", muscle=False, seed=k)[0] for k in range(6)]
    images = (np.stack(breasts) * 255).astype(np.uint8)
    plan = PassPlan(2, True)
    for example in ([0, 0, 0, 1, 2, 2], [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]):
        found = ours.logits(Batch(images, np.array(example)), plan)
        assert found.shape == (plan.passes, example[-1] + 1, 1)
        np.testing.assert_allclose(found, theirs.logits(Batch(images, np.array(example)), plan), atol=2e-3)
    np.testing.assert_array_equal(ours.logits(Batch(images, np.arange(6)), plan), ours.logits(Batch(images), plan))


def test_the_predictor_runs_on_onnxruntime(exported):
    folder, exams, _ = exported
    with rsna.Predictor(folder, workers=1) as ours, rsna.Predictor(folder, workers=1, backend="onnxruntime") as theirs:
        a, b = ours.predict(exams), theirs.predict(exams)
    np.testing.assert_allclose([i.probability for i in a.images], [i.probability for i in b.images], atol=1e-4)


def test_differences_above_the_tolerance_write_nothing(run, exported, tmp_path):
    _, exams, _ = exported
    copy = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(RunError, match="ONNX and torch differ by"):
        export(ExportOptions(run=str(copy), images=str(exams), folds=(0,), tolerance=1e-18))
    assert not (copy / "onnx").exists()


def test_exports_of_other_weights_are_passed_over_and_changed_ones_refused(exported, run, tmp_path):
    folder, _, _ = exported
    files = find_exports(load_trained(folder))
    assert [file.name for file in files] == ["fold0.onnx", "fold1.onnx"]
    assert find_exports(load_trained(folder, (1,))) == files[1:]
    assert find_exports(load_trained(run)) == []
    copy = shutil.copytree(folder, tmp_path / "copy")
    put_weights(copy, 1, read_weights(copy / "fold0" / "model.safetensors"))
    assert find_exports(load_trained(copy)) == []
    put_weights(copy, 1, read_weights(folder / "fold1" / "model.safetensors"))
    (copy / "onnx" / "fold1.onnx").write_bytes(b"other")
    with pytest.raises(RunError, match="its SHA-256 is not the recorded one"):
        find_exports(load_trained(copy))


def test_the_verb_says_how_to_mend(tmp_path, capsys):
    assert main(["export", f"run={tmp_path}"]) == 1
    assert "holds neither config.yaml" in capsys.readouterr().err


def test_folds_of_several_runs_are_the_numbers_of_the_first(tmp_path, monkeypatch):
    oof = drawn(20)
    runs = [write_drawn(tmp_path / "a", oof, networks=True)]
    runs.append(write_drawn(tmp_path / "b", oof.assign(fold=1 - oof["fold"]), networks=True))
    exported = []
    monkeypatch.setattr("rsna.inference.export._export", lambda member, options: exported.append(member))
    export(ExportOptions(run=tuple(map(str, runs)), folds=(0,)))
    assert [[weights.own for weights in member.weights] for member in exported] == [[0], [1]]
    joint = load_ensemble([str(run) for run in runs], (0,))
    assert [[one.file for one in member.weights] for member in joint.members] == [
        [one.file for one in member.weights] for member in exported
    ]
