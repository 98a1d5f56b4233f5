"""A public data set is one new module; whatever has its layout is read through it."""

import inspect
import sys
from pathlib import Path

import pytest
from openpyxl import load_workbook

from rsna.audit.audit import audit
from rsna.config.data import PreprocessSettings
from rsna.dataset import adapters
from rsna.dataset.adapters import is_proxy
from rsna.dataset.source import load_table
from rsna.dataset.table import TableError
from tests.dataset.adapters import bmcd, cdd_cesm, csaw_cc, embed, inbreast, mias, mini_ddsm, nlbs, vindr
from tests.dataset.sets import make_set, rows
from tests.prepare.files import write_dicom
from tests.prepare.phantoms import breast

CLINIC = '''
"""A set as somebody might publish it: a list, and its images beside it, labelled by patient."""

import pandas as pd

from rsna.dataset.adapters import Facts, Listing

FACTS = Facts(
    title="Clinic", source="https://example.org", images=4, patients=2, licence="CC BY 4.0", release="yes",
    unit="patient", cancer={"pathology": "finding = malignant"}, default="pathology",
)
LAYOUT = "clinic.txt with <case>_<side>.dcm beside it"
LABELS = {"cancer": "patient"}


def matches(root, split):
    return split == "train" and (root / "clinic.txt").is_file()


def read(root, split, cancer_from):
    table = pd.read_csv(root / "clinic.txt", sep=" ", names=["patient_id", "side", "finding"], dtype=str)
    paths = [root / f"{case}_{side}.dcm" for case, side in zip(table["patient_id"], table["side"])]
    frame = table.assign(
        image_id=table["patient_id"] + table["side"],
        laterality=table["side"].str.upper(),
        path=[str(path) if path.is_file() else "" for path in paths],
    )
    if (table["finding"] != "unread").all():
        frame["cancer"] = table["finding"].map({"malignant": 1.0, "benign": 0.0})
    frame = frame[frame["finding"] != "withdrawn"]
    return Listing(frame, root / "clinic.txt", notes=("side is taken from the file's name",))
'''


