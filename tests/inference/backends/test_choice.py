"""The fastest runtime predicts where it predicts what torch predicts; else torch does, and that is said."""

import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pandas as pd
import pytest
import torch

import rsna
from rsna.cli import main
from rsna.config.settings import ConfigError
from rsna.config.verbs import InferOptions
from rsna.inference.backends import choice
from rsna.inference.backends.choice import WORTH, Choice, choose, load_networks
from rsna.inference.backends.parity import check_images, largest_anywhere, largest_difference
from rsna.inference.batch import Batch
from rsna.inference.infer import StrictError, infer
from rsna.inference.networks import TorchNetworks
from rsna.runs.trained_model import TrainedModel, load_trained
from tests.inference.runs import write_exams, write_run

CPU = [torch.device("cpu")]


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 2)
    return root


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def options(run, exams, tmp_path, **given):
    return InferOptions(
        **{"run": str(run), "input": str(exams), "out": str(tmp_path / "s.csv"), "workers": 1, "submit": "probability"}
        | given
    )


def no_networks(self):
    pytest.fail("weights were loaded")


def test_auto_is_openvino_where_that_is_worth_a_conversion_or_there_is_one(run, empty_cache, monkeypatch):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    trained = load_trained(run)
    assert choose(trained, "auto", "auto", CPU, 1e-3, WORTH - 1) == Choice("torch", "32")
    found = choose(trained, "auto", "auto", CPU, 1e-3, WORTH)
    assert (found.backend, found.precision, found.given_up) == ("openvino", "32", ())
    assert 0 <= found.difference < 1e-4
    monkeypatch.setattr(TrainedModel, "networks", no_networks)
    assert choose(trained, "auto", "auto", CPU, 1e-3, 1) == found
    (networks,) = load_networks(trained, found)
    assert networks.logits(Batch(np.zeros((1, *trained.preprocess.size), np.uint8))).shape == (2, 1, 1)


def test_auto_is_torch_on_a_gpu_and_where_nothing_else_is_installed(run, monkeypatch):
    trained = load_trained(run)
    monkeypatch.setattr(choice, "choose_precision", lambda *_: "bf16")
    assert choose(trained, "auto", "auto", [torch.device("cuda", 0)], 1e-3) == Choice("torch", "bf16")
    monkeypatch.undo()
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    assert choose(trained, "auto", "auto", CPU, 1e-3) == Choice("torch", "32")
    with pytest.raises(ConfigError, match=r"openvino is not installed; pip install 'rsna-mammography\[cpu\]'"):
        choose(trained, "openvino", "auto", CPU, 1e-3)


@pytest.mark.parametrize(("backend", "precision"), [("openvino", "fp16"), ("onnxruntime", "bf16"), ("torch", "fp16")])
def test_arithmetic_that_there_is_not_is_refused(run, backend, precision):
    if backend != "torch":
        pytest.importorskip(backend)
    with pytest.raises(ConfigError, match="precision: "):
        choose(load_trained(run), backend, precision, CPU, 1e-3)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_what_differs_by_too_much_is_given_up_for_torch_and_said(run, exams, tmp_path, backend, capsys):
    pytest.importorskip(backend)
    if backend == "onnxruntime":
        pytest.importorskip("onnxscript")
    found = infer(options(run, exams, tmp_path, backend=backend, tolerance=1e-15))
    said = capsys.readouterr().out
    assert f"warning: {backend} in 32 bits, within " in said
    assert "of torch in 32 bits: more than tolerance=1e-15" in said
    assert "networks: torch in 32 bits\n" in said
    expected = infer(options(run, exams, tmp_path, backend="torch"))
    pd.testing.assert_frame_equal(found.images, expected.images, check_exact=True)
    with pytest.raises(StrictError, match=f"strict: {backend} in 32 bits"):
        infer(options(run, exams, tmp_path, backend=backend, tolerance=1e-15, strict=True))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_is_let_through_by_a_tolerance_for_it_alone(run, exams, tmp_path, backend):
    """The logits of these networks lie within 2 of each other: bf16 is off by some 0.01 of them."""
    pytest.importorskip(backend)
    trained = load_trained(run)
    strict = choose(trained, backend, "bf16", CPU, 1e-6)
    assert (strict.precision, len(strict.given_up)) == ("32", 1)
    assert strict.backend == backend
    loose = choose(trained, backend, "bf16", CPU, 0.5)
    if loose.precision == "32":
        assert "this CPU has no bf16" in loose.given_up[0]
    else:
        assert (loose.backend, loose.precision, loose.given_up) == (backend, "bf16", ())
        assert 1e-6 < loose.difference < 0.5


