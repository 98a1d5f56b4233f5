"""Binding a run folder, and writing results into it."""

import pandas as pd
import pytest
from pydantic import ValidationError

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset.folds import folds_hash
from rsna.dataset.table import ImageTable
from rsna.dataset.targets import get_targets
from rsna.runs import schema
from rsna.runs.errors import RunError
from rsna.runs.run import open_run
from rsna.runs.run_directory import (
    begun_otherwise,
    bind_run,
    check_run,
    fold_folder,
    is_finished,
    read_oof,
    write_results,
)
from rsna.runs.schema import RUN_FORMAT, Commit, RunRecord
from tests.board.runs import drawn

OOF = drawn(10)
FOLDS = OOF[["patient_id", "image_id", "fold"]]
HASHES = {"preprocessing": "a" * 12, "folds": folds_hash(FOLDS), "dataset": "d" * 12}


def config(**values):
    return from_mapping(Config, {"data": {"root": "set", "name": "set"}, **values})


def bind(folder, settings):
    table = ImageTable("set", folder.parent, OOF, "enriched")
    bind_run(folder, settings, FOLDS, RunRecord.of(settings, table, HASHES, get_targets(("cancer",)), (), 2))


def test_checking_writes_nothing_and_binding_writes_what_a_run_is(tmp_path):
    folder = tmp_path / "runs" / "b3"
    check_run(folder, config(), HASHES)
    assert not folder.parent.exists()
    bind(folder, config())
    check_run(folder, config(), HASHES)
    assert sorted(file.name for file in folder.iterdir()) == ["config.yaml", "folds.csv", "run.json"]
    run = open_run(folder)
    assert run.record.format == RUN_FORMAT
    assert run.record.data.model_dump() == {
        "name": "set", "sampling": "enriched", "images": 40, "simulated": False, "labels": (),
    }  # fmt: skip
    assert run.record.hashes.model_dump() == HASHES
    assert (run.config, run.record.n_folds, run.record.targets) == (config(), 2, ("cancer",))
    pd.testing.assert_frame_equal(run.folds, FOLDS)


def test_where_labels_came_from_is_recorded_by_set_and_definition(tmp_path):
    images = OOF.assign(dataset=["vindr"] * 30 + [""] * 10, cancer_from=["birads45"] * 30 + ["ours"] * 10)
    table = ImageTable("set", tmp_path, images)
    record = RunRecord.of(config(), table, HASHES, get_targets(("cancer",)), (), 2)
    bind_run(tmp_path / "b3", config(), FOLDS, record)
    ours, vindr = open_run(tmp_path / "b3").record.data.labels
    assert (vindr.dataset, vindr.cancer_from, vindr.images, vindr.release) == ("vindr", "birads45", 30, "ask")
    assert vindr.meaning.startswith("BI-RADS 4 or 5")
    assert (ours.dataset, ours.cancer_from, ours.meaning, ours.licence) == ("", "ours", "", "unknown")


def test_a_bound_folder_is_not_bound_again(tmp_path):
    bind(tmp_path / "b3", config())
    written = (tmp_path / "b3" / "run.json").read_bytes()
    bind(tmp_path / "b3", config(seed=1))
    assert (tmp_path / "b3" / "run.json").read_bytes() == written
    assert open_run(tmp_path / "b3").config.seed == 0


def test_a_run_that_another_checkout_or_other_packages_go_on_with_is_said(tmp_path, monkeypatch):
    assert begun_otherwise(tmp_path / "b3") == []
    monkeypatch.setattr(schema, "checkout_commit", lambda: Commit(hash="1a2b3c4d5e6f", dirty=False))
    bind(tmp_path / "b3", config())
    assert begun_otherwise(tmp_path / "b3") == []
    monkeypatch.setattr(schema, "checkout_commit", lambda: Commit(hash="1a2b3c4d5e6f", dirty=True))
    versions = open_run(tmp_path / "b3").record.versions | {"torch": "9.9"}
    monkeypatch.setattr(schema, "package_versions", lambda: versions)
    (line,) = begun_otherwise(tmp_path / "b3")
    assert "commit: 1a2b3c4d5e6f → 1a2b3c4d5e6f+; torch: " in line
    assert " → 9.9), as which run.json has all of its folds" in line


def test_another_experiment_is_refused_with_every_difference(tmp_path):
    bind(tmp_path / "b3", config())
    with pytest.raises(RunError) as error:
        check_run(tmp_path / "b3", config(seed=3, optim={"lr": 1e-3}), HASHES | {"dataset": "e" * 12})
    for said in ("seed: 0 → 3", "optim.lr: 0.0003 → 0.001", "dataset hash: dddddddddddd → eeeeeeeeeeee", "name=…"):
        assert said in str(error.value)


@pytest.mark.parametrize(("run", "named"), [("", "or a name of its own"), ("runs/demo", "or without run= a name")])
def test_a_name_is_no_way_out_where_the_folder_is_given(tmp_path, run, named):
    bind(tmp_path / "b3", config())
    with pytest.raises(RunError, match=rf"another folder \(run=…\), {named}"):
        check_run(tmp_path / "b3", config(run=run, seed=3), HASHES)


def test_what_says_where_a_run_is_trained_may_change(tmp_path):
    bind(tmp_path / "b3", config())
    elsewhere = config(
        fold="all", cache_dir="/scratch", data={"root": "/mnt/set", "name": "set"}, trainer={"devices": 2}
    )
    check_run(tmp_path / "b3", elsewhere, HASHES)


@pytest.mark.parametrize("name", ["thesis.txt", "fold0/model.safetensors", "fold0/checkpoints/last.ckpt", "foldable/x"])
def test_foreign_files_are_refused(tmp_path, name):
    (tmp_path / "b3" / name).parent.mkdir(parents=True)
    (tmp_path / "b3" / name).write_text("mine")
    with pytest.raises(RunError, match=r"holds files but no config.yaml, so it is no run \(first: \w+"):
        check_run(tmp_path / "b3", config(), HASHES)


def test_a_folder_that_a_start_left_before_its_first_checkpoint_may_be_used(tmp_path):
    folder = tmp_path / "b3"
    bind(folder, config(seed=1))
    (folder / "config.yaml").unlink()  # it ended while it bound the folder
    (folder / "fold0").mkdir()
    (folder / "fold0" / ".lock").touch()
    check_run(folder, config(), HASHES)
    bind(folder, config())
    assert open_run(folder).config.seed == 0


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "b3").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        check_run(tmp_path / "b3", config(), HASHES)


def test_a_fold_is_finished_once_its_metrics_are_there_and_they_must_be_readable(tmp_path):
    bind(tmp_path / "b3", config())
    metrics = {"checkpoint": "last", "data": "set", "hashes": HASHES, "fold": 0}
    with pytest.raises(ValidationError, match="surprise"):
        write_results(fold_folder(tmp_path / "b3", 0), OOF, metrics | {"surprise": 1})
    assert not is_finished(tmp_path / "b3", 0)
    assert not (tmp_path / "b3" / "fold0").exists()
    write_results(fold_folder(tmp_path / "b3", 0), OOF, metrics)
    assert is_finished(tmp_path / "b3", 0)
    pd.testing.assert_frame_equal(read_oof(tmp_path / "b3", 0), OOF)
    with pytest.raises(RunError, match=r"fold1/oof.parquet: is missing"):
        read_oof(tmp_path / "b3", 1)
