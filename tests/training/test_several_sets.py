"""Training on several sets: what each weighs, who stands in two of them, and what the run says of it."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from rsna.bundle.make import make_bundle, summary
from rsna.config.external import ValidateOptions
from rsna.config.settings import ConfigError
from rsna.config.verbs import BundleMakeOptions
from rsna.inference.validate import validate
from rsna.prepare.cache import Cache
from rsna.runs.run import open_run
from rsna.runs.training_set import read_training_set
from rsna.training.data.batch import BatchPlan
from rsna.training.data.module import MammogramData, fold_data
from rsna.training.experiment import resolve
from rsna.training.run import prepare
from tests.training.tiny import tiny_config, train_here, write_set


def other_set(root, patients=12, positives=4, seed=3, **columns):
    """Other people, whose patients have the numbers of the first set's, and whose images have names of their own."""
    write_set(root, patients=patients, positives=positives, seed=seed)
    table = pd.read_csv(root / "train.csv", dtype=str)
    table["path"] = "train_images/" + table["patient_id"] + "/" + table["image_id"] + ".png"
    table["image_id"] = root.name + table["image_id"]
    table.assign(**columns).to_csv(root / "train.csv", index=False)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    write_set(folder / "set")
    other_set(folder / "vindr", dataset="vindr", cancer_from="birads45")
    other_set(folder / "embed", dataset="embed", seed=4)
    table = pd.read_csv(folder / "vindr" / "train.csv", dtype=str)
    table["patient_id"] = "v" + table["patient_id"]
    # One woman stands in both sets under another number: the pictures of patient 3 are those of v5.
    for view in ("CC", "MLO"):
        shutil.copy(folder / "set/train_images/3" / f"3{view}.png", folder / "vindr/train_images/5" / f"5{view}.png")
    table.to_csv(folder / "vindr" / "train.csv", index=False)
    return folder


def extra(place, *names):
    return [str(place / name) for name in names]


def test_examples_of_a_set_weigh_in_the_loss_what_was_asked_for(place):
    config = tiny_config(place, run=str(place / "w"), data__extra=extra(place, "vindr"), data__extra_weights=[0.25])
    experiment = resolve(config)
    data = fold_data(experiment, 0, prepare(experiment))
    of_extra = data.training.table["source_set"].eq("vindr").to_numpy()
    loader = MammogramData(config, data, BatchPlan(1, 8, 1))
    assert np.unique(loader.training.weights[of_extra]).tolist() == [0.25]
    assert np.unique(loader.training.weights[~of_extra]).tolist() == [1.0]
    batch = next(iter(loader.train_dataloader()))
    expected = torch.where(torch.from_numpy(of_extra)[batch["index"]], 0.25, 1.0)
    assert torch.equal(batch["weight"], expected)


def test_a_woman_in_two_sets_is_not_trained_on_while_she_is_validated(place):
    config = tiny_config(place, run=str(place / "t"), data__extra=extra(place, "vindr"))
    experiment = resolve(config)
    cache = prepare(experiment)
    fold_of = dict(zip(experiment.folds["patient_id"], experiment.folds["fold"], strict=True))
    for fold in (0, 1):
        data = fold_data(experiment, fold, cache)
        trained = set(data.training.table["patient_id"])
        assert ("v5" in trained) == (fold_of["3"] != fold)
        assert {f"v{i}" for i in range(12)} - trained <= {"v5"}
        assert bool(data.notes) == (fold_of["3"] == fold)
    assert "1 patients stand in the validation, too, by equal pixels" in next(
        fold_data(experiment, fold, cache).notes[0] for fold in (0, 1) if fold_of["3"] == fold
    )


def test_equal_numbers_that_may_be_one_patients_are_said_to_be_left_out(place):
    experiment = resolve(tiny_config(place, run=str(place / "n"), data__extra=extra(place, "embed")))
    data = fold_data(experiment, 0, prepare(experiment))
    validated = set(data.validation.table["patient_id"]) & {str(i) for i in range(12)}
    (said,) = data.notes
    assert said.startswith(f"fold 0: {len(validated)} patients of data.extra have numbers that stand in the validation")
    assert data.training.table["source_set"].eq("embed").sum() == 24 - 2 * len(validated)