def test_a_runtime_that_cannot_run_the_networks_is_given_up(run, exams, empty_cache, monkeypatch):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")

    def fail(*_):
        raise RuntimeError("no conversion for aten::new_one\nand more lines")

    monkeypatch.setattr("rsna.inference.backends.openvino_networks.write_openvino", fail)
    with rsna.Predictor(run, workers=1) as predictor:
        found = predictor.predict(exams)
    assert not found.failures
    why = "openvino cannot run these networks (RuntimeError: no conversion for aten::new_one)"
    assert why in found.notes
    assert [choice.backend for choice in predictor.choices] == ["torch"]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_every_verb_gives_torchs_probabilities_with_another_runtime(run, exams, tmp_path, backend, capsys):
    pytest.importorskip(backend)
    if backend == "onnxruntime":
        pytest.importorskip("onnxscript")
    expected = infer(options(run, exams, tmp_path, backend="torch")).images
    found = infer(options(run, exams, tmp_path, backend=backend)).images
    assert f"networks: {backend} in 32 bits, within " in capsys.readouterr().out
    assert found["failure"].eq("").all()
    np.testing.assert_allclose(found["probability"], expected["probability"], atol=2e-4)
    assert not found["probability"].equals(expected["probability"])
    with rsna.Predictor(run, workers=1, backend=backend) as predictor:
        images = predictor.predict(exams).images
    np.testing.assert_allclose([image.probability for image in images], expected["probability"], atol=2e-4)
    assert main(["predict", f"input={exams}", f"run={run}", "workers=1", f"backend={backend}", "precision=32"]) == 0


def test_progress_of_one_runtime_is_not_taken_for_anothers(run, exams, tmp_path):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    (exams / "test_images" / "p0" / "10.dcm").rename(tmp_path / "away.dcm")
    try:
        assert infer(options(run, exams, tmp_path, backend="torch")).stages.prepared == 7
        assert infer(options(run, exams, tmp_path, backend="openvino")).stages.prepared == 7
        assert infer(options(run, exams, tmp_path, backend="openvino", batch_size=3)).stages.prepared == 0
    finally:
        (tmp_path / "away.dcm").rename(exams / "test_images" / "p0" / "10.dcm")


def test_the_check_sees_one_image_in_one_fold(run):
    trained = load_trained(run)
    images = check_images(trained.preprocess, most=3)
    assert len(images) == 3

    class Off(TorchNetworks):
        def logits(self, batch, plan=None):
            logits = super().logits(batch, plan)
            logits[1, -1] += 0.04
            return logits

    networks = trained.networks()
    expected = TorchNetworks(networks, CPU[0])
    off = Off(networks, CPU[0])
    assert largest_anywhere(off, expected, images, 0) == pytest.approx(0.01, abs=1e-4)
    assert 0 < largest_difference(off, expected, images, 0) < 0.01
    assert largest_anywhere(expected, expected, images, 0) < 1e-4


def test_a_model_of_whole_breasts_is_checked_and_predicted_as_such(exams, tmp_path):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    run = write_run(tmp_path / "run", trained=(0,), unit="breast")
    ours, theirs = (infer(options(run, exams, tmp_path, backend=backend)).images for backend in ("openvino", "torch"))
    np.testing.assert_allclose(ours["probability"], theirs["probability"], atol=2e-4)
    assert ours.groupby("prediction_id")["probability"].nunique().eq(1).all()


def test_a_runtime_that_does_not_load_is_given_up_although_networks_were_converted(run, empty_cache, monkeypatch):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    trained = load_trained(run)
    assert choose(trained, "openvino", "auto", CPU, 1e-3).backend == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(choice, "find_spec", lambda name: name)  # it is there
    found = choose(trained, "auto", "auto", CPU, 1e-3)
    assert found.backend == "torch"
    assert "openvino cannot run these networks" in found.given_up[0]


def test_a_folder_of_that_name_is_no_runtime(run, monkeypatch):
    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(choice, "version", unknown)
    trained = load_trained(run)
    assert choose(trained, "auto", "auto", CPU, 1e-3).backend == "torch"
    with pytest.raises(ConfigError, match="openvino is not installed"):
        choose(trained, "openvino", "auto", CPU, 1e-3)


def test_under_a_time_budget_nothing_is_converted_whatever_is_asked_for(run, exams, empty_cache, tmp_path, capsys):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    infer(options(run, exams, tmp_path, backend="openvino", time_budget="1h"))
    assert "no networks were converted for openvino before" in capsys.readouterr().out
    infer(options(run, exams, tmp_path, backend="openvino", out=str(tmp_path / "t.csv")))
    infer(options(run, exams, tmp_path, backend="openvino", time_budget="1h", out=str(tmp_path / "u.csv")))
    assert "openvino in 32 bits" in capsys.readouterr().out.rpartition("within")[0]
