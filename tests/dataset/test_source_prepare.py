"""A set is prepared without anything that trains, and what failed is said."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from rsna.config.data import DataSettings, PreprocessSettings
from rsna.config.schema import Config, PrepareSettings
from rsna.dataset.source import load_table, prepare_set
from rsna.prepare.table import PrepareError
from tests.prepare.files import write_dicom, write_set

CODE = """
import sys
from rsna.cli.main import main

code = main(sys.argv[1:])
print("imported:", *sorted({"torch", "pytorch_lightning", "mlflow", "albumentations"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path / "set", 4).drop(columns="path").assign(patient_id="1", cancer=0).to_csv(
        tmp_path / "set" / "train.csv", index=False
    )
    return tmp_path / "set"


def test_rsna_prepare_imports_nothing_that_trains(root, tmp_path):
    arguments = ["prepare", "data=rsna", f"data.root={root}", "preprocess.size=[64,32]", "prepare.workers=1"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments, f"cache_dir={tmp_path / 'cache'}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "4 prepared images (4 now in" in done.stdout
    assert done.stdout.endswith("imported:\n")
    assert len(list((tmp_path / "cache").rglob("*.tif"))) == 4


def test_images_without_a_breast_are_said_and_stand_in_the_index(root, tmp_path):
    write_dicom(root / "train_images" / "1" / "1002.dcm", np.zeros((64, 48)))
    preprocess = PreprocessSettings(size=(64, 32))
    config = Config(cache_dir=str(tmp_path / "cache"), data=DataSettings(str(root)), preprocess=preprocess)
    for _ in range(2):  # prepared now, and found prepared
        lines = []
        cache, report = prepare_set(replace(config, prepare=PrepareSettings(workers=1)), load_table(root), lines.append)
        assert report.no_breast == ("1002",)
        assert report.few_levels == ("1002",)
        assert "no breast found in 1 images, which are kept whole (first: 1002)" in "\n".join(lines)
    index = [json.loads(line) for line in (cache.directory / "index.jsonl").read_text().splitlines()]
    assert {row["image_id"]: row["breast_found"] for row in index}["1002"] is False
    assert sum(row["breast_found"] for row in index) == 3


def test_failures_are_said_and_too_many_end_it(root, tmp_path):
    (root / "train_images" / "1" / "1002.dcm").write_text("no image")
    preprocess = PreprocessSettings(size=(64, 32))
    config = Config(
        cache_dir=str(tmp_path / "cache"),
        data=DataSettings(str(root)),
        preprocess=preprocess,
        prepare=PrepareSettings(workers=1, max_failed=0.5),
    )
    table = load_table(root)
    lines = []
    cache, report = prepare_set(config, table, lines.append)
    assert sorted(cache) == ["1000", "1001", "1003"]
    assert (report.n_done, report.failures["image_id"].tolist()) == (3, ["1002"])
    assert lines[0].startswith(f"cache {cache.directory}: 3 prepared images (3 now in ")
    assert lines[0].endswith("1 failed")
    assert lines[1].startswith("failed: 1002: ")
    with pytest.raises(PrepareError, match="1002|1 of 4"):
        prepare_set(replace(config, prepare=PrepareSettings(workers=1, max_failed=0.1)), table, lines.append)
