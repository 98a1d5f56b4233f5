"""Breasts of any number of images, with their other side and their table, have torch's logits in every runtime."""

import numpy as np
import pytest
import torch

from rsna.inference.batch import ImageFacts, stack_batch
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.runs.trained_model import load_trained
from tests.inference.runs import SIZE, write_run
from tests.inference.test_breasts import INPUTS

KINDS = ("mean", "max", "attention", "transformer")
PLAN = PassPlan(2, True)


@pytest.fixture(scope="module", params=KINDS)
def networks(request, tmp_path_factory):
    run = write_run(
        tmp_path_factory.mktemp("runs") / request.param, unit="breast", compare=True, inputs=INPUTS,
        fusion={"kind": request.param, "width": 16, "heads": 2},
        model={"backbone": "test_efficientnet", "pretrained": False},
    )  # fmt: skip
    return load_trained(run).networks()


@pytest.fixture(scope="module")
def batch():
    """Breasts of one to eight images, beside none to three of the other side."""
    generator = np.random.default_rng(0)
    examples, facts = [], []
    for own in range(1, 9):
        beside = own % 4
        images = generator.integers(0, 256, (own + beside, *SIZE), dtype=np.uint8)
        age = generator.choice([41.0, 63.0, np.nan], (len(images), 1))
        others = generator.choice([0.0, 1.0, np.nan], (len(images), len(INPUTS) - 1))
        table = np.concatenate([age, others], axis=1).astype(np.float32)
        examples.append(list(images))
        facts.append(ImageFacts(table, np.arange(len(images)) >= own))
    return stack_batch(examples, facts)


def expected_of(networks, batch):
    logits = TorchNetworks(networks, torch.device("cpu"), "32").logits(batch, PLAN)
    assert logits.shape == (4, 8, 1)
    assert len(np.unique(logits.round(4))) > 16
    return logits


@pytest.mark.slow
def test_onnxruntime_joins_them_as_torch_does(networks, batch):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    from rsna.inference.backends.onnx_networks import OnnxNetworks, to_onnx

    expected = expected_of(networks, batch)
    ours = OnnxNetworks([to_onnx(network, SIZE) for network in networks])
    np.testing.assert_allclose(ours.logits(batch, PLAN), expected, atol=1e-3)


@pytest.mark.slow
def test_openvino_joins_them_as_torch_does(networks, batch, tmp_path):
    pytest.importorskip("openvino", reason="the extra cpu is not installed")
    from rsna.inference.backends.openvino_networks import OpenVinoNetworks, write_openvino

    expected = expected_of(networks, batch)
    write_openvino(networks, SIZE, tmp_path / "folds.xml")
    np.testing.assert_allclose(OpenVinoNetworks(tmp_path / "folds.xml").logits(batch, PLAN), expected, atol=1e-3)
