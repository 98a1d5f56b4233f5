"""Folds split patients, evenly, the same way every time."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsna.config.data import FoldSettings
from rsna.dataset.folds import (
    check_splits,
    folds_for,
    folds_hash,
    leaking_patients,
    load_folds,
    make_folds,
    part_names,
    summarise,
    without_positives,
    write_folds,
)
from rsna.dataset.table import REQUIRED, TableError, check_frame, read_rows


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


def test_what_is_unlabelled_is_counted_as_such():
    frame = make_frame(40)
    table = summarise(make_folds(frame), frame)
    assert "unlabelled images" not in table
    some = frame.assign(cancer=frame["cancer"].where(frame["cancer"].eq(1) | (np.arange(len(frame)) % 2 == 0)))
    partly = summarise(make_folds(frame), some)
    assert partly["positive images"].tolist() == table["positive images"].tolist()
    assert partly["unlabelled images"].sum() == some["cancer"].isna().sum() > 0
    none = summarise(make_folds(frame), frame.assign(cancer=np.nan))
    assert none.columns.tolist() == ["fold", "images", "patients", "unlabelled images"]


def test_folds_do_not_depend_on_the_order_of_rows_but_on_the_seed():
    frame = make_frame(60)
    shuffled = frame.sample(frac=1, random_state=1)
    assert folds_hash(make_folds(frame)) == folds_hash(make_folds(shuffled))
    assert folds_hash(make_folds(frame)) != folds_hash(make_folds(frame, seed=1))


def test_written_folds_are_read_back(tmp_path):
    frame = make_frame(30)
    folds = make_folds(frame)
    write_folds(folds, tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(load_folds(tmp_path / "folds.csv", frame, []), folds)


def test_images_that_a_file_does_not_list_go_with_their_patient(tmp_path):
    """So whole images are split as the lesions were that another run was trained on."""
    frame = pd.DataFrame({"patient_id": list("aabbcc"), "image_id": [f"whole{i}" for i in range(6)]})
    lesions = pd.DataFrame({"patient_id": list("abc"), "image_id": ["l1", "l2", "l3"], "fold": [0, 1, 0]})
    write_folds(lesions, tmp_path / "folds.csv")
    notes = []
    assert load_folds(tmp_path / "folds.csv", frame, notes)["fold"].tolist() == [0, 0, 1, 1, 0, 0]
    assert "does not list 6 images; each is in the fold of its patient" in notes[-1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="fold"), "has no column fold"),
        (
            lambda f: f.assign(fold=[9, *f["fold"][1:]]),
            r"1 patients stand in more than one fold \(first: 0; 0 is in folds 0, 9\)",
        ),
        (lambda f: f.iloc[6:], "images have no fold"),
        (lambda f: f.assign(fold=f["fold"] + 1), "folds are numbered"),
        (lambda f: f.assign(fold=["a", *f["fold"][1:]]), r"1 rows have a fold that is no whole number; .* line 2\)"),
        (lambda f: f.assign(fold=f["fold"] + 0.5), r"rows have a fold that is no whole number; number them 0, 1, …"),
        (lambda f: f.assign(fold=[*f["fold"][:-2], None, None]), r"2 rows have no fold; fill it in \(first: line \d+"),
        (lambda f: f.assign(patient_id=[None, *f["patient_id"][1:]]), "1 rows have no patient_id"),
        (lambda f: f.iloc[:0], "has no rows"),
        (
            lambda f: pd.concat([f, f.iloc[:1].assign(patient_id="x", fold=3)]),
            "2 rows put one image into several folds",
        ),
        (
            lambda f: f.assign(patient_id=f["image_id"], fold=range(len(f))),
            "by the patient_id of the table, .* patients",
        ),
    ],
)
def test_folds_that_do_not_fit_are_refused(tmp_path, spoil, message):
    frame = make_frame(30, seed=3)
    spoil(make_folds(frame)).to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(TableError, match=message):
        load_folds(tmp_path / "folds.csv", frame, [])


@pytest.mark.parametrize("made", [True, False])
def test_a_fold_without_positives_is_said(tmp_path, made):
    frame = make_frame(30, seed=3)
    frame["cancer"] = frame["patient_id"].isin(frame["patient_id"].unique()[:2]).astype(float)
    if not made:
        write_folds(make_folds(frame), tmp_path / "folds.csv")
    notes: list[str] = []
    folds = folds_for(frame, FoldSettings(file="" if made else str(tmp_path / "folds.csv")), notes)
    having = set(folds.loc[frame["cancer"].eq(1), "fold"])
    assert len(having) == 2
    lacking = ", ".join(str(fold) for fold in range(4) if fold not in having)
    assert notes == [f"no positive in fold {lacking}: no pF1 and no AUROC of its own"]


def test_what_one_fold_with_all_positives_costs_is_said():
    frame = make_frame(30, seed=3)
    frame["cancer"] = frame["patient_id"].eq(frame["patient_id"].iloc[0]).astype(float)
    folds = make_folds(frame)
    (line,) = without_positives(folds, frame)
    assert f"fold {folds['fold'].iloc[0]} has them all, so it is trained without any" in line
    assert "no nested pF1" in line


def test_even_folds_and_unknown_labels_are_not_spoken_of():
    frame = make_frame(60, seed=3)
    assert without_positives(make_folds(frame), frame) == []
    for nothing in (frame.drop(columns="cancer"), frame.assign(cancer=np.nan), frame.assign(cancer=0.0)):
        assert without_positives(make_folds(nothing), nothing) == []


def test_leaks_are_found_in_anybodys_files(tmp_path):
    pd.DataFrame({"patient_id": [1, 1, 2], "fold": [0, 1, 1]}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"patient_id": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame({"patient_id": [2, 3]}).to_csv(tmp_path / "v.csv", index=False)
    assert check_splits([], tmp_path / "s.csv") == ["1"]
    assert check_splits([], train=tmp_path / "t.csv", valid=tmp_path / "v.csv") == ["2"]
    with pytest.raises(TableError, match="has no column fold"):
        check_splits([], tmp_path / "t.csv")


@pytest.mark.parametrize("spelling", ["10102.0", " 10102", "10102 ", " 10102.00 "])
def test_one_patient_in_two_spellings_is_a_leak(tmp_path, spelling):
    (tmp_path / "t.csv").write_text("patient_id\n10102\nP1.0\n010103\n")
    (tmp_path / "v.csv").write_text(f"patient_id\n{spelling}\nP1\n10103\n")
    assert check_splits([], train=tmp_path / "t.csv", valid=tmp_path / "v.csv") == ["10102"]
    (tmp_path / "s.csv").write_text(f"patient_id,fold\n10102,0\n{spelling},1\n")
    assert check_splits([], tmp_path / "s.csv") == ["10102"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"s\.csv: is empty"),
        ("patient_id,fold\n", "has no rows"),
        ("patient;part\n1;0\n", "has no column patient_id, fold; it has patient, part"),
        ("patient_id,fold\n1,0\n,1\n", r"1 rows have no patient_id; fill it in \(first: line 3\)"),
        ("patient_id,fold\n1,0\n1,\n", r"1 rows have no fold; fill it in \(first: line 3\)"),
    ],
)
def test_splits_that_cannot_be_checked_are_refused(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        check_splits([], tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,image_id,cancer\n1,2,0\n", "has no column laterality; it has patient_id, image_id, cancer"),
        ("image_id,laterality\n1,L\n", "has no column patient_id; it has image_id, laterality"),
        ("patient_id,image_id,laterality\n1,2,X\n", "1 rows have a laterality other than L and R"),
    ],
)
def test_labels_that_folds_cannot_be_made_of_are_refused(tmp_path, text, message):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        check_frame(read_rows(tmp_path / "train.csv", [], REQUIRED), tmp_path / "train.csv")


def test_fewer_patients_than_folds_are_refused():
    with pytest.raises(TableError, match="4 folds need as many patients, the table has 2"):
        make_folds(make_frame(2))


@pytest.mark.skipif("RSNA_TEST_DATA" not in os.environ, reason="RSNA_TEST_DATA names no folder with real files")
def test_the_competitions_table_is_split_evenly():
    csv = Path(os.environ["RSNA_TEST_DATA"]) / "rsna" / "train.csv"
    frame = check_frame(read_rows(csv, []), csv)
    table = summarise(make_folds(frame, 4), frame)
    assert table["images"].sum() == 54_706
    assert table["positive patients"].max() - table["positive patients"].min() <= 2


def test_folds_by_a_column_leave_one_value_out():
    frame = make_frame(300)
    notes: list[str] = []
    folds = folds_for(frame, FoldSettings(by="machine_id", smallest=1), notes)
    assert folds["image_id"].tolist() == frame["image_id"].tolist()
    assert leaking_patients(folds) == []
    # Numbered by name; a patient of several machines is whole in the first.
    first = frame.groupby("patient_id")["machine_id"].min().astype(str)
    assert part_names(folds) == dict(enumerate(sorted(first.unique())))
    assert folds["part"].tolist() == frame["patient_id"].map(first).tolist()
    assert any("patients are of several parts" in note for note in notes)


def test_small_parts_are_one_together_and_said():
    frame = pd.DataFrame({"patient_id": [str(i) for i in range(100)], "site_id": [5.0] * 60 + [7.0] * 30 + [12.0] * 10})
    frame = frame.assign(image_id=frame["patient_id"], cancer=0)
    notes: list[str] = []
    folds = folds_for(frame, FoldSettings(by="site_id", smallest=50), notes)
    assert part_names(folds) == {0: "5", 1: "others"}
    assert "2 of fewer than 50 patients are one part together, others: 12, 7" in notes[0]
    frame.loc[95:, "site_id"] = np.nan
    assert part_names(folds_for(frame, FoldSettings(by="site_id", smallest=5), [])) == {
        0: "12", 1: "5", 2: "7", 3: "not given"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (FoldSettings(by="machine_id"), "folds.by: the table has no column machine_id"),
        (FoldSettings(by="dataset"), "no column dataset; name further sets with data.extra"),
        (FoldSettings(by="site_id", smallest=1000), "one part alone (others), and parts of fewer than 1000 patients"),
    ],
)
def test_a_column_that_makes_no_parts_is_refused(settings, said):
    frame = make_frame(40).drop(columns="machine_id")
    with pytest.raises(TableError, match=re.escape(said)):
        folds_for(frame, settings, [])


def test_names_of_parts_travel_with_the_file(tmp_path):
    frame = make_frame(300)
    folds = folds_for(frame, FoldSettings(by="site_id", smallest=1), [])
    write_folds(folds, tmp_path / "folds.csv")
    again = folds_for(frame, FoldSettings(file=str(tmp_path / "folds.csv")), [])
    assert part_names(again) == part_names(folds) == {0: "1", 1: "2"}
    assert folds_hash(again) == folds_hash(folds)
    assert summarise(folds, frame)["part"].tolist() == ["1", "2"]
    folds.assign(part=[str(row) for row in range(len(folds))]).to_csv(tmp_path / "folds.csv", index=False)
    notes = []
    assert part_names(folds_for(frame, FoldSettings(file=str(tmp_path / "folds.csv")), notes)) == {}
    assert "its column part has several values in a fold, and names none" in notes[-1]
