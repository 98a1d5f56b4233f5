"""The table for people: within its width, nothing cut off, nothing said twice."""

import re

import pytest

from rsna.board.choose import Choice
from rsna.board.leaderboard import leaderboard
from rsna.board.terminal import columns_of, p_text, show, signed, signed_ends, to_markdown, to_text, wrap
from rsna.runs.lb_scores import Submission, record_scores
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def groups(ranked):
    return leaderboard(find_runs(ranked)[0], resamples=200)


def plain(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def test_every_column_that_says_something_is_shown_and_its_marks_explained(groups):
    text = plain(to_text(groups))
    assert "in all of these: seeds 1, backbone test_efficientnet, input 64×32, commit 0123456+, hardware 2 × T4" in text
    for title in ("nested pF1", "from leader", "AUROC", "AUPRC", "raw pF1", "folds", "duration"):
        assert f" {title} " in text
    assert " public " not in text
    assert "* checkpoint=best" in text
    assert "~ not told apart from the leader" in text
    assert "corrected for the number of runs" in text
    assert "begun: 1 of 2 folds are finished" in text
    assert text.count("the leader is the best of 3 runs") == 1
    assert text.count("the leader is the best of") == 1  # a run that is alone was not chosen


def test_a_group_is_called_by_what_people_know(groups, tmp_path):
    title = next(group for group in groups if len(group.places) > 1).title
    assert title == "demo, 2 folds, seed 0, 240 breasts, 24 positive"
    by_site = write_run(tmp_path / "sites", drawn(), folds={"by": "site_id", "n_folds": 2})
    assert leaderboard([open_run(by_site)])[0].title.startswith("demo, 2 parts by site_id, ")
    # Two of one name are told apart where they are said.
    assert [line for line in to_text(groups).splitlines() if line.startswith(title)] != [title, title]
    assert f"{title} (dataset eeeeeeeeeeee," in plain(to_text(groups))


def between(line: str, first: int, last: int) -> str:
    """What stands in some columns of the screen."""
    return "".join(c for i, c in enumerate(line) if first <= columns_of(line[:i]) < last)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_tables_fit_and_nothing_is_cut_off(tmp_path, width):
    names = ("a", "efficientnet-with-a-name-that-is-long_soft.labels-and-a-balanced-sampler", "長い名前" * 5)
    for seed, name in enumerate(names):
        write_run(tmp_path / name, drawn(40, seed=seed))
    group = leaderboard(find_runs(tmp_path)[0], resamples=50)
    text = to_text(group, width=width)
    path = columns_of(str(tmp_path))
    assert all(columns_of(line) <= width for line in text.splitlines() if str(tmp_path) not in line), path
    cells = [line if width > 100 else between(line, 4, 24) for line in text.splitlines()]
    for name in names:
        assert name in re.sub(r"\s", "", "".join(cells))
    assert (len(re.findall(r"^ *#", text, re.MULTILINE)) == 1) == (width >= 100)


def test_the_difference_from_the_leader_stands_with_interval_and_p(groups):
    group = max(groups, key=lambda group: len(group.places))
    poor = next(place for place in group.places if place.run.name == "poor")
    line = next(line for line in to_text([group], width=400).splitlines() if " poor " in line)
    gap = poor.difference
    ends = f"{signed(-gap.interval.high)} to {signed(-gap.interval.low)}"
    assert re.search(rf"{signed(-gap.value, 4)}  +{re.escape(ends)}  {p_text(poor.p)}  ", line)
    assert signed(-gap.value, 4).startswith("−")


def test_scores_of_the_competition_are_a_column_where_there_are_any(tmp_path):
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, 0.49)])
    text = to_text(leaderboard([open_run(run)]), width=300)
    assert re.search(r"public  private .*\n.*  0\.52 +0\.49 ", text)


def test_what_is_sorted_or_filtered_by_is_shown(groups):
    text = to_text(groups, Choice.of("-optim.lr", ["folds.n_folds=2"]), width=400)
    assert re.search(r"optim\.lr 0\.\d+, folds\.n_folds 2", text)


def test_markdown_has_a_row_a_run_and_as_many_cells_in_each(groups):
    text = to_markdown(groups)
    table = [re.findall(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5 + 2 * 2
    assert len({len(cells) for cells in table[:6]}) == 1
    assert r"- \~ not told apart" in text
    assert r"- \+ the checkout" in text


def test_a_terminal_is_shown_the_same_by_rich(groups, capsys):
    pytest.importorskip("rich", reason="colours need rich")
    for width in (80, 200):
        show(groups, Choice(), width)
        shown = capsys.readouterr().out
        assert all(columns_of(line) <= width for line in shown.splitlines())
        without_rules = plain(re.sub("─+", "", shown))
        assert without_rules == plain(to_text(groups, width=width))


@pytest.mark.parametrize(
    ("value", "said"), [(0.01234, "+0.012"), (-0.01234, "−0.012"), (-0.0001, "0.000"), (0.0, "0.000")]
)
def test_a_difference_has_a_sign_and_nothing_has_none(value, said):
    assert signed(value) == said


def test_small_p_is_no_zero():
    assert [p_text(p) for p in (0.0004, 0.0005, 0.5, float("nan"))] == ["<0.001", "0.001", "0.500", "–"]


def test_words_are_broken_where_people_would():
    assert wrap("b3-soft-labels-and-balanced", 12) == ["b3-soft-", "labels-and-", "balanced"]
    assert wrap("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert wrap("", 10) == [""]


def test_what_is_undefined_has_neither_sign_nor_interval():
    nan = float("nan")
    assert (signed(nan), signed_ends(nan, nan)) == ("–", "–")
    assert signed_ends(-0.0123, 0.5) == "−0.012 to +0.500"
