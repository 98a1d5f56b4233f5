"""MIAS: severity M of any abnormality; two numbers in a row are one woman's breasts, odd ones left."""

import pytest

from rsna.audit.audit import audit
from rsna.config.data import PreprocessSettings
from rsna.dataset.adapters import mias as adapter
from rsna.dataset.source import load_table
from tests.dataset.adapters import mias


@pytest.mark.parametrize("letters", [False, True])
def test_pairs_of_numbers_are_patients_and_odd_ones_left_by_names_with_sides_or_without(tmp_path, letters):
    table = load_table(mias.write(tmp_path, letters))
    frame = table.frame
    assert frame["prediction_id"].tolist() == ["001_L", "001_R", "002_L", "002_R", "003_L", "003_R", "108_R"]
    assert frame["image_id"].tolist()[-1] == "mdb216"
    assert frame["view"].eq("MLO").all()
    assert frame["path"].str.fullmatch(r".*/all-mias/mdb\d{3}[lr]?m?\.pgm").all()
    assert any("say no side: odd numbers are left" in note for note in table.notes) is not letters


def test_one_malignant_abnormality_of_several_makes_the_film_malignant(tmp_path):
    table = load_table(mias.write(tmp_path))
    assert table.frame["cancer"].tolist() == [0, 0, 0, 0, 1, 0, 1]
    assert table.frame["tissue"].tolist() == ["G", "G", "D", "D", "F", "F", "D"]
    assert "1 lines are further abnormalities of a film" in table.notes


def test_a_list_of_something_else_is_no_list_of_films(tmp_path):
    (tmp_path / "Info.txt").write_text("mdb is a database", encoding="utf-8")
    assert not adapter.matches(tmp_path, "train")


def test_an_audit_opens_films_and_names_one_that_is_damaged(tmp_path):
    root = mias.write(tmp_path / "set")
    film = root / "all-mias" / "mdb004.pgm"
    film.write_bytes(film.read_bytes().replace(b"\0", b"", 1))
    report = audit(root, tmp_path / "out", PreprocessSettings(size=(96, 64)), sheet_images=0, workers=1)
    assert report.issues.set_index("kind").loc["unreadable", "id"] == "mdb004"
    assert report.images["failure"].str.contains("PGM: truncated: 6,143 bytes of samples, not 6,144").sum() == 1
    assert report.readable["syntax"].eq("PGM").all()
    assert len(report.readable) == 6


def test_an_abnormality_of_no_severity_is_not_taken_for_a_benign_one(tmp_path):
    listed = mias.write(tmp_path) / "Info.txt"
    listed.write_text(listed.read_text().replace("CIRC B 535", "CIRC 535").replace("CIRC B 477", "CIRC 477"))
    cancer = load_table(tmp_path).frame.set_index("image_id")["cancer"]
    assert cancer[["mdb001"]].isna().all()
    assert cancer[["mdb003", "mdb005"]].tolist() == [0, 1]
