import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rsna.evaluation.checks import PredictionError
from rsna.evaluation.evaluate import evaluate
from rsna.evaluation.metrics import pf1
from rsna.evaluation.slices import FEWEST, slices
from tests.evaluation.simulate import simulate_images


@pytest.fixture(scope="module")
def evaluation():
    images = simulate_images(patients=300)
    person = images["patient_id"].astype(int)
    healthy = images["cancer"] == 0
    return evaluate(
        images.assign(
            site_id=1 + person % 2,
            machine_id=np.where(person < 10_005, 170.0, 29.0),
            age=np.where(person % 50 == 0, np.nan, 35 + person % 60),
            density=np.array(["A", "B", None])[person % 3],
            implant=(person % 40 == 0).astype(float),
            BIRADS=np.where(person % 2 == 0, np.nan, person % 3),
            difficult_negative_case=healthy & (person % 4 == 0),
        ),
        resamples=0,
    )


@pytest.fixture(scope="module")
def found(evaluation):
    return slices(evaluation, resamples=100)


def by(found, name):
    return {part.value: part for part in found if part.by == name}


def test_every_kind_of_slice_is_there_in_order(found):
    assert list(dict.fromkeys(part.by for part in found)) == [
        "site", "machine", "views", "density", "age", "implant", "BIRADS", "negatives",
    ]  # fmt: skip
    assert list(by(found, "site")) == ["1", "2"]
    assert list(by(found, "machine")) == ["29", "170"]
    assert list(by(found, "density")) == ["A", "B", "not given"]
    assert list(by(found, "implant")) == ["no", "yes"]
    assert list(by(found, "BIRADS")) == ["0", "1", "2", "not given"]
    assert list(by(found, "age")) == [
        "under 40", "40 to 49", "50 to 59", "60 to 69", "70 to 79", "80 and over", "not given",
    ]  # fmt: skip


def test_slices_by_one_column_share_out_the_breasts(evaluation, found):
    for name in ("site", "machine", "views", "density", "age", "implant", "BIRADS"):
        parts = by(found, name).values()
        assert sum(part.breasts for part in parts) == len(evaluation.breasts)
        assert sum(part.positives for part in parts) == evaluation.pooled.positives


def test_metrics_of_a_slice_are_those_of_its_breasts_at_the_thresholds_of_the_whole(evaluation, found):
    breasts = evaluation.breasts[evaluation.breasts["site_id"] == 2]
    part = by(found, "site")["2"]
    assert part.metrics["auroc"] == pytest.approx(roc_auc_score(breasts["cancer"], breasts["probability"]))
    assert part.metrics["pf1_nested"] == pytest.approx(pf1(breasts["cancer"], breasts["recalled"]))
    assert part.recalled == pytest.approx(breasts["recalled"].mean())
    for name, interval in part.intervals.items():
        assert interval.low < part.metrics[name] < interval.high


def test_small_slices_say_too_few(found):
    few = by(found, "machine")["170"]
    assert few.positives < FEWEST
    assert few.too_few
    assert few.metrics == {}
    line = next(line for line in found.table().splitlines() if line.startswith("machine 170"))
    assert line.split()[-1] == "few"
    assert f"{few.breasts}" in line


def test_difficult_negatives_stand_against_all_positives(evaluation, found):
    parts = by(found, "negatives")
    difficult = evaluation.breasts["difficult_negative_case"].astype(bool)
    assert parts["difficult"].positives == parts["other"].positives == evaluation.pooled.positives
    assert parts["difficult"].breasts == difficult.sum() + evaluation.pooled.positives


def test_negatives_of_which_nobody_says_how_difficult_they_are_stand_in_a_slice_of_their_own(evaluation):
    breasts = evaluation.breasts.copy()
    negative = breasts.index[breasts["cancer"] == 0]
    breasts["difficult_negative_case"] = breasts["difficult_negative_case"].astype(object)
    breasts.loc[negative[:17], "difficult_negative_case"] = None
    parts = by(slices(replace(evaluation, breasts=breasts), resamples=0), "negatives")
    positives = evaluation.pooled.positives
    assert parts["not given"].breasts == 17 + positives
    assert sum(part.breasts - positives for part in parts.values()) == len(negative)


def test_columns_that_did_not_come_make_no_slices():
    found = slices(evaluate(simulate_images(), resamples=0), resamples=0)
    assert {part.by for part in found} == {"views"}
    assert found[0].intervals == {}


@pytest.mark.parametrize("values", [[True, False], ["True", "False"], [1, 0], ["1", "0"], [1.0, 0.0], ["Yes", "no"]])
def test_yes_and_no_are_read_however_a_table_writes_them(values):
    images = simulate_images(patients=60)
    odd = images["patient_id"].astype(int) % 2 == 1
    parts = by(slices(evaluate(images.assign(implant=np.where(odd, *values)), resamples=0), resamples=0), "implant")
    assert {name: part.breasts for name, part in parts.items()} == {"no": 60, "yes": 60}


def test_reweighted_sets_keep_their_weights_in_slices():
    images = simulate_images(patients=200)
    images["site_id"] = images["patient_id"].astype(int) % 2
    whole = evaluate(images, sampling="enriched", prevalence=0.02, resamples=0)
    part = slices(whole, resamples=50)[0]
    rows = whole.breasts[whole.breasts["site_id"] == 0]
    assert part.metrics["pf1_raw"] == pytest.approx(pf1(rows["cancer"], rows["probability"], weights=rows["weight"]))
    assert part.intervals["pf1_raw"].low < part.metrics["pf1_raw"] < part.intervals["pf1_raw"].high


@pytest.mark.parametrize("age", ["076Y", "18M", "old"])
def test_an_age_that_is_no_number_of_years_is_named(age):
    images = simulate_images(patients=20)
    ages = np.where(images["prediction_id"] == "10003_L", age, "76")
    with pytest.raises(PredictionError, match=rf"1 of 40 \(10003_L\) breasts have an age .*, first '{age}'; write 76"):
        slices(evaluate(images.assign(age=ages), resamples=0), resamples=0)


def test_slices_are_json(found):
    back = json.loads(json.dumps([part.to_dict() for part in found], allow_nan=False))
    assert {"by", "value", "breasts", "positives", "too_few", "metrics", "intervals", "recalled"} == back[0].keys()
    assert isinstance(pd.DataFrame(back), pd.DataFrame)


def test_a_notebook_shows_slices_as_a_table(found):
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found)
    assert "<th>site 1</th>" in html


def test_a_slice_without_thresholds_has_no_share_that_is_recalled():
    images = simulate_images(patients=200)
    images["fold"] = images["patient_id"].astype(int) % 2
    images.loc[images["fold"] == 1, "cancer"] = 0
    found = slices(evaluate(images.assign(site_id=images["fold"]), resamples=0), resamples=0)
    shares = {part.value: part.recalled for part in found if part.by == "site"}
    assert np.isnan(shares["0"])  # its threshold would be chosen on fold 1, which has no positive
    assert 0 <= shares["1"] <= 1
    assert "–" in next(line for line in found.table().splitlines() if line.startswith("site 0"))
