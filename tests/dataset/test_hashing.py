"""Hashes over rows are those of one text over all of them, made without it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.config.settings import digest
from rsna.dataset import hashing
from rsna.dataset.folds import folds_hash
from rsna.dataset.table import HASHED, ImageTable


def at_once(*frames):
    """The dataset hash as one piece of JSON."""
    parts = []
    for frame in frames:
        cells = [c + "=" + frame[c].astype("string").fillna("") for c in HASHED if c in frame.columns]
        sizes = [str(os.stat(path).st_size) for path in frame["path"]]
        parts.append(sorted("|".join(row) for row in zip(*(c.to_numpy(object) for c in cells), sizes, strict=True)))
    return digest(parts)


@pytest.fixture
def frame(tmp_path):
    rng, rows = np.random.default_rng(0), 500
    files = [tmp_path / f"{number}.dcm" for number in range(7)]
    for number, file in enumerate(files):
        file.write_bytes(bytes(number))
    return pd.DataFrame(
        {
            "patient_id": [f'Ä"\\ {number}' for number in rng.integers(0, 99, rows)],
            "image_id": [f"€{number}" for number in rng.permutation(rows)],
            "laterality": rng.choice(["L", "R"], rows),
            "view": pd.Series(rng.choice(["CC", "MLO", ""], rows)).mask(rng.random(rows) < 0.1),
            "cancer": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(0, 2, rows)),
            "age": np.round(rng.normal(60, 9, rows), 1),
            "implant": rng.random(rows) < 0.1,
            "site_id": rng.integers(1, 3, rows),
            "machine_id": pd.array(rng.integers(1, 9, rows), dtype="Int64"),
            "density": rng.choice(np.array(["A", None, 2, 1.5, True], dtype=object), rows),
            "path": [str(files[number]) for number in rng.integers(0, 7, rows)],
        }
    )


@pytest.mark.parametrize("rows_at_once", [1 << 16, 64, 500])
def test_the_dataset_hash_is_that_of_all_rows_as_one_text(frame, monkeypatch, rows_at_once):
    monkeypatch.setattr(hashing, "_AT_ONCE", rows_at_once)
    assert ImageTable("one", Path(), frame).hash == at_once(frame)
    assert ImageTable("two", Path(), frame, extra=frame[::-1][:100]).hash == at_once(frame, frame[:-101:-1])
    assert ImageTable("none", Path(), frame[:0]).hash == at_once(frame[:0])


def test_the_folds_hash_is_that_of_all_rows_as_one_text(frame, monkeypatch):
    monkeypatch.setattr(hashing, "_AT_ONCE", 64)
    folds = frame[["patient_id", "image_id"]].assign(fold=np.arange(len(frame)) % 4)
    expected = digest(sorted(f"{one}|{fold}" for one, fold in zip(folds["image_id"], folds["fold"], strict=True)))
    assert folds_hash(folds) == folds_hash(folds[::-1]) == expected