def test_sets_can_be_left_out_one_at_a_time(place, capsys):
    config = tiny_config(
        place, run=str(place / "by"), fold="all", folds__by="dataset", folds__smallest=1,
        data__extra=extra(place, "vindr", "embed"), trainer__epochs=1,
    )  # fmt: skip
    train_here(config)
    run = open_run(place / "by")
    assert run.parts == {0: "embed", 1: "tiny", 2: "vindr"}
    oof = run.oof()
    assert len(oof) == 48 + 24 + 24
    by_fold = oof.groupby("fold")["image_id"].agg(lambda ids: {i.rstrip("CMLO0123456789") for i in ids})
    assert by_fold.tolist() == [{"embed"}, {""}, {"vindr"}]
    assert set(oof.loc[oof["fold"] == 0, "patient_id"]) == {
        f"embed:{i}" for i in range(12)
    }  # other people than 0 to 11
    printed = capsys.readouterr().out
    assert "folds by dataset\nleft out" in printed
    assert [row["part"] for row in run.pooled.breasts.model_extra["parts"]["rows"]] == [
        "embed",
        "tiny",
        "vindr",
        "pooled",
    ]
    experiment = resolve(config)
    cache = Cache.create(config.cache_dir, experiment.table.name, config.preprocess)
    trained = fold_data(experiment, 1, cache).training.table["patient_id"]
    assert "vindr:v5" not in set(trained)  # who is patient 3, and validated here


def test_batches_mix_sets_on_request(place):
    config = tiny_config(
        place, run=str(place / "m"), data__extra=extra(place, "vindr"), sampler__spread="set",
        global_batch_size=8, batch_size_per_device=8,
    )  # fmt: skip
    experiment = resolve(config)
    data = fold_data(experiment, 0, prepare(experiment))
    loader = MammogramData(config, data, BatchPlan(1, 8, 1))
    sets = data.training.table["source_set"]
    for batch in loader.train_dataloader():
        assert set(sets.iloc[batch["index"].numpy()]) == {"tiny", "vindr"}
    with pytest.raises(ConfigError, match=r"sampler\.spread: set: the table has no column"):
        resolve(tiny_config(place, run=str(place / "n"), sampler__spread="set"))


def test_a_run_says_what_went_into_it_and_a_licence_stops_a_bundle(place, tmp_path, capsys):
    config = tiny_config(
        place, run=str(place / "run"), trainer__epochs=1, data__extra=extra(place, "vindr", "embed"),
        data__extra_weights=[0.5, 1.0],
    )  # fmt: skip
    train_here(config)
    record = open_run(place / "run").record.data
    own, embed, vindr = record.labels
    assert (own.set, own.images, own.dataset, own.licence) == ("tiny", 48, "", "unknown")
    assert (vindr.set, vindr.weight, vindr.cancer_from, vindr.release) == ("vindr", 0.5, "birads45", "ask")
    assert (embed.dataset, embed.weight, embed.release) == ("embed", 1.0, "no")
    seen = read_training_set(open_run(place / "run"))
    assert (seen.images, seen.breasts, seen.patients) == (48 + 24 + 24, 24 + 12 + 12, 24 + 12 + 12)
    capsys.readouterr()
    validate(ValidateOptions((str(place / "vindr"),), run=str(place / "run"), resamples=100, workers=1))
    assert "vindr is a set of data.extra, which was trained on: these metrics are no test" in capsys.readouterr().out
    options = BundleMakeOptions(str(place / "run"), str(tmp_path / "b"), host="none")
    with pytest.raises(ConfigError, match=r"was trained on embed \(embed\), whose licence forbids to release"):
        make_bundle(options)
    assert not (tmp_path / "b").exists()
    bundle = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "b"), host="none", despite_licence=True))
    card = (bundle / "README.md").read_text()
    assert "vindr (vindr), weight 0.5: birads45, BI-RADS 4 or 5" in card
    assert "tiny: as labelled" in card
    assert "note: embed (embed): the licence forbids" in summary(bundle)
    for number, start in enumerate((place / "run", bundle)):
        _check_that_terms_hold_for_what_starts_from(start, place, tmp_path / f"tuned{number}")


def _check_that_terms_hold_for_what_starts_from(start, place, run):
    """A run on a free set does not free the weights that it started from."""
    train_here(tiny_config(place, run=str(run), trainer__epochs=1, model__weights=str(start)))
    before = open_run(run).record.data.labels
    assert [(one.set, one.dataset, one.weight) for one in before] == [
        ("weights of run", "", 0), ("weights of run", "embed", 0), ("weights of run", "vindr", 0),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"was trained on weights of run \(embed\), weight 0, whose licence forbids"):
        make_bundle(BundleMakeOptions(str(run), f"{run}-bundle", host="none"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data__extra_weights": [1.0]}, "extra_weights: 1 for 0 sets of extra"),
        ({"data__extra": ["a"], "data__extra_cancer_from": ["auto", "auto"]}, "extra_cancer_from: 2 for 1 sets"),
        (
            {"folds__by": "site_id", "folds__file": "folds.csv"},
            "by: site_id makes folds, and file=folds.csv brings them",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, keys, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(tmp_path, **keys)
