"""A table of a public set: written once, read as any other, with how each label came about; and the same for Mirai."""

import pandas as pd
import pytest

from rsna.archive.published import adapter_for, write_mirai, write_published
from rsna.cli.main import main
from rsna.dataset.adapters import adapters
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import cmmd, inbreast, mirai, vindr
from tests.dataset.sets import make_set, rows


def table_of(capsys, *arguments, code=0):
    """What `rsna table` says."""
    assert main(["table", *arguments]) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


def test_a_set_is_recognised_and_its_table_is_read_in_its_place(tmp_path, capsys):
    root = vindr.write(tmp_path / "vindr")
    directly = load_table(root, cancer_from="birads45").frame
    said = table_of(capsys, f"input={root}", "cancer_from=birads45")
    assert "is read as VinDr-Mammo (dataset=vindr), by breast-level_annotations.csv" in said
    assert "cancer is birads45: BI-RADS 4 or 5" in said
    assert "2 breasts with cancer" in said
    table = pd.read_csv(root / "train.csv", dtype=str)
    assert list(table.columns[:3]) == ["patient_id", "image_id", "exam_id"]
    assert table["cancer_from"].eq("birads45").all()
    assert table["dataset"].eq("vindr").all()
    assert table["cancer"].isin(["0", "1"]).all()
    assert table["path"].iloc[0].startswith("images/")
    frame = load_table(root).frame
    for column in ("patient_id", "image_id", "laterality", "view", "cancer", "prediction_id", "path"):
        assert frame[column].tolist() == directly[column].tolist()


def test_labels_of_another_definition_are_not_taken_for_what_a_table_says(tmp_path, capsys):
    root = vindr.write(tmp_path)
    table_of(capsys, f"input={root}", "cancer_from=birads5")
    assert len(load_table(root, cancer_from="birads5").frame) == 12
    with pytest.raises(TableError, match="12 rows have their cancer from elsewhere, not birads45"):
        load_table(root, cancer_from="birads45")


def test_a_proxy_is_refused_until_it_is_named_and_nothing_is_written(tmp_path, capsys):
    root = inbreast.write(tmp_path)
    said = table_of(capsys, f"input={root}", code=1)
    assert "INbreast has no label of cancer, only stand-ins for it, of which you have to choose one" in said
    assert not (root / "train.csv").exists()


def test_rows_without_a_file_and_files_that_cannot_be_read_are_listed_with_why(tmp_path):
    root = vindr.write(tmp_path)
    first, second, *_ = sorted((root / "images").rglob("*.dicom"))
    first.unlink()
    second.write_bytes(b"no image")
    lines = write_published(root, root / "train.csv", adapters()["vindr"], "birads5")
    assert any("1 rows are left out: the table has a row, and none is there" in line for line in lines)
    assert lines[-1].endswith("1 files that cannot be used, 1 left out")
    left_out = pd.read_csv(root / "train_left_out.csv").set_index("path")["reason"]
    assert left_out.index.tolist() == [str(second.relative_to(root)), first.stem]
    assert len(pd.read_csv(root / "train.csv")) == 10


def test_a_download_without_any_image_is_refused(tmp_path):
    root = vindr.write(tmp_path)
    for file in (root / "images").rglob("*.dicom"):
        file.unlink()
    with pytest.raises(TableError, match=r"none of its images is below .*\(0000cdcd"):
        write_published(root, root / "train.csv", adapters()["vindr"], "birads5")


def test_a_table_elsewhere_names_images_by_whole_paths_and_none_is_overwritten(tmp_path):
    root = cmmd.write(tmp_path / "cmmd")
    (tmp_path / "work").mkdir()
    out = tmp_path / "work" / "train.csv"
    write_published(root, out, adapters()["cmmd"])
    assert load_table(out.parent).frame["cancer"].isna().sum() == 2
    assert all(path.startswith(str(root)) for path in pd.read_csv(out)["path"])
    with pytest.raises(TableError, match="is there already and is not overwritten"):
        write_published(root, out, adapters()["cmmd"])


