"""INbreast: patients by the hash in names, BI-RADS with letters, one category a breast of an exam."""

import shutil

import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import inbreast

A, B = "aa" * 8, "bb" * 8


@pytest.mark.parametrize(("cancer_from", "expected"), [("birads45", [1, 0, 1, 1]), ("birads5", [0, 0, 1, 1])])
def test_a_breast_has_the_highest_category_of_its_exams_images(tmp_path, cancer_from, expected):
    table = load_table(inbreast.write(tmp_path), cancer_from=cancer_from)
    breasts = table.frame.groupby("prediction_id")["cancer"].first()
    names = [f"{A}_201001_R", f"{A}_201001_L", f"{A}_201102_L", f"{B}_L"]
    assert breasts[names].tolist() == expected
    assert len(breasts) == 4
    assert any("have cancer 1 from another image" in note for note in table.notes)


def test_it_has_no_pathology_so_a_category_has_to_be_named(tmp_path):
    with pytest.raises(TableError, match=r"INbreast has no label of cancer.*cancer_from=birads45 \(BI-RADS 4a"):
        load_table(inbreast.write(tmp_path))


def test_patients_are_told_by_the_hash_and_exams_ordered_by_month(tmp_path):
    frame = load_table(inbreast.write(tmp_path), cancer_from="birads5").frame
    assert frame["patient_id"].tolist() == [A] * 4 + [B] * 2
    assert frame["exam_number"].tolist() == [1, 1, 1, 2, 1, 1]
    assert frame["view"].tolist() == ["CC", "MLO"] * 3
    assert frame["breast_birads"].tolist() == ["4a", "2", "1", "6", "3", "5"]


def test_blank_densities_are_missing_and_rows_of_nothing_are_none(tmp_path):
    frame = load_table(inbreast.write(tmp_path), cancer_from="birads5").frame
    assert len(frame) == 6
    assert frame["density"].isna().tolist() == [False, False, True, False, False, False]
    assert frame["density"].iloc[-1] == "D"


def test_a_row_without_a_file_is_said_to_have_none(tmp_path):
    inbreast.write(tmp_path)
    next((tmp_path / "AllDICOMs").glob("90000005*")).unlink()
    with pytest.raises(TableError, match=r"1 rows have no file \(first: 90000005\)"):
        load_table(tmp_path, cancer_from="birads5")


def test_a_copy_of_a_file_under_another_name_is_not_taken(tmp_path):
    root = inbreast.write(tmp_path)
    file = next((root / "AllDICOMs").glob("90000001_*"))
    shutil.copy(file, file.with_name(f"{file.stem} (1).dcm"))
    frame = load_table(root, cancer_from="birads5").frame
    assert len(frame) == 6
    assert str(file) in set(frame["path"])


def test_a_category_that_is_none_is_refused(tmp_path):
    table = inbreast.write(tmp_path) / "INbreast.csv"
    table.write_text(table.read_text().replace(";4a", ";IV"))
    with pytest.raises(TableError, match=r"1 rows have a Bi-Rads that is no category of BI-RADS \(first: 90000001\)"):
        load_table(tmp_path, cancer_from="birads45")
