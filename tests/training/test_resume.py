"""A run that was killed goes on as if nothing had happened; what is finished is kept; what does not fit is refused."""

import csv
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from rsna.config.settings import ConfigError
from rsna.runs.run_directory import RunError
from rsna.training.callbacks.checkpoints import CheckpointError
from tests.training.tiny import die_at_step, tiny_config, train_here

EVERYTHING = {
    "model__drop_rate": 0.3, "model__drop_path_rate": 0.2, "trainer__ema": 0.9, "augment__mixup": 0.4,
    "sampler__kind": "balanced", "trainer__epochs": 3, "batch_size_per_device": 4, "global_batch_size": 8, "soup": 2,
}  # fmt: skip
"""Whatever holds state or draws at random; three steps of two micro-batches an epoch."""


def weights(folder):
    return load_file(folder / "run" / "fold0" / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def history(folder):
    """Rows of history.csv without what the clock and the machine say."""
    rows = list(csv.DictReader((folder / "run" / "fold0" / "history.csv").open()))
    return [[row[key] for key in ("epoch", "step", "lr", "train_loss", "val_loss", "val_pf1")] for row in rows]


def checkpoint(folder, name="last"):
    return folder / "run" / "fold0" / "checkpoints" / f"{name}.ckpt"


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The run with everything, in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name in ("set", "cache"):
        shutil.copytree(prepared / name, folder / name)
    train_here(tiny_config(folder, **EVERYTHING))
    return folder


@pytest.fixture
def finished(prepared, tiny):
    """The plain run of one fold, finished."""
    shutil.copytree(prepared / "run", tiny / "run")
    return tiny


@pytest.mark.parametrize(("workers", "every", "step", "inside"), [(0, 1, 4, True), (2, 1, 5, True), (0, 0, 3, False)])
def test_killed_and_started_again_the_weights_are_the_same_bit_for_bit(tiny, undisturbed, workers, every, step, inside):
    config = tiny_config(tiny, **EVERYTHING, trainer__workers=workers, trainer__checkpoint_every_steps=every)
    assert die_at_step(config, step) == -signal.SIGKILL
    at = torch.load(checkpoint(tiny), "cpu", weights_only=True)
    assert at["global_step"] == step
    assert (step % 3 != 0) == inside
    train_here(config)
    assert same(weights(tiny), weights(undisturbed))
    assert history(tiny) == history(undisturbed)


def torn(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file):
    """One bit within a tensor, which torch would load as another number."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1 << 6
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [torn, flipped])
def test_a_broken_last_checkpoint_falls_back_to_the_one_before(spoil, tiny, undisturbed, capsys):
    config = tiny_config(tiny, **EVERYTHING, trainer__checkpoint_every_steps=1)
    assert die_at_step(config, 5) == -signal.SIGKILL
    spoil(checkpoint(tiny))
    train_here(config)
    said = capsys.readouterr().out
    assert "last.ckpt does not load" in said
    assert "goes on from" in said
    assert "previous.ckpt" in said
    assert same(weights(tiny), weights(undisturbed))


def test_without_any_checkpoint_that_loads_nothing_is_trained_over(tiny):
    config = tiny_config(tiny)
    assert die_at_step(config, 1) == -signal.SIGKILL
    checkpoint(tiny).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"last\.ckpt: no checkpoint loads; remove .*checkpoints"):
        train_here(config)


def test_within_an_epoch_steps_stay_made_up_as_they_were(tiny):
    plain = EVERYTHING | {"sampler__kind": "plain"}
    config = tiny_config(tiny, **plain, trainer__checkpoint_every_steps=1)
    assert die_at_step(config, 4) == -signal.SIGKILL
    other = tiny_config(tiny, **plain | {"batch_size_per_device": 8})
    with pytest.raises(ConfigError, match=r"within an epoch of 8 examples a step = 1 device\(s\) × 4 × 2"):
        train_here(other)


def test_balanced_batches_keep_their_size(tiny, undisturbed):
    shutil.copytree(undisturbed / "run", tiny / "run")
    other = tiny_config(tiny, **EVERYTHING | {"batch_size_per_device": 8})
    with pytest.raises(RunError, match="batch_size_per_device: 4 → 8"):
        train_here(other)


@pytest.mark.parametrize("spoilt", ["last.ckpt", "epoch0002.safetensors"])
def test_the_weights_that_the_checkpoint_before_the_last_counts_are_there_still(spoilt, tiny):
    config = tiny_config(tiny, **EVERYTHING | {"soup": 1})
    assert die_at_step(config, 6) == -signal.SIGKILL
    folder = checkpoint(tiny).parent
    assert sorted(file.name for file in folder.glob("*.safetensors")) == [
        "epoch0001.safetensors",
        "epoch0002.safetensors",
    ]
    flipped(folder / spoilt)
    train_here(config)
    assert [file.name for file in folder.glob("*.safetensors")] == ["epoch0003.safetensors"]


def test_a_finished_fold_is_kept(finished, capsys):
    before = (finished / "run" / "fold0" / "model.safetensors").stat().st_mtime_ns
    train_here(tiny_config(finished))
    assert "fold 0: finished before, kept" in capsys.readouterr().out
    assert (finished / "run" / "fold0" / "model.safetensors").stat().st_mtime_ns == before


def test_with_the_other_fold_the_pooled_figures_come(finished, capsys):
    train_here(tiny_config(finished, fold="all", trainer__progress="auto"))
    assert "pooled" in capsys.readouterr().out
    assert (finished / "run" / "cv" / "metrics.json").exists()


def test_a_run_of_another_configuration_is_refused_with_every_difference(finished):
    with pytest.raises(RunError) as caught:
        train_here(tiny_config(finished, optim__lr=0.5, model__drop_rate=0.1, trainer__workers=2))
    said = str(caught.value)
    assert "optim.lr: 0.001 → 0.5" in said
    assert "model.drop_rate: 0.3 → 0.1" in said
    assert "workers" not in said
    assert "name=…" in said


def test_a_run_of_other_data_is_refused_by_hash(finished):
    table = finished / "set" / "train.csv"
    table.write_text(table.read_text().replace("0CC,L,CC,1,1", "0CC,L,CC,1,0"))
    with pytest.raises(RunError, match="dataset hash: "):
        train_here(tiny_config(finished))
