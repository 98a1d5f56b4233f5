"""What is unlike the training set is said in sentences; what is alike is not."""

import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from rsna.bundle.make import make_bundle
from rsna.cli.main import main
from rsna.config.verbs import AuditOptions, BundleMakeOptions
from rsna.external.unlike import _predicted, audit_against, compare, ks_distance
from rsna.prepare.appearance import Appearance
from rsna.runs.run import open_run
from rsna.runs.set_schema import TrainingSet
from rsna.runs.training_set import quantiles, read_training_set
from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlike")
    write_set(folder / "set", patients=48, positives=16)
    train_here(tiny_config(folder, fold="all"))
    return folder


def test_a_run_keeps_a_summary_of_what_it_was_trained_on(place):
    summary = read_training_set(open_run(place / "run"))
    assert (summary.images, summary.breasts, summary.patients, summary.positives) == (96, 48, 48, 16)
    assert summary.machines == {"1": 96}
    assert summary.headers == {}  # of PNG
    assert summary.views == {"CC": 48, "MLO": 48}
    assert summary.looked_at == 96
    long_side = summary.quantities["long_side"]
    assert len(long_side) == 21
    assert set(long_side) == {48.0}
    assert 0.3 < summary.quantities["brightness"][10] < 0.4  # 90 of 255


def test_as_many_images_of_the_same_kind_are_alike(place, tmp_path):
    write_set(tmp_path / "same", patients=48, positives=16, seed=9)
    options = AuditOptions(
        str(tmp_path / "same"), str(tmp_path / "audit"), str(place / "run"), workers=1, sheet_images=0
    )
    report, unlike = audit_against(options)
    assert unlike.unlike == ()
    assert "views" in unlike.alike
    assert "nothing is unlike" in unlike.text()
    assert len(report.images) == 96


def test_labels_that_lack_or_contradict_each_other_do_not_matter(place, tmp_path):
    root = write_set(tmp_path / "other", patients=10, positives=4, seed=9)
    table = pd.read_csv(root / "train.csv")
    table["cancer"] = table["cancer"].astype(float)
    table.loc[0, "cancer"], table.loc[2, "cancer"] = np.nan, 1 - table.loc[2, "cancer"]
    table.to_csv(root / "train.csv", index=False)
    options = AuditOptions(str(root), str(tmp_path / "audit"), str(place / "run"), workers=1, sheet_images=0)
    assert audit_against(options)[1].images == 20


def test_other_images_are_unlike_in_what_they_differ_in(place, tmp_path, capsys):
    root = write_set(tmp_path / "other", patients=30, positives=30, seed=9)
    table = pd.read_csv(root / "train.csv")
    table.assign(machine_id=7, view=["LM"] * 60).to_csv(root / "train.csv", index=False)
    for file in root.rglob("*.png"):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(file), cv2.resize((255 * (image / 255.0) ** 0.4).astype(np.uint8), (64, 96)))
    bundle = make_bundle(BundleMakeOptions(str(place / "run"), str(tmp_path / "bundle"), host="none"))
    out = tmp_path / "audit"
    assert main(["audit", f"input={root}", f"run={bundle}", f"out={out}", "workers=1", "sheet_images=0"]) == 0
    said = capsys.readouterr().out
    assert (
        "unlike: machines: 60 of 60 images are of one machine that training has not seen: 7 (60); it has seen 1" in said
    )
    assert "unlike: views: 60 of 60 images are of one view that training has not seen: LM (60)" in said
    assert "unlike: long side of the files, pixels: higher; median 96, in training 48" in said
    assert "unlike: brightness of the breast after preparing: higher" in said
    assert said.endswith((out / "against_run.txt").read_text())
    assert json.loads((out / "against_run.json").read_text())["images"] == 60
    picture = "".join(ET.fromstring((out / "against_run.svg").read_text()).itertext())
    assert "brightness of the breast after preparing" in picture


