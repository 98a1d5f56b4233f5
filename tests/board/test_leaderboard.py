import json
import shutil

import numpy as np
import pandas as pd
import pytest

from rsna.board.leaderboard import leaderboard
from rsna.board.ranking import remarks
from rsna.board.terminal import to_text
from rsna.evaluation.evaluate import evaluate
from rsna.runs.record_file import checksum
from rsna.runs.run import Run, find_runs, open_run
from tests.board.runs import drawn, write_run


def test_runs_on_other_images_or_folds_are_never_ranked_together(ranked, tmp_path):
    oof = drawn(seed=6)
    other = open_run(write_run(tmp_path / "refolded", oof.assign(fold=1 - oof["fold"])))
    groups = leaderboard([*find_runs(ranked)[0], other], resamples=0)
    assert sorted(len(group.places) for group in groups) == [1, 1, 4]
    assert [group.places[0].rank for group in groups] == [1, 1, 1]


def test_a_set_that_one_of_its_runs_calls_enriched_is_enriched(tmp_path):
    """The same images, so they are ranked together; whoever left out data.sampling does not speak for all."""
    data = {"root": "nowhere", "name": "demo"}
    for name, sampling in (("a", "population"), ("b", "enriched")):
        write_run(tmp_path / name, drawn(40), data=data | {"sampling": sampling})
    (group,) = leaderboard(find_runs(tmp_path)[0], resamples=0)
    assert [place.run.record.data.sampling for place in group.places] == ["population", "enriched"]
    assert any(line.startswith("enriched set, whose share of positives") for line in remarks(group, group.places))


def test_the_best_nested_pf1_leads_and_an_incomplete_run_is_not_ranked(ranked):
    group = max(leaderboard(find_runs(ranked)[0], resamples=0), key=lambda g: len(g.places))
    nested = [p.run.metric("pf1_nested") for p in group.places if p.rank]
    assert nested == sorted(nested, reverse=True)
    assert [p.rank for p in group.places] == [1, 2, 3, None]
    assert group.places[-1].run.name == "begun"
    assert group.places[-1].why.startswith("1 of 2 folds are finished; the metrics shown are of fold 0 alone, ")


def test_exact_ties_share_a_rank(tmp_path):
    for name, seed in (("b", 1), ("a", 1), ("c", 1), ("d", 2)):
        write_run(tmp_path / name, drawn(40, seed=seed, signal=3.0 - seed))
    group = leaderboard(find_runs(tmp_path)[0], resamples=50)[0]
    assert [(place.run.name, place.rank) for place in group.places] == [("a", 1), ("b", 1), ("c", 1), ("d", 4)]
    assert [place.against == "leader" for place in group.places] == [True, False, False, False]
    assert [place.p for place in group.places[:3]] == [None, 1.0, 1.0]


def test_one_fold_alone_shows_its_own_metrics(ranked):
    place = leaderboard([open_run(ranked / "begun")], resamples=0)[0].places[0]
    shown, alone = place.run.shown, evaluate(drawn(seed=4).query("fold == 0"), resamples=0)
    assert (place.rank, place.run.metrics, shown.name) == (None, None, "fold 0 alone")
    assert (shown.get("pf1_nested"), shown.get("auroc")) == (alone.pooled.pf1_nested, alone.pooled.auroc)
    cells = to_text(leaderboard([open_run(ranked / "begun")], resamples=0)).split()
    assert f"{alone.pooled.pf1_nested:.4f}" in cells
    assert f"{alone.pooled.auroc:.4f}" in cells


def test_some_folds_show_the_metrics_of_what_is_there(tmp_path):
    oof = drawn(n_folds=3)
    run = open_run(write_run(tmp_path / "run", oof, trained=(0, 2), folds={"n_folds": 3}))
    place = leaderboard([run], resamples=0)[0].places[0]
    assert place.why == "2 of 3 folds are finished; the metrics shown are of fold 0, 2"
    assert run.shown.get("auroc") == evaluate(oof[oof["fold"] != 1], resamples=0).pooled.auroc


