"""Breasts of any number of images, with their other side and their table: batches, ranks, a run that was cut."""

import json
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rsna.config.settings import ConfigError
from rsna.dataset.table import TableError
from rsna.evaluation.predictions import read_predictions
from rsna.model.network import build_model
from rsna.runs.trained_model import load_trained
from rsna.training.data.batch import plan_batch
from rsna.training.data.module import MammogramData
from rsna.training.data.sampler import Draw
from rsna.training.experiment import resolve
from rsna.training.run import prepare
from tests.training.breasts import write_breasts
from tests.training.tiny import die_at_step, first_fold, give_command, tiny_config, train_here

EVERYTHING = {
    "unit": "breast", "compare": True, "table_inputs": ["age", "machine_id", "site_id"], "unknown_rate": 0.3,
    "loss__image_weight": 0.5,
    "fusion__kind": "transformer", "fusion__width": 16, "fusion__heads": 2, "fusion__max_images": 2,
    "targets": ["cancer", "density"], "model__drop_rate": 0.3, "trainer__ema": 0.9, "sampler__kind": "balanced",
    "trainer__epochs": 3, "global_batch_size": 8, "batch_size_per_device": 4,
}  # fmt: skip
"""All that a breast can have, and whatever holds state or draws at random."""

PLAIN = EVERYTHING | {
    "fusion__max_images": 8, "unknown_rate": 0.0, "model__drop_rate": 0.0, "model__norm": "frozen", "trainer__ema": 0.0,
    "sampler__kind": "plain", "augment__affine": 0.7, "trainer__epochs": 1,
}  # fmt: skip
"""The same without what a rank draws for itself."""


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("breasts")
    write_breasts(folder / "set")
    prepare(resolve(tiny_config(folder)))
    return folder


@pytest.fixture
def place(cached, tmp_path):
    return copy(cached, tmp_path / "place")


def copy(cached, folder):
    for name in ("set", "cache"):
        shutil.copytree(cached / name, folder / name)
    return folder


def loader(folder, **options):
    config = tiny_config(folder, **EVERYTHING | options)
    data = first_fold(config)
    return data, MammogramData(config, data, plan_batch(config.global_batch_size, config.batch_size_per_device, 1))


def test_a_batch_has_the_images_of_its_breasts_then_those_of_the_other_side(cached):
    data, batches = loader(cached)
    table = data.validation.images
    for batch in batches.val_dataloader():
        assert len(batch["images"]) == len(batch["example"]) == len(batch["table"]) == len(batch["other"])
        for number, index in enumerate(batch["index"].tolist()):
            here = batch["example"] == number
            breast = data.validation.ids[index]
            own = table[table["prediction_id"] == breast]
            others = table[table["patient_id"].eq(breast[:-2]) & table["prediction_id"].ne(breast)]
            assert batch["other"][here].tolist() == [False] * len(own) + [True] * len(others)
            views = [{"CC": 0.0, "MLO": 1.0}.get(view) for view in [*own["view"], *others["view"]]]
            found = [None if np.isnan(value) else value for value in batch["table"][here, 0].tolist()]
            assert found == views
    assert {len(rows) for rows in data.validation.rows} == {1, 2, 3, 4}
    assert any(len(rows) == 0 for rows in data.validation.others)


def test_of_many_images_training_draws_some_and_prediction_takes_all(cached):
    changes = ("affine", "gamma", "brightness_contrast", "horizontal_flip")
    data, batches = loader(cached, **{f"augment__{change}": 0 for change in changes})
    largest = max(range(len(data.training)), key=lambda i: len(data.training.rows[i]))
    drawn = [batches.training[Draw(largest, seed)] for seed in range(40)]
    counts = {int((~one["other"]).sum()) for one in drawn}
    assert counts == {2}
    pairs = {tuple(one["images"][:2].sum(dim=(1, 2, 3)).tolist()) for one in drawn}
    assert len(pairs) == 6  # every two of four images
    again = batches.training[Draw(largest, 3)]
    assert torch.equal(again["images"], drawn[3]["images"])
    assert len(batches.validation[Draw(0, 0)]["images"]) == len(data.validation.rows[0]) + len(
        data.validation.others[0]
    )