def test_a_set_may_be_named_and_headers_alone_be_asked_for(tmp_path):
    root = cmmd.write(tmp_path)
    assert adapter_for(root) is adapters()["cmmd"]
    assert adapter_for(root, "cmmd") is adapters()["cmmd"]
    assert adapter_for(root, "none") is None
    with pytest.raises(TableError, match="is not laid out as vindr, which is breast-level_annotations.csv"):
        adapter_for(root, "vindr")
    with pytest.raises(TableError, match=r"there is no cmd; rsna datasets lists .*cmmd"):
        adapter_for(root, "cmd")
    make_set(tmp_path / "own", rows())
    assert adapter_for(tmp_path / "own") is None
    with pytest.raises(TableError, match="nowhere: there is no such folder"):
        adapter_for(tmp_path / "nowhere", "cmmd")


def test_a_table_that_lies_in_a_sets_folder_does_not_hide_the_set_in_silence(tmp_path, capsys):
    root = cmmd.write(tmp_path)
    table_of(capsys, f"input={root}")
    assert "is there already and is not overwritten" in table_of(capsys, f"input={root}", code=1)
    other = f"out={tmp_path / 'other.csv'}"
    said = table_of(capsys, f"input={root}", other, "cancer_from=pathology_else_normal", code=1)
    assert "holds a train.csv and the files of cmmd; dataset=cmmd makes a table of these" in said
    table_of(capsys, f"input={root}", other, "cancer_from=pathology_else_normal", "dataset=cmmd")
    assert pd.read_csv(tmp_path / "other.csv")["cancer"].notna().all()


def test_what_goes_with_public_sets_is_refused_of_any_other_folder(tmp_path, capsys):
    vindr.write(tmp_path / "set")
    (tmp_path / "set" / "breast-level_annotations.csv").unlink()
    said = table_of(capsys, f"input={tmp_path / 'set'}", "cancer_from=birads5", code=2)
    assert "is no public set that is known" in said
    said = table_of(capsys, f"input={tmp_path / 'set'}", "labels=x.csv", "dataset=vindr", code=2)
    assert "labels: go with headers alone" in said
    said = table_of(capsys, f"input={tmp_path / 'set'}", "labels=x.csv", "dataset=none", code=1)
    assert "x.csv: there is no such file" in said
    said = table_of(capsys, f"input={tmp_path / 'set'}", "format=mirai", "dataset=none", code=2)
    assert "dataset=none: headers alone have no labels, which format=mirai needs" in said


def test_a_public_set_and_a_table_of_ones_own_are_written_for_mirai(tmp_path, capsys):
    root = vindr.write(tmp_path / "vindr")
    said = table_of(capsys, f"input={root}", "format=mirai", "cancer_from=birads45")
    assert "12 images, 3 exams, 2 with cancer" in said
    written = pd.read_csv(root / "mirai.csv")
    assert written["years_to_cancer"].tolist() == [0] * 8 + [100] * 4
    assert written["split_group"].tolist() == ["train"] * 8 + ["test"] * 4
    own = make_set(tmp_path / "own", rows())
    lines = write_mirai(own, own / "mirai.csv", None)
    assert lines[0].endswith("4 images, 1 exams, 1 with cancer")
    assert pd.read_csv(own / "mirai.csv")["exam_id"].eq(7).all()
    with pytest.raises(TableError, match="holds neither a train.csv nor a public set"):
        write_mirai(tmp_path, tmp_path / "mirai.csv", None)


def test_mirais_csv_becomes_a_table(tmp_path, capsys):
    root = mirai.write(tmp_path)
    table_of(capsys, f"input={root}")
    table = pd.read_csv(root / "train.csv")
    assert table["exam_number"].tolist() == [1] * 4 + [2] * 4 + [1] * 8
    assert len(load_table(root).frame) == 16
