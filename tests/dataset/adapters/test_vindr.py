"""VinDr-Mammo: BI-RADS has to be named as what counts as cancer; ages are in the headers."""

import pytest

from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import vindr


@pytest.mark.parametrize(
    ("cancer_from", "expected"), [("birads45", [0, 1, 1, 0, 0, 0]), ("birads5", [0, 0, 1, 0, 0, 0])]
)
def test_cancer_is_the_birads_that_was_named(tmp_path, cancer_from, expected):
    table = load_table(vindr.write(tmp_path), cancer_from=cancer_from)
    breasts = table.frame.groupby("prediction_id", sort=False)["cancer"].first()
    assert breasts.tolist() == expected
    assert table.frame["cancer_from"].eq(cancer_from).all()
    assert table.frame["dataset"].eq("vindr").all()
    assert any(f"cancer is {cancer_from}" in note and "stands in for it" in note for note in table.notes)


def test_none_named_is_refused_with_what_there_is_to_choose_from(tmp_path):
    vindr.write(tmp_path)
    with pytest.raises(TableError, match=r"cancer_from: VinDr-Mammo has no label of cancer.*birads45 \(BI-RADS 4 or 5"):
        load_table(tmp_path)
    with pytest.raises(TableError, match=r"VinDr-Mammo has no pathology; what counts .*cancer_from=birads5"):
        load_table(tmp_path, cancer_from="pathology")


def test_an_image_of_several_findings_is_one_row_and_what_its_header_says_stands_in_it(tmp_path):
    frame = load_table(vindr.write(tmp_path), cancer_from="birads5").frame
    assert len(frame) == 12
    assert frame["age"].astype("Int64").drop_duplicates().tolist()[1:] == [51, 52]
    assert frame["age"].isna().sum() == 4
    assert frame["machine_id"].eq("IMS s.r.l. GIOTTO").all()
    assert frame["density"].eq("C").all()
    assert frame["split"].tolist() == ["train"] * 8 + ["test"] * 4
    assert frame["breast_birads"].tolist() == [1, 1, 4, 4, 5, 5, 2, 2, 3, 3, 1, 1]
    assert frame["view"].tolist() == ["CC", "MLO"] * 6


def test_a_category_that_is_none_is_refused(tmp_path):
    table = vindr.write(tmp_path) / "breast-level_annotations.csv"
    table.write_text(table.read_text().replace("BI-RADS 5", "BI-RADS V"))
    with pytest.raises(TableError, match="2 rows have a breast_birads that is no category of BI-RADS"):
        load_table(tmp_path, cancer_from="birads5")
