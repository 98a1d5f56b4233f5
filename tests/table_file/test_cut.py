"""A table that was cut off within its last number is said to look so, and no good one is."""

import numpy as np
import pandas as pd
import pytest

from rsna.table_file import read_table

IMAGES = [f"{number}" for number in range(1000, 1150)]
DRAWN = np.random.default_rng(0).random(len(IMAGES)).round(6)


def notes_of(tmp_path, text):
    notes: list[str] = []
    (tmp_path / "t.csv").write_text(text)
    read_table(tmp_path / "t.csv", notes)
    return notes


def table(numbers, delimiter=","):
    rows = [f"{image}{delimiter}{number}" for image, number in zip(IMAGES, numbers, strict=True)]
    return f"image_id{delimiter}probability\n" + "\n".join(rows)


FIXED = table([f"{one:.6f}" for one in DRAWN])


@pytest.mark.parametrize("less", range(1, 8))
def test_fewer_decimals_than_all_others_have_are_said(tmp_path, less):
    cut = FIXED[:-less]
    last = cut.rpartition(",")[2]
    said = f"ends without the end of a line, in {last} where all others of probability have 6 decimals; was it cut off?"
    assert notes_of(tmp_path, cut) == [f"{tmp_path / 't.csv'}: {said}"]


def test_it_is_said_of_quoted_cells_and_other_dialects_too(tmp_path):
    cut = table([f"{one:.6f}" for one in DRAWN], ";")[:-2].replace("1000;", '"1000";', 1)
    assert "was it cut off?" in "".join(notes_of(tmp_path, cut))


@pytest.mark.parametrize(
    "text",
    [
        FIXED,
        FIXED[:-2] + "\n",
        FIXED[:-2] + "\r\n",
        table(np.random.default_rng(1).random(len(IMAGES)))[:-3],  # as many decimals as they need: not known
        table(["1"] * len(IMAGES)),
        table(["45"] * (len(IMAGES) - 1) + ["4"]),
        table(["0.25"] * (len(IMAGES) - 1) + ["0.5"]),
        table(["n/a", *(f"{one:.6f}" for one in DRAWN[1:])])[:-1],
        "image_id,probability\n" + "\n".join(f"{image},0.123456" for image in IMAGES[:20]) + "\n1,0.5",
    ],
)
def test_nothing_is_said_of_other_tables(tmp_path, text):
    assert notes_of(tmp_path, text) == []


@pytest.mark.parametrize("seed", range(20))
def test_numbers_that_are_written_as_short_as_they_can_be_are_no_cut(tmp_path, seed):
    drawn = np.random.default_rng(seed).random(len(IMAGES)).round(4)
    frame = pd.DataFrame({"image_id": IMAGES, "probability": drawn})
    assert notes_of(tmp_path, frame.to_csv(index=False).removesuffix("\n")) == []
