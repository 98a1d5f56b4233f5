"""OpenVINO predicts what torch predicts, of any number of images and examples, by any plan."""

import os
import subprocess
import sys
from importlib.metadata import distributions

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra cpu is not installed")

import torch

from rsna.config.model import ModelSettings
from rsna.inference.backends.openvino_networks import OpenVinoNetworks, write_openvino
from rsna.inference.batch import Batch
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.model.network import build_model
from rsna.runs.trained_model import load_trained
from tests.inference.runs import SIZE
from tests.prepare import phantoms


@pytest.fixture(scope="module")
def images():
    breasts = [phantoms.breast(*SIZE, side="left", muscle=False, seed=k)[0] for k in range(6)]
    return (np.stack(breasts) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pair(run, tmp_path_factory):
    """The same networks with OpenVINO and with torch."""
    file = tmp_path_factory.mktemp("openvino") / "folds.xml"
    networks = load_trained(run).networks()
    write_openvino(networks, SIZE, file)
    return OpenVinoNetworks(file), TorchNetworks(networks, torch.device("cpu"))


@pytest.mark.parametrize("plan", [PassPlan(2, True), PassPlan(2, False), PassPlan(1, True), None])
@pytest.mark.parametrize("example", [None, [0, 0, 0, 1, 2, 2], [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
def test_the_logits_are_torchs(pair, images, plan, example):
    ours, theirs = pair
    example = None if example is None else np.array(example)
    found, expected = ours.logits(Batch(images, example), plan), theirs.logits(Batch(images, example), plan)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found) > 0.1


def test_an_image_has_the_same_logits_to_the_last_bit_whatever_stands_beside_it(pair, images):
    ours, _ = pair
    assert ours.batch_invariant
    whole = ours.logits(Batch(images))
    for place in range(len(images)):
        np.testing.assert_array_equal(ours.logits(Batch(images[place : place + 1]))[:, 0], whole[:, place])
    np.testing.assert_array_equal(ours.logits(Batch(images[2:5])), whole[:, 2:5])


def test_images_of_16_bits_use_their_range(pair, images):
    ours, _ = pair
    np.testing.assert_allclose(
        ours.logits(Batch(images.astype(np.uint16) * 257)), ours.logits(Batch(images)), atol=1e-5
    )


@pytest.mark.parametrize(
    "model",
    [
        {"backbone": "vit_tiny_patch16_224"},
        {"backbone": "swin_tiny_patch4_window7_224"},
        {"backbone": "efficientnet_b0", "pooling": "gem", "in_chans": 3, "resize": 48, "crop": 32},
    ],
)
def test_networks_of_other_families_and_other_settings_can_be_converted(tmp_path, images, model):
    torch.manual_seed(0)
    network = build_model(ModelSettings(**model, pretrained=False), 2).eval()
    torch.nn.init.normal_(network.classifier.weight)
    write_openvino([network], SIZE, tmp_path / "folds.xml")
    example = np.array([0, 0, 1, 2, 3, 3])
    found = OpenVinoNetworks(tmp_path / "folds.xml").logits(Batch(images, example))
    expected = TorchNetworks([network], torch.device("cpu")).logits(Batch(images, example))
    np.testing.assert_allclose(found, expected, atol=4e-3)  # of a probability at most 0.001


NOBODY = """
import socket, sys
asked = []
socket.getaddrinfo = lambda host, *_: asked.append(host) or (_ for _ in ()).throw(OSError)
from rsna.inference.backends.choice import choose, load_networks
from rsna.runs.trained_model import load_trained
import torch
trained = load_trained(sys.argv[1])
choice = choose(trained, "openvino", "32", [torch.device("cpu")], 1e-3)
load_networks(trained, choice)
import threading
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join(2)
print(choice.backend, asked)
"""


def test_openvino_reports_to_nobody(run, tmp_path):
    pytest.importorskip("openvino")
    if not any(one.name == "openvino-telemetry" for one in distributions()):
        pytest.skip("what would report is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"} | {
        "HOME": str(tmp_path)
    }
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, str(run)], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[-2] == "openvino []"
    assert {path.name for path in tmp_path.iterdir()} <= {".cache"}
