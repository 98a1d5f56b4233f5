"""EMBED: a breast has its findings and its follow-up; without follow-up it is neither."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsna.dataset.adapters import embed as adapter
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import embed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return embed.write(tmp_path_factory.mktemp("embed"))


def breasts(table, column="cancer"):
    return table.frame.groupby("prediction_id")[column].agg(lambda values: values.iloc[0])


EXPECTED = {
    "10_1000_L": 1, "10_1000_R": 0, "10_1002_L": np.nan, "10_1002_R": np.nan, "20_L": np.nan, "20_R": np.nan, "30_L": 0,
    "30_R": np.nan, "40_L": 0, "40_R": 1, "50_L": np.nan, "50_R": np.nan, "60_L": np.nan, "60_R": np.nan,
}  # fmt: skip


def test_each_breast_of_a_screening_exam_is_labelled_by_its_own_findings_and_follow_up(folder):
    found = breasts(load_table(folder))
    assert sorted(found.index) == sorted(EXPECTED)
    np.testing.assert_array_equal(found[list(EXPECTED)], list(EXPECTED.values()))


def test_interval_cancers_are_named_apart_and_count_where_they_are_asked_for(folder):
    timing = breasts(load_table(folder), "cancer_timing")
    assert timing[timing.ne("")].to_dict() == {
        "10_1000_L": "screen-detected", "20_L": "interval", "40_R": "screen-detected",
    }  # fmt: skip
    found = breasts(load_table(folder, cancer_from="interval"))
    np.testing.assert_array_equal(found[list(EXPECTED)], list((EXPECTED | {"20_L": 1}).values()))


def test_views_and_exams_that_are_not_to_be_read_are_left_out_and_counted(folder):
    table = load_table(folder)
    assert len(table.frame) == 4 * 7
    assert table.frame.groupby("prediction_id")["view"].agg(" ".join).eq("CC MLO").all()
    said = "\n".join(table.notes)
    assert "11 images are C-views or of another kind than 2D, and left out" in said
    assert "11 images are spot or magnification views, and left out" in said
    assert "16 images are of diagnostic exams, of men or of none in the table, and left out" in said


def test_files_are_found_wherever_the_publisher_had_them_and_exams_are_in_order(folder):
    frame = load_table(folder).frame
    assert frame["path"].str.startswith(str(folder / "images" / "cohort_1")).all()
    of_ten = frame[frame["patient_id"].eq("10")].drop_duplicates("exam_id").set_index("exam_id")
    assert of_ten["exam_number"].to_dict() == {"1000": 1, "1002": 2}
    assert of_ten["age"].tolist() == [50.5, 52.5]
    assert "exam_date" not in frame.columns
    assert frame["machine_id"].eq("HOLOGIC, Inc. Selenia").all()
    assert frame.drop_duplicates("patient_id")["density"].tolist() == ["B", "C", "A", "D", "D", "B"]


def test_the_reduced_tables_are_read_likewise(tmp_path):
    found = breasts(load_table(embed.write(tmp_path, "_reduced")))
    np.testing.assert_array_equal(found[list(EXPECTED)], list(EXPECTED.values()))


def test_the_licence_forbids_the_release_of_what_was_trained():
    assert adapter.FACTS.release == "no"


def edited(root: Path, what: str, **columns) -> Path:
    """The folder with columns of one of its tables mapped to others; None for a column that is dropped."""
    table = embed.write(root) / "tables" / f"EMBED_OpenData_{what}.csv"
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    for name, change in columns.items():
        rows = rows.drop(columns=name) if change is None else rows.assign(**{name: rows[name].map(change)})
    rows.to_csv(table, index=False)
    return root


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        (
            "path_severity",
            lambda code: {"0": "invasive"}.get(code, code),
            "path_severity other than 0, 1, .*: invasive",
        ),
        ("study_date_anon", lambda date: "/".join(date.split("-")[::-1]), "13 rows have a study_date_anon other than"),
        ("bside", None, "has no column bside"),
    ],
)
def test_what_a_label_hangs_on_is_refused_where_it_is_spelt_otherwise(tmp_path, column, change, message):
    with pytest.raises(TableError, match=message):
        load_table(edited(tmp_path, "clinical", **{column: change}))


def test_ids_that_are_no_numbers_or_too_long_for_one_are_kept(tmp_path):
    long = "9" * 20
    edited(tmp_path, "clinical", empi_anon=lambda patient: long + patient)
    metadata = tmp_path / "tables" / "EMBED_OpenData_metadata.csv"
    rows = pd.read_csv(metadata, dtype=str, keep_default_na=False)
    rows.assign(empi_anon=long + rows["empi_anon"]).to_csv(metadata, index=False)
    assert sorted(set(load_table(tmp_path).frame["patient_id"])) == [f"{long}{n}" for n in (10, 20, 30, 40, 50, 60)]


def test_without_an_image_of_a_kind_that_is_read_there_is_no_set(tmp_path):
    with pytest.raises(TableError, match="none of its images is left.*66 images are C-views or of another kind"):
        load_table(edited(tmp_path, "metadata", FinalImageType=lambda _: "cview"))
