import re
import shutil
from pathlib import Path

import pytest

from rsna.board.report import write_report
from rsna.board.run_page import TILES
from rsna.board.together import together
from rsna.config.board import ReportOptions
from rsna.config.settings import ConfigError, from_mapping
from rsna.evaluation.checks import PredictionError
from rsna.evaluation.tables import number
from rsna.runs.joining import join_runs, open_members
from rsna.runs.run import open_run
from rsna.runs.trained_ensemble import load_ensemble
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> tuple[str, ...]:
    """Two runs with networks on the same folds, as they are named."""
    folder = tmp_path_factory.mktemp("named")
    return tuple(str(write_run(folder / name, drawn(seed=k), networks=True)) for k, name in enumerate(["one", "two"]))


def options(named, tmp_path, **keys) -> ReportOptions:
    return ReportOptions(run=named, out=str(tmp_path / "r.html"), images=0, resamples=50, **keys)


def page_of(asked: ReportOptions) -> str:
    write_report([open_run(name) for name in asked.run], asked)
    return Path(asked.out).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        ({}, "logit_mean"),
        ({"method": "mean"}, "mean"),
        ({"weights": (3, 1)}, "weights"),
        ({"method": "weights"}, "weights"),
    ],
)
def test_what_is_shown_is_what_is_submitted_to_the_digit(named, tmp_path, keys, method):
    asked = options(named, tmp_path, **keys)
    found = together([open_run(name) for name in named], asked)
    shipped = load_ensemble(named, **keys)
    values = shipped.metrics.pooled.model_dump()
    assert found.method == method == shipped.method
    assert [value for _, value, _ in found.tiles] == list(found.values)
    for (title, value, ends), name in zip(found.tiles, TILES, strict=True):
        assert value == number(values[name]), title
        assert ends is not None
    if method == "weights":
        weights = [member.weight for member in found.members]
        assert weights == pytest.approx([0.75, 0.25] if "weights" in keys else [*shipped.member_weights])
        assert found.fitted == ("weights" not in keys)


def test_each_member_stands_beside_all_together(named, tmp_path):
    asked = options(named, tmp_path)
    ensemble = join_runs(open_members(named), "logit_mean", (), 50)
    page = page_of(asked)
    section = page[page.index('<section id="together"') :]
    section = section[: section.index("</section>")]
    assert re.findall(r'rowheader"><a href="#run-\d">(\w+)</a>', section) == ["one", "two"]
    for found in [ensemble.joint, *ensemble.members.values()]:
        assert f">{number(found.pooled.auroc)}</td>" in section
    for comparison in ensemble.gains.values():
        assert f"{comparison.differences['pf1_nested'].value:+.4f}".replace("-", "−") in section
    assert section.count("<svg") == 5
    assert str(tmp_path) not in page


def test_a_run_and_its_copy_are_said_to_be_one(named, tmp_path):
    copy = shutil.copytree(named[0], tmp_path / "copy")
    twice = (*named, str(copy))
    assert f"{copy} is {named[0]} once more, and counts twice" in load_ensemble(twice).notes(())
    remarks = together([open_run(name) for name in twice], options(twice, tmp_path)).remarks
    (said,) = (line for line in remarks if "to the last digit" in line)
    assert said.startswith(f"{copy}: predicts what {named[0]} predicts")


def test_a_folder_of_runs_is_not_joined_and_neither_is_one_run(named, tmp_path):
    runs = [open_run(name) for name in named]
    assert together(runs, ReportOptions(out=str(tmp_path / "r.html"))) is None
    assert together(runs[:1], options(named[:1], tmp_path)) is None


def test_runs_that_cannot_be_joined_are_reported_on_with_the_reason(ranked, tmp_path):
    named = str(ranked / "good"), str(ranked / "begun")
    page = page_of(options(named, tmp_path))
    assert "Not joined: 120 (p101_L, " in page
    assert "breasts are in one run only" in page
    assert len(re.findall("<template data-run", page)) == 2


def test_who_asks_for_a_method_is_told_that_they_cannot_be_joined(ranked, tmp_path):
    named = str(ranked / "good"), str(ranked / "begun")
    with pytest.raises(PredictionError, match="breasts are in one run only"):
        page_of(options(named, tmp_path, method="mean"))
    assert not (tmp_path / "r.html").exists()


def test_an_order_has_no_metrics_of_probabilities_and_says_so(named, tmp_path):
    page = page_of(options(named, tmp_path, method="any"))
    assert "nothing can be submitted by it" in page
    assert "Reliability" not in page[page.index('id="together"') : page.index("</main>")]


def test_without_resamples_there_are_no_intervals(named, tmp_path):
    asked = ReportOptions(run=named, out=str(tmp_path / "r.html"), images=0, resamples=0)
    found = together([open_run(name) for name in named], asked)
    assert all(ends is None for _, _, ends in found.tiles)
    assert all(member.gain is None for member in found.members)
    assert "together less this" not in page_of(asked)


def test_epochs_that_were_chosen_on_the_reported_fold_are_said(ranked, tmp_path):
    asked = options((str(ranked / "good"), str(ranked / "twin")), tmp_path)
    assert "checkpoint=best in twin" in page_of(asked)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"weights": [1, 2]}, "method, weights: they join the runs that are named"),
        ({"method": "mean"}, "method, weights: they join the runs that are named"),
        ({"run": ["a"], "weights": [1]}, "weights: there is one run"),
        ({"run": ["a", "b"], "weights": [1]}, "weights: 1 for 2 runs"),
        ({"run": ["a", "b"], "weights": [1, 2], "method": "mean"}, "weights: they go with method=weights"),
    ],
)
def test_keys_that_join_nothing_are_refused(keys, said):
    with pytest.raises(ConfigError, match=said):
        from_mapping(ReportOptions, keys)