def test_what_the_table_says_is_unknown_at_times_of_a_whole_breast(cached):
    data, batches = loader(cached, unknown_rate=0.4)
    index = next(i for i in range(len(data.training)) if len(data.training.rows[i]) == 3)
    tables = torch.stack([batches.training[Draw(index, seed)]["table"][:2, 2] for seed in range(300)])  # machine_id
    assert torch.equal(tables[:, 0].isnan(), tables[:, 1].isnan())
    assert 0.3 < tables[:, 0].isnan().float().mean() < 0.5
    assert not torch.from_numpy(batches.training.table[:, 2]).isnan().any()  # the next epoch knows it again


def test_killed_and_started_again_the_weights_are_the_same_bit_for_bit(cached, place, tmp_path):
    whole = copy(cached, tmp_path / "whole")
    train_here(tiny_config(whole, **EVERYTHING))
    config = tiny_config(place, **EVERYTHING, trainer__workers=2, trainer__checkpoint_every_steps=1)
    assert die_at_step(config, 2) == -signal.SIGKILL
    train_here(config)
    first, second = (load_file(folder / "run" / "fold0" / "model.safetensors") for folder in (whole, place))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert {"fusion.narrow.1.weight", "comparison.layer.weight", "table_embedding.vectors.0"} <= first.keys()
    assert first["comparison.layer.weight"].abs().sum() > 0


COMMAND = (
    "tracking=none", "deterministic=true", "data=rsna", "data.root=set", "data.name=tiny", "cache_dir=cache", "run=run",
    "preprocess.size=[48,32]", "preprocess.crop=none", "prepare.workers=1", "folds.n_folds=2", "fold=all",
    "model.backbone=test_efficientnet", "model.pretrained=false", "model.drop_rate=0.3", "optim.lr=1e-3",
    "unit=breast", "fusion=attention", "fusion.max_images=2", "compare=true", "table_inputs=[age,machine_id]",
    "unknown_rate=0.3", "loss.image_weight=0.5", "sampler=balanced", "global_batch_size=4", "batch_size_per_device=2",
    "trainer.accelerator=cpu", "trainer.epochs=2", "trainer.ema=0.9", "trainer.checkpoint_every_steps=2",
    "evaluation.resamples=100",
)  # fmt: skip
"""What a person types, in the folder of the set."""


@pytest.mark.slow
def test_all_folds_killed_and_started_again_end_as_if_nothing_had_been(cached, tmp_path, monkeypatch):
    whole, cut = copy(cached, tmp_path / "whole"), copy(cached, tmp_path / "cut")
    monkeypatch.chdir(whole)
    assert give_command(COMMAND) == 0
    monkeypatch.chdir(cut)
    for fold, step in ((0, 5), (1, 4)):  # of three steps an epoch; what was saved last is step 4, and an epoch's end
        assert give_command([*COMMAND, "trainer.workers=2"], (fold, step)) == -signal.SIGKILL
        assert sorted(path.parent.name for path in (cut / "run").glob("*/metrics.json")) == [
            f"fold{k}" for k in range(fold)
        ]
    assert give_command(COMMAND) == 0
    for name in ("fold0", "fold1", "cv"):
        there, here = whole / "run" / name, cut / "run" / name
        oofs = (pd.read_parquet(folder / "oof.parquet") for folder in (there, here))
        pd.testing.assert_frame_equal(*oofs, check_exact=True)
        metrics = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in (there, here)]
        first, second = ({key: one[key] for key in one.keys() - {"seconds", "checksum"}} for one in metrics)
        assert first == second
        if name != "cv":
            first, second = (load_file(folder / "model.safetensors") for folder in (there, here))
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_ranks_of_unequal_numbers_of_images_give_the_gradients_of_one_process(cached, tmp_path):
    ways = {
        "one": {"batch_size_per_device": 8},
        "accumulated": {"batch_size_per_device": 2},
        "ranks": {"batch_size_per_device": 4, "trainer__devices": 2},
    }
    found = {}
    for way, options in ways.items():
        folder = copy(cached, tmp_path / way)
        run = train_here(tiny_config(folder, **PLAIN | options))
        saved = torch.load(run / "fold0" / "checkpoints" / "last.ckpt", "cpu", weights_only=True)
        found[way] = {key: state["exp_avg"] for key, state in saved["optimizer_states"][0]["state"].items()}
    for way in ("accumulated", "ranks"):  # in one epoch: Adam makes steps of rounding where a gradient is nearly 0
        assert found[way].keys() == found["one"].keys()
        for key, expected in found["one"].items():
            torch.testing.assert_close(found[way][key], expected, rtol=0, atol=1e-7)


