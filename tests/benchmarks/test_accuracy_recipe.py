"""Results of the accuracy benchmark count where they are whole, and of the recipe that would be trained now."""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rsna.config.compose import compose
from rsna.files import write_json
from tests.benchmarks.simulate import simulated, small_options

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from accuracy import Job, configuration, first_stage, of_this_recipe, read_results, recipe_of, same_recipe
from accuracy_recipe import changes


@pytest.fixture
def results():
    return [simulated("c", seed, 1.6) for seed in range(3)]


@pytest.fixture
def options(tmp_path):
    return small_options(tmp_path)


def test_only_what_is_complete_and_of_one_configuration_is_read(tmp_path, results, capsys):
    for seed, stamps in ((0, "aaaa"), (1, "aab"), (2, "aaab")):
        folder = tmp_path / "results" / "cbis160" / "c" / f"seed{seed}"
        folder.mkdir(parents=True)
        for fold, stamp in enumerate(stamps):
            part = results[seed].predictions.query("fold == @fold")
            part.to_parquet(folder / f"fold{fold}.parquet")
            about = {"n_folds": 4, "aggregate": "mean", "weights": "", "hardware": "h", "seconds": 1}
            write_json(folder / f"fold{fold}.json", {"recipe": {"seed": stamp}} | about)
    found = list(read_results(tmp_path))
    assert [(result.seed, len(result.predictions), result.seconds) for result in found] == [(0, 600, 4)]
    assert capsys.readouterr().out.count("left out") == 2


def test_folds_of_an_arm_that_had_more_of_them_are_passed_over(tmp_path, results, capsys):
    folder = tmp_path / "results" / "cbis160" / "h_half" / "seed0"
    folder.mkdir(parents=True)
    for fold in range(4):
        results[0].predictions.query("fold == @fold").to_parquet(folder / f"fold{fold}.parquet")
        n_folds = 2 if fold < 2 else 4
        about = {"n_folds": n_folds, "aggregate": "mean", "weights": "", "hardware": "h", "seconds": 1}
        write_json(folder / f"fold{fold}.json", {"recipe": {"folds.n_folds": str(n_folds)}} | about)
    (found,) = read_results(tmp_path)
    assert (len(found.predictions), found.seconds) == (300, 2)
    assert not capsys.readouterr().out


def test_an_option_that_is_new_changes_no_first_stage(options):
    job = Job("rsna256", "d", 0)
    now = recipe_of(configuration(job, options), first_stage(job, options))
    first = {key: value for key, value in json.loads(now["first"]).items() if key != "trainer.ema"}
    assert same_recipe(now | {"first": json.dumps(first)}, now)
    assert not same_recipe(now | {"first": json.dumps(first | {"optim.lr": "7"})}, now)
    assert not same_recipe({key: value for key, value in now.items() if key != "first"}, now)


def test_results_of_a_recipe_that_has_changed_are_left_out_of_the_report(options, capsys):
    def of(arm, seed, **changed):
        job = Job("rsna256", arm.partition("+")[0], seed)
        config = configuration(job, options, 2 if job.arm == "g_site" else 0)
        recipe = recipe_of(config, first_stage(job, options)) | changed
        return replace(simulated("c", 0, 1.0), dataset="rsna256", arm=arm, seed=seed, recipe=recipe)

    good = [of("d", 1), of("g_site", 0), of("c+more", 0)]
    stale = [of("d", 0, **{"trainer.epochs": "9"}), of("c+more", 2, **{"optim.lr": "7.0"})]
    nowhere = argparse.Namespace(**vars(options) | {"data": Path("/nowhere")})  # reports need no images
    assert list(of_this_recipe([*good, *stale], nowhere)) == good
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("rsna256, arm d, seed 0: of another recipe, left out: trainer.epochs was 9 and is ")
    assert said[1].startswith(
        "rsna256, arm c+more, seed 2: of another recipe, left out: optim.lr was 7.0 and is 0.0005"
    )
    options.tried = ["more", "optim.lr=7"]
    assert list(of_this_recipe([good[-1], stale[-1]], options)) == [stale[-1]]


def test_the_two_commands_of_the_documentation_are_those_of_the_arm_in_two_stages(options):
    options.epochs = 6
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in page.splitlines() if "data.root=CROPS" in line]
    job = Job("cbis160", "d", 0)
    for command, arm in zip(commands, (first_stage(job, options), configuration(job, options)), strict=True):
        said = changes(recipe_of(arm), recipe_of(compose(command[2:])))
        assert {line.split()[0] for line in said} <= {"name", "data.name", "model.weights"}
