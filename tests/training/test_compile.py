"""A compiled network trains, resumes into and predicts like a plain one; of breasts one code does for any number."""

import logging
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from rsna.config.settings import ConfigError
from rsna.dataset.examples import ExampleSpec
from rsna.model.network import build_model
from rsna.training.experiment import resolve
from rsna.training.module import compiled
from tests.training.breasts import write_breasts
from tests.training.tiny import tiny_config, train_here

BREASTS = {
    "unit": "breast", "compare": True, "table_inputs": ["age"], "fusion__kind": "transformer", "fusion__width": 16,
    "fusion__heads": 2, "loss__image_weight": 0.5, "model__drop_rate": 0.0,
}  # fmt: skip

needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, by which torch.compile builds")


@pytest.fixture(autouse=True)
def built_anew(monkeypatch, tmp_path):
    """What a test that was killed has left half built is not taken, and nothing is left."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "built"))


@pytest.fixture
def graphs(monkeypatch):
    """A function that counts the pieces of code that were compiled since the test began."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # pytest would format all of it
    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


def breasts_of(counts):
    """Images of so many views a breast, numbers of their breasts, views and ages, and which are of the other side."""
    n = sum(counts)
    example = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.randint(0, 255, (n, 1, 48, 32), dtype=torch.uint8)
    table = torch.stack([torch.arange(n) % 2, 40 + 30 * torch.rand(n)], dim=1)
    return images, example, table, torch.arange(n) % 3 == 1


def test_another_number_of_images_is_not_compiled_anew(tmp_path, graphs, monkeypatch):
    """By tracing alone, which is what decides: what is traced runs as it is."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    write_breasts(tmp_path / "set")
    experiment = resolve(tiny_config(tmp_path, **BREASTS))
    network = build_model(experiment.config.model, 1, experiment.spec)
    torch.nn.init.normal_(network.classifier.weight)
    fast = compiled(network)
    for training in (True, False):
        network.train(training)
        for counts in ([2, 3, 1, 4], [2, 2], [1, 1, 1, 1], [4, 1, 2], [3, 3, 3, 1, 1], [4], [5, 1, 1]):
            batch = breasts_of(counts)
            torch.testing.assert_close(fast(*batch, training), network(*batch, training))
    assert graphs() == 2, "one to train and one to validate"


@needs_a_compiler
@pytest.mark.slow
def test_a_compiled_run_has_the_plain_runs_keys_and_nearly_its_weights(tiny):
    plain = load_file(train_here(tiny_config(tiny, trainer__epochs=1)) / "fold0" / "model.safetensors")
    run = str(tiny / "compiled")
    fast = load_file(
        train_here(tiny_config(tiny, run=run, trainer__compile=True, trainer__epochs=1)) / "fold0" / "model.safetensors"
    )
    assert fast.keys() == plain.keys()
    difference = max(float((fast[key].double() - plain[key].double()).abs().max()) for key in plain)
    assert difference < 0.01
    assert torch.isfinite(fast["classifier.weight"]).all()


def test_without_a_compiler_it_is_refused_at_once(cached, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(ConfigError, match=r"trainer\.compile: .* there is no no-such-compiler -O2; install one"):
        resolve(tiny_config(cached, run=str(cached / "of-no-one"), trainer__compile=True))
    assert resolve(tiny_config(cached, run=str(cached / "of-no-one"))).spec == ExampleSpec()
