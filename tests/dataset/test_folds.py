"""Folds split patients, evenly, the same way every time."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsna.dataset.folds import check_splits, folds_hash, load_folds, make_folds, summarise, write_folds
from rsna.dataset.table import TableError, check_frame, read_csv


def make_frame(n_patients: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        cancer, site = int(rng.random() < 0.15), int(rng.integers(1, 3))
        for image in range(int(rng.integers(1, 6))):
            rows.append((str(patient), f"{patient}-{image}", cancer, site, site * 10 + int(rng.integers(3))))
    return pd.DataFrame(rows, columns=["patient_id", "image_id", "cancer", "site_id", "machine_id"])


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 200), st.integers(2, 5), st.integers(0, 1000))
def test_no_patient_leaks_and_positives_are_even(n_patients, n_folds, seed):
    frame = make_frame(n_patients, seed)
    folds = make_folds(frame, n_folds, seed)
    assert folds["image_id"].tolist() == frame["image_id"].tolist()
    assert folds.groupby("patient_id")["fold"].nunique().max() == 1
    table = summarise(folds, frame)
    assert table["patients"].max() - table["patients"].min() <= 1
    assert table["positive patients"].max() - table["positive patients"].min() <= 1


def test_every_stratum_is_even():
    frame = make_frame(400)
    joined = frame.assign(fold=make_folds(frame, 4)["fold"]).drop_duplicates("patient_id")
    counts = joined.groupby(["cancer", "site_id", "fold"]).size().unstack()
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 3  # one a machine


def test_folds_do_not_depend_on_the_order_of_rows_but_on_the_seed():
    frame = make_frame(60)
    shuffled = frame.sample(frac=1, random_state=1)
    assert folds_hash(make_folds(frame)) == folds_hash(make_folds(shuffled))
    assert folds_hash(make_folds(frame)) != folds_hash(make_folds(frame, seed=1))


def test_written_folds_are_read_back(tmp_path):
    frame = make_frame(30)
    folds = make_folds(frame)
    write_folds(folds, tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(load_folds(tmp_path / "folds.csv", frame), folds)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="fold"), "has no column fold"),
        (lambda f: f.assign(fold=[9, *f["fold"][1:]]), "1 patients stand in more than one fold"),
        (lambda f: f.iloc[6:], "images have no fold"),
        (lambda f: f.assign(fold=f["fold"] + 1), "folds are numbered"),
    ],
)
def test_folds_that_do_not_fit_are_refused(tmp_path, spoil, message):
    frame = make_frame(30, seed=3)
    spoil(make_folds(frame)).to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(TableError, match=message):
        load_folds(tmp_path / "folds.csv", frame)


def test_leaks_are_found_in_anybodys_files(tmp_path):
    pd.DataFrame({"patient_id": [1, 1, 2], "fold": [0, 1, 1]}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"patient_id": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame({"patient_id": [2, 3]}).to_csv(tmp_path / "v.csv", index=False)
    assert check_splits(tmp_path / "s.csv") == ["1"]
    assert check_splits(train=tmp_path / "t.csv", valid=tmp_path / "v.csv") == ["2"]
    with pytest.raises(TableError, match="has no column fold"):
        check_splits(tmp_path / "t.csv")


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(TableError, match="4 folds need as many patients, the table has 2"):
        make_folds(make_frame(2))


@pytest.mark.skipif("RSNA_TEST_DATA" not in os.environ, reason="RSNA_TEST_DATA names no folder with real files")
def test_the_competitions_table_is_split_evenly():
    csv = Path(os.environ["RSNA_TEST_DATA"]) / "rsna" / "train.csv"
    frame = check_frame(read_csv(csv), csv)
    table = summarise(make_folds(frame, 4), frame)
    assert table["images"].sum() == 54_706
    assert table["positive patients"].max() - table["positive patients"].min() <= 2
