"""Public sets of other kinds through everything: JPEG with a workbook, and women of several exams."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.dataset.adapters import cdd_cesm, csaw_cc
from tests.end_to_end.test_chain import ROOT, run

SMALL = [
    "data.sampling=enriched", "folds.n_folds=2", "preprocess.size=[64,32]", "model.backbone=test_efficientnet",
    "model.pretrained=false", "trainer.epochs=1", "evaluation.resamples=100", "tracking=none", "fold=all",
]  # fmt: skip
RSNA = ("-m", "rsna.cli")

CESM = [("Malignant", "Normal"), ("Benign", "Malignant"), ("Normal", "Benign")] * 4
WOMEN = [
    ("Left", [(2012, 1), (2010, 3)]), ("Right", [(2011, 2), (2009, 3)]), ("", [(2010, ""), (2014, ""), (2012, "")]),
    ("", [(2015, "")]),
] * 3  # fmt: skip


def train(folder: Path, name: str) -> pd.DataFrame:
    """Audits and prepares ``folder/name``, which has a table, trains on it, and gives the out-of-fold predictions."""
    run(folder, *RSNA, "audit", f"input={name}", f"out=audit-{name}", "sheet_images=0", "workers=1")
    run(folder, *RSNA, "prepare", f"data.root={name}", f"data.name={name}", "preprocess.size=[64,32]")
    said = run(folder, str(ROOT / "train.py"), f"data.root={name}", f"data.name={name}", *SMALL, f"run=runs/{name}")
    assert "(0 now in" in said
    return pd.read_parquet(folder / "runs" / name / "cv" / "oof.parquet")


def validate(folder: Path, name: str) -> pd.DataFrame:
    """Validates the run on ``folder/elsewhere-<name>``; a row an image."""
    asked = ("sampling=enriched", "resamples=100", f"out={name}.csv")
    run(folder, *RSNA, "validate", f"run=runs/{name}", f"input=elsewhere-{name}", *asked)
    return pd.read_csv(folder / f"{name}.csv")


@pytest.mark.slow
def test_jpeg_with_a_workbook(tmp_path):
    cdd_cesm.write(tmp_path / "cesm", CESM)
    cdd_cesm.write(tmp_path / "elsewhere-cesm", CESM[::-1])
    said = run(tmp_path, *RSNA, "table", "input=cesm")
    assert "is read as CDD-CESM (dataset=cdd_cesm)" in said
    assert "48 rows are of subtracted images, which are left out" in said
    table = pd.read_csv(tmp_path / "cesm" / "train.csv")
    assert len(table) == 48
    assert table["path"].str.match(r".*/Low energy images of CDD-CESM/P\d+_[LR]_DM_(CC|MLO)(_2)?\.jpg").all()
    oof = train(tmp_path, "cesm")
    audit = pd.read_csv(tmp_path / "audit-cesm" / "images.csv")
    assert audit["syntax"].eq("JPG").all()
    assert audit["failure"].isna().all()
    assert oof.drop_duplicates("prediction_id")["cancer"].sum() == 8
    labels = json.loads((tmp_path / "runs" / "cesm" / "run.json").read_text())["data"]["labels"]
    assert [(one["dataset"], one["cancer_from"]) for one in labels] == [("cdd_cesm", "pathology")]
    found = validate(tmp_path, "cesm")
    assert len(found) == 48
    assert found["probability"].between(0, 1).all()


@pytest.mark.slow
def test_women_of_several_exams(tmp_path):
    csaw_cc.write(tmp_path / "csaw", WOMEN)
    csaw_cc.write(tmp_path / "elsewhere-csaw", WOMEN[::-1])
    said = run(tmp_path, *RSNA, "table", "input=csaw", "cancer_from=two_years")
    assert "24 exams of 12 patients" in said
    assert "6 exams of a breast with cancer are earlier (cancer_timing), and count as free of it" in said
    table = pd.read_csv(tmp_path / "csaw" / "train.csv")
    assert not [column for column in table.columns if column.startswith(("x_", "rad_"))]
    oof = train(tmp_path, "csaw")
    assert (tmp_path / "audit-csaw" / "audit.txt").read_text().count("24 exams of 12 patients") == 1
    assert oof.groupby("patient_id")["fold"].nunique().eq(1).all()
    breasts = oof.drop_duplicates("prediction_id").set_index("prediction_id")
    assert len(breasts) == 48
    assert breasts["cancer"].sum() == 6
    assert breasts.loc[["3_2012_L", "3_2010_L", "3_2012_R"], "cancer"].tolist() == [1, 0, 0]
    found = validate(tmp_path, "csaw")  # by screening, which leaves nine breasts of exams without a label
    assert len(found) == 96 - 18
    assert found["cancer"].sum() == 6
    assert found["probability"].between(0, 1).all()
