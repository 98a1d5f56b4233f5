"""A compiled network trains, resumes into and predicts like a plain one."""

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny import tiny_config, train_here


@pytest.mark.slow
def test_a_compiled_run_has_the_plain_runs_keys_and_nearly_its_weights(tiny):
    plain = load_file(train_here(tiny_config(tiny, trainer__epochs=1)) / "fold0" / "model.safetensors")
    run = str(tiny / "compiled")
    compiled = load_file(
        train_here(tiny_config(tiny, run=run, trainer__compile=True, trainer__epochs=1)) / "fold0" / "model.safetensors"
    )
    assert compiled.keys() == plain.keys()
    difference = max(float((compiled[key].double() - plain[key].double()).abs().max()) for key in plain)
    assert difference < 0.01
    assert torch.isfinite(compiled["classifier.weight"]).all()