@pytest.fixture
def clinic(tmp_path, monkeypatch) -> Path:
    """A folder in that layout, and the one file that makes it known."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "clinic.py").write_text(CLINIC)
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path / "more")])
    monkeypatch.delitem(sys.modules, "rsna.dataset.adapters.clinic", raising=False)
    root = tmp_path / "clinic"
    for number, name in enumerate(("c1_l", "c1_r", "c2_l", "c2_r")):
        write_dicom(root / f"{name}.dcm", breast(seed=number)[0], PatientID=name[:2])
    (root / "clinic.txt").write_text("c1 l benign\nc1 r benign\nc2 l malignant\nc2 r malignant\n")
    return root


def test_a_module_in_the_folder_of_adapters_is_all_that_a_data_set_needs(clinic):
    table = load_table(clinic)
    assert table.frame["prediction_id"].tolist() == ["c1_L", "c1_R", "c2_L", "c2_R"]
    assert table.frame["cancer"].tolist() == [0, 0, 1, 1]
    assert table.frame["view"].tolist() == [""] * 4
    assert table.notes == (
        f"{clinic}: is read as Clinic (dataset=clinic), by clinic.txt with <case>_<side>.dcm beside it",
        "clinic: cancer is pathology: finding = malignant",
        "side is taken from the file's name",
    )
    assert table.frame[["dataset", "cancer_from"]].drop_duplicates().to_numpy().tolist() == [["clinic", "pathology"]]
    assert len(table.hash) == 12


def test_what_an_adapter_reads_is_checked_as_every_table_is(clinic):
    (clinic / "clinic.txt").write_text("c1 l benign\nc1 r malignant\nc2 l malignant\n")
    with pytest.raises(TableError, match="1 patients carry two labels.*c1"):
        load_table(clinic)
    (clinic / "clinic.txt").write_text("c1 l unread\n")
    with pytest.raises(TableError, match=r"clinic.txt: has no column cancer; it has patient_id"):
        load_table(clinic)
    (clinic / "clinic.txt").write_text("c1 l benign\nc3 l benign\n")
    with pytest.raises(TableError, match=r"clinic.txt: 1 rows have no file \(first: c3l\)"):
        load_table(clinic)


@pytest.mark.parametrize("column", ["patient_id", "image_id", "laterality", "path"])
def test_an_adapter_that_gives_no_such_column_is_told_which_one_it_owes(clinic, column):
    module = Path(adapters.__path__[-1]) / "clinic.py"
    module.write_text(CLINIC.replace("return Listing(frame,", f'return Listing(frame.drop(columns="{column}"),'))
    with pytest.raises(TableError, match=rf"adapters/clinic.py, read\(\): has no column {column}; it has "):
        load_table(clinic)


def test_an_audit_looks_at_it_too(clinic, tmp_path):
    (clinic / "c1_l.dcm").unlink()
    report = audit(clinic, tmp_path / "out", PreprocessSettings(), sheet_images=0, workers=1)
    assert report.images["image_id"].tolist() == ["c1l", "c1r", "c2l", "c2r"]
    assert "row without a file" in set(report.issues["kind"])


def test_rows_that_an_adapter_leaves_out_do_not_shift_what_an_audit_says_of_the_others(clinic, tmp_path):
    (clinic / "clinic.txt").write_text("c1 l withdrawn\nc1 r benign\nc2 l malignant\nc2 r malignant\n")
    (clinic / "c2_r.dcm").write_bytes((clinic / "c2_l.dcm").read_bytes())
    (clinic / "c1_r.dcm").write_text("no image")
    report = audit(clinic, tmp_path / "out", PreprocessSettings(), sheet_images=0, workers=1)
    issues = report.issues.set_index("kind")["id"]
    assert issues["unreadable"] == "c1r"
    assert issues["equal pixels"] == "c2l = c2r"
    assert report.images["header_patient_id"].tolist() == ["", "c2", "c2"]


def test_a_table_that_somebody_wrote_wins_and_two_public_layouts_are_refused(clinic):
    make_set(clinic, rows())
    assert len(load_table(clinic).frame) == 4
    assert load_table(clinic).frame["patient_id"].eq("7").all()
    (clinic / "train.csv").unlink()
    other = Path(adapters.__path__[-1]) / "hospital.py"
    other.write_text(CLINIC)
    with pytest.raises(TableError, match="holds the files of clinic and hospital; give each a folder of its own"):
        load_table(clinic)
    sys.modules.pop("rsna.dataset.adapters.hospital")


def test_every_adapter_has_the_members_that_readers_rely_on(tmp_path):
    assert "competition" in adapters.adapters()
    for name, adapter in adapters.adapters().items():
        assert adapter.LAYOUT, name
        assert set(adapter.LABELS.values()) <= {"image", "breast", "patient"}, name
        assert list(inspect.signature(adapter.matches).parameters) == ["root", "split"], name
        assert list(inspect.signature(adapter.read).parameters) == ["root", "split", "cancer_from"], name
        facts = adapter.FACTS
        assert facts.cancer, name
        assert facts.default in ("", *facts.cancer), name
        assert not is_proxy(facts.default), name
        assert facts.default or all(map(is_proxy, facts.cancer)), f"{name}: what is no proxy may be meant unnamed"
        assert facts.source.startswith("https://"), name
        assert all(facts.cancer.values()), name
        assert adapter.matches(tmp_path, "train") is False, name


@pytest.mark.parametrize(
    ("layout", "table"),
    [
        (bmcd, "Description.xlsx"),
        (cdd_cesm, "Radiology manual annotations.xlsx"),
        (csaw_cc, "CSAW-CC_breast_cancer_screening_data.csv"),
        (embed, "tables/EMBED_OpenData_metadata.csv"),
        (inbreast, "INbreast.csv"),
        (mias, "Info.txt"),
        (mini_ddsm, "Data-MoreThanTwoMasks/Data-MoreThanTwoMasks.xlsx"),
        (nlbs, "NLBSP-metadata.csv"),
        (vindr, "breast-level_annotations.csv"),
    ],
)
def test_images_behind_the_end_of_a_table_that_was_cut_between_two_rows_are_said(layout, table, tmp_path):
    adapter = adapters.adapters()[layout.__name__.rpartition(".")[2]]
    root = layout.write(tmp_path)

    def said() -> list[str]:
        notes = adapter.read(root, "train", next(iter(adapter.FACTS.cancer))).notes
        return [note for note in notes if "images have no row in" in note]

    assert not said()
    for _ in range(5 if layout is nlbs else 1):  # its last exam has no files
        drop_last_row(root / table)
    assert len(said()) == 1


def drop_last_row(table: Path) -> None:
    """That of every sheet of a workbook."""
    if table.suffix != ".xlsx":
        lines = [line for line in table.read_text().splitlines() if line.strip(";")]
        table.write_text("\n".join(lines[:-1]) + "\n")
        return
    book = load_workbook(table)
    for sheet in book.worksheets:
        sheet.delete_rows(sheet.max_row)
    book.save(table)