@pytest.fixture(scope="module")
def trained(cached, tmp_path_factory):
    folder = copy(cached, tmp_path_factory.mktemp("trained") / "place")
    train_here(tiny_config(folder, **EVERYTHING | {"fold": "all", "fusion__kind": "attention", "trainer__epochs": 4}))
    return folder


def test_every_breast_has_a_prediction_with_the_weight_of_each_image(trained):
    oof = pd.read_parquet(trained / "run" / "cv" / "oof.parquet")
    table = pd.read_csv(trained / "set" / "train.csv", dtype=str)
    breasts = table.groupby(table["patient_id"] + "_" + table["laterality"])["image_id"].apply(sorted)
    assert sorted(oof["prediction_id"]) == sorted(breasts.index)
    for row in oof.itertuples():
        assert sorted(row.image_ids) == breasts[row.prediction_id]
        assert len(row.image_weights) == len(row.image_ids) == row.views
        assert sum(row.image_weights) == pytest.approx(1, abs=1e-5)
    scored = read_predictions(trained / "run" / "cv" / "oof.parquet")
    assert len(scored) == len(oof)


def test_what_was_trained_is_read_back_as_it_was(trained):
    model = load_trained(trained / "run")
    assert model.spec.unit == "breast"
    assert model.spec.compare
    assert [(one.name, one.values) for one in model.spec.inputs] == [
        ("age", ()), ("machine_id", ("20", "21", "22")), ("site_id", ("1", "2")),
    ]  # fmt: skip
    network = model.networks()[0]
    assert network.state_dict().keys() == build_model(model.model, 5, model.spec).state_dict().keys()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"table_inputs": ["implant"]}, None, ""),
        ({"compare": True, "unit": "image"}, ConfigError, "compare: the other breast is compared with unit=breast"),
        ({"loss__image_weight": 0.5, "unit": "image"}, ConfigError, "loss.image_weight: .* with unit=breast; add that"),
        ({"fusion__kind": "max", "unit": "image"}, ConfigError, "fusion.kind: max joins the images of a breast; add"),
        ({"targets": ["view"]}, ConfigError, "targets: a breast has no view to be learnt"),
        ({"table_inputs": ["age"], "augment__mixup": 0.2}, ConfigError, "augment.mixup: 0.2 mixes .* table_inputs"),
        ({"fusion__kind": "transformer", "augment__mixup": 0.2}, ConfigError, "which knows views"),
        ({"fusion__kind": "transformer", "fusion__heads": 3}, ConfigError, "fusion.heads: 3 heads cannot share"),
        ({"table_inputs": ["age", "age"]}, ConfigError, "table_inputs: 'age' is named more than once"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(cached, options, error, said):
    plain = {"run": str(cached / "of-no-one"), "unit": "breast"}
    if error is None:
        assert resolve(tiny_config(cached, **plain | options)).spec.inputs
        return
    with pytest.raises(error, match=said):
        resolve(tiny_config(cached, **plain | options))


def test_a_table_that_lacks_what_is_wanted_is_refused(tmp_path):
    write_breasts(tmp_path / "set", patients=8)
    table = pd.read_csv(tmp_path / "set" / "train.csv")
    plain = {"unit": "breast", "run": str(tmp_path / "of-no-one")}

    def refused(changed, **options):
        changed.to_csv(tmp_path / "set" / "train.csv", index=False)
        with pytest.raises((ConfigError, TableError)) as error:
            resolve(tiny_config(tmp_path, **plain | options))
        return str(error.value)

    assert "table_inputs: the table has no column age" in refused(table.drop(columns="age"), table_inputs=["age"])
    assert "no image of" in refused(table.drop(columns="view"), fusion__kind="transformer")
    for file in (tmp_path / "set").rglob("*R?.png"):
        file.unlink()
    assert "no exam in" in refused(table[table["laterality"] == "L"], compare=True)
