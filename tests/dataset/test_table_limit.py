"""A part of a set for a try: whole patients, the same ones every time, positives among them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsna.dataset.source import load_table
from rsna.dataset.table import ImageTable, TableError, limit_table
from tests.dataset.sets import make_set, rows


def make_table(n_patients: int, share: float, seed: int = 0, **fields) -> ImageTable:
    """Patients of one to seven images."""
    rng = np.random.default_rng(seed)
    images = [
        (str(patient), f"{patient}-{image}", float(cancer))
        for patient, cancer in enumerate(rng.random(n_patients) < share)
        for image in range(int(rng.integers(1, 8)))
    ]
    return ImageTable("t", Path(), pd.DataFrame(images, columns=["patient_id", "image_id", "cancer"]), **fields)


def patients(frame: pd.DataFrame) -> pd.Series:
    """cancer by patient_id."""
    return frame.groupby("patient_id")["cancer"].max()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.floats(0, 1), st.integers(7, 500), st.integers(0, 50))
def test_patients_are_whole_images_no_more_than_asked_and_room_is_used(n_patients, share, limit, seed):
    whole = make_table(n_patients, share, seed)
    part = limit_table(whole, limit).frame
    assert len(part) <= limit
    assert len(part) > min(limit, len(whole.frame)) - 7  # the next patient has seven images at most
    assert part.groupby("patient_id").size().equals(whole.frame.groupby("patient_id").size()[patients(part).index])
    assert part["image_id"].tolist() == [i for i in whole.frame["image_id"] if i in set(part["image_id"])]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_positives_keep_their_share(share):
    whole = make_table(2000, share)
    part = limit_table(whole, 1000)
    assert patients(part.frame).mean() == pytest.approx(patients(whole.frame).mean(), abs=0.01)
    assert part.sampling == "population"


def test_rare_positives_come_with_as_many_negatives_at_least_and_the_part_counts_as_enriched():
    whole = make_table(2000, 0.01)
    part = limit_table(whole, 100)
    assert patients(part.frame).sum() == 8
    assert len(patients(part.frame)) > 16
    assert part.sampling == "enriched"
    few = patients(limit_table(whole, 20).frame)
    assert 1 <= few.sum() <= np.ceil(len(few) / 2)


def test_the_draw_follows_the_patients_and_the_seed_not_the_order_of_rows():
    whole = make_table(300, 0.2)
    shuffled = ImageTable("t", Path(), whole.frame.sample(frac=1, random_state=1))
    chosen = set(limit_table(whole, 100).frame["image_id"])
    assert set(limit_table(shuffled, 100).frame["image_id"]) == chosen
    assert set(limit_table(whole, 100, seed=1).frame["image_id"]) != chosen


def test_a_part_says_how_large_it_is_and_of_what():
    whole = make_table(50, 0.5, extra=make_table(40, 0.5, seed=1).frame, notes=("as it was",))
    part = limit_table(whole, 30)
    n, positives = patients(part.frame), patients(whole.frame)
    assert part.extra is not None
    others = patients(part.extra)
    all_others = patients(whole.extra)
    assert part.notes == (
        "as it was",
        f"data.limit=30: {len(part.frame)} of {len(whole.frame)} images, {len(n)} of 50 patients "
        f"({int(n.sum())} of {int(positives.sum())} with cancer)",
        f"data.limit=30: of data.extra {len(part.extra)} of {len(whole.extra)} images, {len(others)} of 40 patients "
        f"({int(others.sum())} of {int(all_others.sum())} with cancer)",
    )


def test_a_limit_that_takes_everything_changes_nothing_and_one_below_a_patient_is_refused():
    whole = make_table(10, 0.5)
    assert limit_table(whole, len(whole.frame)).notes == ()
    assert limit_table(whole, len(whole.frame)).frame.equals(whole.frame)
    large = ImageTable("t", Path(), pd.DataFrame({"patient_id": ["a"] * 4, "image_id": list("1234"), "cancer": 0.0}))
    with pytest.raises(TableError, match="data.limit: 3 images are fewer than"):
        limit_table(large, 3)


def test_a_set_without_labels_is_limited_too():
    whole = make_table(50, 0.5)
    part = limit_table(ImageTable("t", Path(), whole.frame.drop(columns="cancer")), 30)
    assert 20 < len(part.frame) <= 30


def test_a_part_has_another_dataset_hash(tmp_path):
    others = [row | {"patient_id": 8, "image_id": row["image_id"] + 100} for row in rows()]
    table = load_table(make_set(tmp_path, rows() + others))
    assert limit_table(table, 4).hash != table.hash
    assert limit_table(table, 8).hash == table.hash
