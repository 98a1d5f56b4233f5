"""A public set as it is published, through everything: table, audit, prepare, training, validation, report."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.dataset.adapters import vindr
from tests.end_to_end.test_chain import ROOT, run

BIRADS = [(1, 5), (2, 4), (1, 1), (3, 2), (4, 1), (1, 2), (5, 3), (1, 1), (2, 4), (1, 2), (4, 1), (2, 2)]
SMALL = [
    "data.name=set", "data.sampling=enriched", "folds.n_folds=2", "preprocess.size=[64,32]",
    "model.backbone=test_efficientnet", "model.pretrained=false", "trainer.epochs=1", "evaluation.resamples=100",
    "tracking=none",
]  # fmt: skip
RSNA = ("-m", "rsna.cli")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """``set``, and ``elsewhere`` to validate on; ``runs/small`` is trained on the former by BI-RADS 4 and 5."""
    folder = tmp_path_factory.mktemp("public")
    vindr.write(folder / "set", BIRADS)
    vindr.write(folder / "elsewhere", BIRADS[::-1], first=50)
    run(
        folder,
        str(ROOT / "train.py"),
        "data.root=set",
        "data.cancer_from=birads45",
        *SMALL,
        "run=runs/small",
        "fold=all",
    )
    return folder


@pytest.mark.slow
def test_training_on_a_proxy_that_nobody_named_is_refused_by_its_key(folder):
    said = run(folder, str(ROOT / "train.py"), "data.root=set", *SMALL, "run=runs/none", "fold=0", code=1)
    assert "data.cancer_from: VinDr-Mammo has no label of cancer" in said
    assert not (folder / "runs" / "none").exists()


@pytest.mark.slow
def test_a_table_that_was_written_first_is_the_same_set(folder):
    said = run(folder, *RSNA, "table", "input=set", "out=own/train.csv", "cancer_from=birads45")
    assert "6 breasts with cancer" in said
    said = run(folder, *RSNA, "audit", "input=set", "out=audit", "sheet_images=0", "workers=1")
    assert "48 images" in said
    run(folder, *RSNA, "prepare", "data.root=own", "data.name=own", "preprocess.size=[64,32]")
    said = run(folder, str(ROOT / "train.py"), "data.root=own", *SMALL, "run=runs/own", "fold=all")
    ours, direct = (json.loads((folder / "runs" / name / "run.json").read_text()) for name in ("own", "small"))
    assert ours["hashes"]["folds"] == direct["hashes"]["folds"]
    assert ours["data"]["labels"] == direct["data"]["labels"]


@pytest.mark.slow
def test_run_and_report_say_what_cancer_means(folder):
    labels = json.loads((folder / "runs" / "small" / "run.json").read_text())["data"]["labels"]
    assert [(one["dataset"], one["cancer_from"], one["images"]) for one in labels] == [("vindr", "birads45", 48)]
    run(folder, *RSNA, "report", "run=runs/small", "images=0", "resamples=0")
    page = " ".join((folder / "report.html").read_text(encoding="utf-8").split())
    assert "vindr: birads45, BI-RADS 4 or 5" in page
    assert "it is no diagnosis" in page


@pytest.mark.slow
def test_a_proxy_is_said_wherever_its_model_is_scored_or_judges(folder):
    told = "cancer in vindr is birads45 (BI-RADS 4 or 5 of the breast, by two readers and an arbiter): it stands in for"
    for verb in (
        ("evaluate", "run=runs/small", "resamples=0"),
        ("leaderboard", "runs=runs", "resamples=0", "format=md"),
        ("infer", "run=runs/small", "input=set", "out=s.csv", "workers=1"),
    ):
        assert told in " ".join(run(folder, *RSNA, *verb).split()), verb[0]


@pytest.mark.slow
def test_a_run_is_validated_on_the_table_of_another_download(folder):
    run(folder, *RSNA, "table", "input=elsewhere", "cancer_from=birads45")
    run(
        folder,
        *RSNA,
        "validate",
        "run=runs/small",
        "input=elsewhere",
        "sampling=enriched",
        "resamples=100",
        "out=v.csv",
    )
    found = pd.read_csv(folder / "v.csv")
    assert len(found) == 48
    assert found["probability"].between(0, 1).all()