def looks(n, brightness, seed=0):
    rng = np.random.default_rng(seed)
    return [Appearance(4000, 0.4, 0.5, value, 0.2) for value in rng.normal(brightness, 0.05, n)]


def summary_of(found):
    return TrainingSet(images=1000, breasts=500, patients=250, positives=9, machines={"1": 1000}, headers={"A": 400},
                       views={"CC": 500, "MLO": 500}, looked_at=len(found), quantities=quantiles(found))  # fmt: skip


def test_chance_is_not_called_unlike():
    summary, images = summary_of(looks(500, 0.3)), pd.DataFrame({"view": ["CC"] * 40})
    false = sum(
        bool(compare(summary, looks(40, 0.3, seed), ["A"] * 40, images, (0.05, 40, 0.04, 0.5))[0])
        for seed in range(1, 41)
    )
    assert false <= 2
    unlike, _, _ = compare(summary, looks(40, 0.4, 99), ["A"] * 40, images, (0.05, 40, 0.04, 0.5))
    assert [line.split(":")[0] for line in unlike] == ["brightness of the breast after preparing"]


def test_a_recall_rate_that_chance_does_not_make_is_said():
    summary, images = summary_of(looks(500, 0.3)), pd.DataFrame({"view": ["CC"] * 40})
    unlike, _, unknown = compare(summary, looks(40, 0.3, 1), [""] * 40, images, (0.3, 100, 0.04, 0.5))
    assert unlike == (
        "share at or above the threshold 0.5000: 30.0% of 100 breasts (99 % interval 19.7% to 42.8%), where 4.0% were "
        "out of fold: cancers are more frequent here, or probabilities lie higher; labels tell which (rsna validate)",
    )
    assert unknown == ("machines",)


@pytest.mark.parametrize(("trained", "here"), [({"CC": 10}, ""), ({"": 10}, "CC")])
def test_what_one_side_does_not_say_is_neither_alike_nor_unlike(trained, here):
    found = looks(100, 0.3)
    summary = summary_of(found).model_copy(update={"views": trained, "headers": {}, "machines": {"1": 10}})
    images = pd.DataFrame({"view": [here] * 100, "machine": [""] * 100, "machine_id": [None] * 100})
    unlike, alike, unknown = compare(summary, found, [""] * 100, images, (0.04, 100, 0.04, 0.5))
    assert unknown == ("machines", "views")
    assert not unlike
    assert not {"machines", "views"} & set(alike)


def test_the_distance_is_that_of_the_distributions():
    rng = np.random.default_rng(0)
    shares = np.linspace(0, 1, 21)
    one = rng.normal(0, 1, 2000)
    assert ks_distance(np.quantile(one, shares), np.sort(rng.normal(0, 1, 2000))) < 0.06
    assert ks_distance(np.quantile(one, shares), np.sort(one + 1)) == pytest.approx(0.383, abs=0.05)
    assert ks_distance(np.full(21, 4.0), np.full(30, 4.0)) == 0
    assert ks_distance(np.full(21, 4.0), np.full(30, 5.0)) == 1


def test_images_of_one_id_are_predicted_each_by_itself(monkeypatch):
    ids = {"image_id": "LCC", "patient_id": ["1", "2"], "laterality": "L", "view": "CC", "path": ["/a", "/b"]}
    tables = []

    def predicted(options, trained, given, folds):
        tables.extend(given)
        return [SimpleNamespace(breasts=lambda: pd.DataFrame({"probability": [0.2, 0.6]}))]

    monkeypatch.setattr("rsna.external.unlike.predict_tables", predicted)
    monkeypatch.setattr("rsna.external.unlike.folds_not_trained_on", lambda runs: {})
    options = AuditOptions("set", run="run")
    assert _predicted(options, SimpleNamespace(threshold=0.5), pd.DataFrame(ids)) == (0.5, 2)
    assert tables[0].frame["image_id"].is_unique