def edited(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def nested(content):
    content["breasts"]["pooled"]["pf1_nested"] = 0.99


EDITS = {
    "the metric": ("cv/metrics.json", nested),
    "its interval": ("cv/metrics.json", lambda c: c["breasts"]["pooled"]["intervals"]["pf1_nested"].update(low=0.9)),
    "a fold of the pooled ones": ("cv/metrics.json", lambda c: c["breasts"]["folds"][1].update(auroc=0.99)),
    "the threshold": ("cv/metrics.json", lambda c: c["breasts"]["threshold"].update(value=0.5)),
    "a fold": ("fold1/metrics.json", nested),
    "the seconds of a fold": ("fold0/metrics.json", lambda c: c.update(seconds=1.0)),
    "the set": ("cv/metrics.json", lambda c: c["hashes"].update(dataset="e" * 12)),
}


@pytest.mark.parametrize(("file", "change"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_file_is_noticed_and_its_run_shown_but_not_ranked(tmp_path, file, change):
    honest = write_run(tmp_path / "honest", drawn(seed=1))
    liar = write_run(tmp_path / "liar", drawn(seed=3, signal=0.2))
    edited(liar / file, change)
    runs, left_out = find_runs(tmp_path)
    assert left_out == []
    group = leaderboard(runs, resamples=50)[0]
    assert [(place.run.path, place.rank) for place in group.places] == [(honest, 1), (liar, None)]
    assert f"{liar / file}: was changed after it was written" in group.places[1].why
    assert "0.9900" not in to_text([group])


@pytest.mark.parametrize("folder", ["cv", "fold0"])
def test_edited_predictions_are_noticed(tmp_path, folder):
    run = write_run(tmp_path / "run", drawn())
    oof = pd.read_parquet(run / folder / "oof.parquet")
    oof.assign(probability=0.98 * oof["cancer"] + 0.01).to_parquet(run / folder / "oof.parquet", index=False)
    place = leaderboard([open_run(run)], resamples=50)[0].places[0]
    assert place.rank is None
    assert f"{run / folder / 'oof.parquet'}: is not the file that metrics.json was made of" in place.why


@pytest.mark.parametrize(("config", "said"), [({}, "AUROC of fold 0 is"), ({"dataset": "e" * 12}, "is of another run")])
def test_results_of_another_run_are_noticed(tmp_path, config, said):
    run, other = write_run(tmp_path / "run", drawn(seed=3)), write_run(tmp_path / "other", drawn(seed=1), **config)
    shutil.copytree(other / "cv", run / "cv", dirs_exist_ok=True)
    place = leaderboard([open_run(run)], resamples=50)[0].places[0]
    assert place.rank is None
    assert str(run / "cv" / "metrics.json") in place.why
    assert said in place.why or "pF1 raw of fold 0 is" in place.why


def test_metrics_with_a_checksum_of_their_own_are_held_against_the_predictions(tmp_path):
    run = write_run(tmp_path / "run", drawn())
    content = json.loads((run / "cv" / "metrics.json").read_text())
    del content["checksum"]
    nested(content)
    (run / "cv" / "metrics.json").write_text(json.dumps(content | {"checksum": checksum(content)}))
    assert open_run(run).changed == {}
    place = leaderboard([open_run(run)], resamples=0)[0].places[0]
    assert place.rank is None
    assert "says pF1 nested 0.9900, the predictions beside it give 0." in place.why


def test_a_run_that_was_scored_before_there_was_a_metric_keeps_its_rank(tmp_path):
    run = write_run(tmp_path / "run", drawn())
    content = json.loads((run / "cv" / "metrics.json").read_text())
    del content["checksum"]
    del content["breasts"]["pooled"]["brier"]
    (run / "cv" / "metrics.json").write_text(json.dumps(content | {"checksum": checksum(content)}))
    place = leaderboard([open_run(run)], resamples=0)[0].places[0]
    assert (place.rank, place.why) == (1, "")


def test_layout_is_no_edit(tmp_path):
    run = write_run(tmp_path / "run", drawn())
    edited(run / "cv" / "metrics.json", lambda content: None)
    assert leaderboard([open_run(run)], resamples=0)[0].places[0].rank == 1


def test_a_run_that_learned_nothing_says_so(tmp_path):
    rng = np.random.default_rng(0)
    oof = drawn()
    good = write_run(tmp_path / "good", oof)
    write_run(tmp_path / "noise", oof.assign(probability=rng.random(len(oof))))
    text = to_text(leaderboard(find_runs(tmp_path)[0], resamples=0), width=1000)
    assert f"{tmp_path / 'noise'}: has learned nothing that these breasts show: AUROC 0." in text
    assert f"{good}: has" not in text


def test_a_difference_that_may_be_noise_is_told_from_one_that_is_not(ranked):
    group = max(leaderboard(find_runs(ranked)[0], resamples=400), key=lambda g: len(g.places))
    against = {place.run.name: place.against for place in group.places}
    leader, second = (place.run.name for place in group.places[:2])
    assert {leader, second} == {"good", "twin"}
    assert against == {leader: "leader", second: "noise", "poor": "behind", "begun": "not compared"}
    assert group.places[2].p < 0.05 <= group.places[1].p


def test_a_run_that_lost_breasts_is_ranked_but_not_compared(tmp_path):
    oof = drawn()
    write_run(tmp_path / "whole", drawn(signal=3.0))
    write_run(tmp_path / "less", oof[oof["prediction_id"] != "p1_R"], split=oof)
    group = leaderboard(find_runs(tmp_path)[0], resamples=100)[0]
    assert group.places[1].against == "not compared"
    assert "p1_R" in group.places[1].why


def test_a_second_ranking_says_the_same_and_evaluates_nothing(ranked, tmp_path, monkeypatch):
    runs = shutil.copytree(ranked, tmp_path / "runs")
    evaluated, evaluate = [], Run.evaluate

    def counted(run, folds=()):
        evaluated.append(run.name)
        return evaluate(run, folds)

    monkeypatch.setattr(Run, "evaluate", counted)
    said = []
    for _ in range(2):
        for file in runs.glob("*/cv/resamples.json"):
            if not said:
                file.unlink()
        said.append(to_text(leaderboard(find_runs(runs)[0], resamples=60)))
        evaluated.append("again")
    # Of a run that is not finished nothing is kept.
    found = [name for name in evaluated if name != "begun"]
    assert sorted(found[:4]) == ["elsewhere", "good", "poor", "twin"]
    assert found[4:] == ["again", "again"]
    assert said[0] == said[1]


def test_a_run_that_never_learnt_cancer_is_listed(tmp_path):
    run = write_run(tmp_path / "view", drawn(40), targets=["view"])
    place = leaderboard([open_run(run)])[0].places[0]
    assert (place.rank, place.why) == (None, "learns view, not cancer")


def test_resampling_is_on_the_pooled_out_of_fold_breasts(ranked):
    place = leaderboard([open_run(ranked / "good")])[0].places[0]
    assert len(place.evaluate().breasts) == pd.read_parquet(ranked / "good/cv/oof.parquet")["prediction_id"].nunique()


def test_breasts_are_kept_while_others_are_looked_at_unless_they_are_very_many(ranked, monkeypatch):
    runs = find_runs(ranked)[0]
    few = leaderboard(runs, 50)
    kept = few[0].places[0].evaluate
    assert kept() is kept()
    monkeypatch.setattr("rsna.board.leaderboard._MOST_KEPT", 0)
    many = leaderboard(runs, 50)
    assert to_text(many) == to_text(few)
    anew = many[0].places[0].evaluate
    assert anew() is not anew()


def test_what_keeps_finished_runs_out_is_said(tmp_path):
    healthy = drawn(seed=1).assign(cancer=0)
    write_run(tmp_path / "healthy", healthy)
    write_run(tmp_path / "pooling", drawn(seed=2))
    shutil.rmtree(tmp_path / "pooling" / "cv")
    (group,) = leaderboard(find_runs(tmp_path)[0], resamples=0)
    why = {place.run.name: place.why for place in group.places}
    assert why["healthy"] == "no breast of it is positive"
    assert why["pooling"].startswith("all folds are finished, and not pooled yet")


def test_a_run_without_a_mistake_is_doubted(tmp_path):
    oof = drawn(seed=1)
    write_run(tmp_path / "perfect", oof.assign(probability=0.2 + 0.5 * oof["cancer"]))
    (group,) = leaderboard(find_runs(tmp_path)[0], resamples=0)
    said = [line for line in remarks(group, group.places) if "puts every positive above every negative" in line]
    assert [line.split(": ")[0] for line in said] == [str(tmp_path / "perfect")]
