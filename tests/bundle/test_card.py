"""The model card of a bundle."""

import json

import pytest

from rsna.bundle.make import make_bundle
from rsna.config.verbs import BundleMakeOptions
from rsna.evaluation.bootstrap import RESAMPLES
from rsna.paper.blocks import to_markdown
from rsna.paper.subject import Subject
from rsna.paper.text import sections
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run


def card(tmp_path, oof, folds=(), **config):
    run = write_run(tmp_path / "b3", oof, networks=True, **config)
    return run, make_bundle(BundleMakeOptions(run=str(run), out=str(tmp_path / "bundle"), folds=folds, host="none"))


def rows(text):
    """First column of every table of two or three columns → the others."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {name: rest for name, *rest in cells}


def test_a_card_says_what_the_model_is_made_of_and_how_well_it_does(tmp_path):
    run, bundle = card(tmp_path, drawn(), checkpoint="best", model={"backbone": "test_efficientnet"})
    text, record = (bundle / "README.md").read_text(), json.loads((bundle / "bundle.json").read_text())
    said = rows(text)
    assert "README.md" in record["files"]
    assert "not a medical device" in text
    assert said["images"] == ["480"]
    assert said["patients"] == ["120"]
    assert said["breasts in these folds"] == ["240, of which 24 with cancer (10.00%)"]
    assert said["sampling"] == ["enriched with positives"]
    assert "pF1 says nothing of screening" in text
    assert said["age"] == ["40 to 79 years, median 59.5 (quartiles 49.75 and 69.25)"]
    assert said["sites"] == ["2: 1 50%, 2 50%"]
    assert said["machines"] == ["unknown"]
    assert "test_efficientnet (timm) with 1 input channel, started from ImageNet" in text
    assert "scaled to 64×32 pixels" in text
    assert "best epoch by pF1 on the fold that is reported" in text
    pooled = record["metrics"]["pooled"]
    ends = pooled["intervals"]["auroc"]
    assert said["AUROC"] == [f"{pooled['auroc']:.3f}", f"{ends['low']:.3f} to {ends['high']:.3f}"]
    assert f"Threshold of a submission: {record['threshold']:.4f}" in text
    for name in ("preprocessing", "folds", "dataset"):
        assert said[f"{name} hash"] == [record["members"][0]["hashes"][name]]
    assert "Software: rsna-mammography" in text
    assert str(run) not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("demo", [True, False])
def test_simulated_images_are_said_to_be_simulated(tmp_path, demo):
    data = {"root": "nowhere", "name": "demo", "sampling": "enriched", "demo": demo}
    _, bundle = card(tmp_path, drawn(40), data=data)
    text = (bundle / "README.md").read_text()
    assert ("The images are simulated" in text) == demo
    assert rows(text)["simulated"] == ["yes" if demo else "no"]


def test_metrics_of_some_folds_have_no_intervals_and_what_is_unknown_is_said(tmp_path):
    oof = drawn().drop(columns=["age", "site_id"])
    _, bundle = card(tmp_path, oof, folds=(1,), model={"backbone": "test_efficientnet", "pretrained": False})
    text = (bundle / "README.md").read_text()
    said = rows(text)
    assert said["folds"] == ["1 of 2"]
    assert said["breasts in these folds"][0].startswith("120, of which")
    assert said["age"] == said["sites"] == said["country, ethnicity, years of acquisition, readers"] == ["unknown"]
    assert "started from random numbers" in text


def test_the_card_is_the_text_of_the_report(tmp_path):
    run, bundle = card(tmp_path, drawn())
    text = (bundle / "README.md").read_text()
    for section in sections(Subject.of_run(open_run(run), resamples=RESAMPLES)):
        assert to_markdown("", [section]).removeprefix("# \n\n") in text


def test_a_card_of_several_says_of_each_how_it_predicts(tmp_path):
    """The second is of breasts, with mirror images, and numbers its folds otherwise: of those it has the first's."""
    oof, other = drawn(40), drawn(40, seed=1)
    first = write_run(tmp_path / "first", oof, networks=True)
    second = write_run(
        tmp_path / "second",
        other.drop_duplicates("prediction_id").drop(columns="image_id").assign(fold=lambda o: 1 - o["fold"]),
        trained=(1,),
        networks=True,
        split=other.assign(fold=1 - other["fold"]),
        unit="breast",
        evaluation={"flip_tta": True},
    )
    out = tmp_path / "bundle"
    make_bundle(BundleMakeOptions(run=(str(first), str(second)), out=str(out), folds=(0,), host="none"))
    text = (out / "README.md").read_text()
    one, two = text.split("Member second, where it is unlike first.")
    images = "averaged over each image; a breast's probability is the mean of its images' probabilities."
    assert images in one
    assert images not in two
    assert "averaged over each breast and its mirror image." in two
    assert "| breast | mean of its images |" in text.split("Member first:")[1]
    of_second = text.split("Member second:")[1]
    assert "| breast | at once |" in of_second
    assert "| folds | 1 of 2 |" in of_second
    assert "on 2 × T4, arithmetic" in one
    assert "Software:" not in two, "what trained fold 1 of the second is what trained the first"
