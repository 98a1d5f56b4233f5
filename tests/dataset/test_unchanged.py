"""A set that is just as it was when all of it was prepared is known without its table; whatever changes has it read."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rsna.config.schema import Config
from rsna.config.settings import from_mapping
from rsna.dataset import unchanged
from rsna.dataset.source import load_data, prepare_set, with_value_range
from rsna.dataset.unchanged import recall_set, remember_set
from rsna.prepare.cache import Cache, Entry, FileStamp
from rsna.prepare.complete import Complete, record_complete
from rsna.prepare.geometry import Geometry

GEOMETRY = Geometry((10, 8), (0, 0, 8, 10), False, (10, 8), (0, 0), (10, 8), breast_found=False)


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """Of a set of four images of two patients, all of them prepared, which was remembered."""
    monkeypatch.setattr(unchanged, "_SETTLED_NS", -(10**12))  # folders that were written just now
    rows = [(str(k // 2), f"i{k}", "LR"[k % 2], "CC", 0) for k in range(4)]
    table = pd.DataFrame(rows, columns=["patient_id", "image_id", "laterality", "view", "cancer"])
    values = {"data": {"root": str(tmp_path / "set")}, "cache_dir": str(tmp_path / "cache")}
    config = from_mapping(Config, values)
    cache = Cache.create(config.cache_dir, "set", config.preprocess)
    entries = {}
    for patient, image_id in zip(table["patient_id"], table["image_id"], strict=True):
        file = tmp_path / "set" / "train_images" / patient / f"{image_id}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"1234")
        cache.path(image_id).touch()
        entries[image_id] = Entry("4-00", GEOMETRY, 12, FileStamp.of(str(file)))
    table.to_csv(tmp_path / "set" / "train.csv", index=False)
    cache.write_index(entries)
    record_complete(cache, entries, Complete.of(entries))
    prepare(config)
    time.sleep(0.03)  # times of files advance by some milliseconds at once
    return config


def prepare(config: Config) -> list[str]:
    """Reads everything, as `rsna prepare` does, and returns what that says."""
    said: list[str] = []
    started = time.time_ns()
    measured, table = with_value_range(config, load_data(config.data))
    cache, _ = prepare_set(measured, table, said.append)
    remember_set(config, table, cache, started)
    return [*table.notes, *said]


def test_what_is_said_is_what_reading_everything_says(config):
    lines = recall_set(config)
    assert lines == prepare(config)
    assert [line[:13] for line in lines] == ["cache " + config.cache_dir[:7], "no breast fou", "fewer than 32"]


def rewrite(file: Path) -> None:
    table = pd.read_csv(file)
    table.loc[0, "cancer"] = 1
    table.to_csv(file, index=False)


CHANGES = {
    "a label": lambda root, cache: rewrite(root / "train.csv"),
    "the time of the table": lambda root, cache: os.utime(root / "train.csv"),
    "another table": lambda root, cache: (root / "Train.csv.gz").touch(),
    "a file without a row": lambda root, cache: (root / "train_images" / "1" / "i9.dcm").touch(),
    "a patient without a row": lambda root, cache: (root / "train_images" / "2").mkdir(),
    "a file that is gone": lambda root, cache: next((root / "train_images" / "1").iterdir()).unlink(),
    "a file that was written": lambda root, cache: os.utime(next((root / "train_images" / "1").iterdir())),
    "the rights of a file": lambda root, cache: next((root / "train_images" / "1").iterdir()).chmod(0o600),
    "a prepared image that is gone": lambda root, cache: next(cache.rglob("*.tif")).unlink(),
    "the index": lambda root, cache: next(cache.rglob("index.jsonl")).write_text("edited"),
    "what was kept": lambda root, cache: next(cache.rglob("table.json")).write_text("[]"),
    "the range of values": lambda root, cache: (cache / "set" / "value_range.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_has_everything_read(config, tmp_path, change):
    change(tmp_path / "set", tmp_path / "cache")
    assert recall_set(config) is None


def test_a_file_in_a_folder_that_held_none_is_noticed(config, tmp_path):
    (tmp_path / "set" / "train_images" / "2").mkdir()
    prepare(config)
    assert recall_set(config)
    time.sleep(0.03)
    (tmp_path / "set" / "train_images" / "2" / "9.dcm").touch()
    assert recall_set(config) is None


def test_another_question_or_another_code_has_everything_read(config, monkeypatch):
    for other in (
        replace(config, data=replace(config.data, sampling="enriched")),
        replace(config, data=replace(config.data, limit=3)),
        replace(config, data=replace(config.data, name="other")),
        replace(config, preprocess=replace(config.preprocess, bits=16)),
        replace(config, preprocess=replace(config.preprocess, value_range=(0, 4095))),
    ):
        assert recall_set(other) is None
    assert recall_set(config)
    monkeypatch.setattr(unchanged, "code_hash", lambda *_: "edited")
    assert recall_set(config) is None


def test_a_folder_that_changed_while_it_was_read_is_not_believed(config, tmp_path, monkeypatch):
    monkeypatch.setattr(unchanged, "_SETTLED_NS", 2 * 10**9)
    os.utime(tmp_path / "set" / "train.csv")
    prepare(config)
    assert recall_set(config) is None
