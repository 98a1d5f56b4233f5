"""The comparison in a terminal."""

import pytest

from rsna.board.compare import compare_runs
from rsna.board.compare_text import comparison_text, show_comparison
from rsna.board.terminal import signed
from rsna.runs.run import open_run
from tests.board.runs import drawn, write_run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    runs = tmp_path_factory.mktemp("compared")
    write_run(runs / "a", drawn(seed=1))
    write_run(runs / "b", drawn(seed=2, signal=3.0), optim={"lr": 0.01}, cache_dir="elsewhere")
    write_run(runs / "c", drawn(seed=3))
    return compare_runs([open_run(runs / name) for name in "abc"], resamples=50)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_tables_fit(found, width):
    lines = comparison_text(found, width).splitlines()
    assert max(len(line) for line in lines if str(found.first.run.path.parent) not in line) <= width


def test_settings_metrics_recalls_and_slices_are_there(found):
    text = comparison_text(found, 200)
    assert "optim.lr" in text
    assert "also apart, in where and with what they were trained: cache_dir" in text
    gap = found.others[0].comparison.differences["auroc"]
    row = next(line for line in text.splitlines() if line.startswith("AUROC"))
    assert signed(gap.value, 4) in row
    assert f"{signed(gap.interval.low, 4)} to {signed(gap.interval.high, 4)}" in row
    assert [line.split()[1:] for line in text.splitlines() if line.startswith("cancers")] == [
        [str(count) for count in one.recalls["cancers"]] for one in found.others
    ]
    assert text.count("site 1") == 2
    assert "slices with fewer than 10 breasts of either class are left out" in text
    assert "Brier score (less is better)" in text
    assert "another seed of the same configuration would differ" in text


def test_runs_that_are_alike_say_so(found, tmp_path):
    twin = open_run(write_run(tmp_path / "twin", drawn(seed=3)))
    alike = compare_runs([found.first.run, twin], resamples=20)
    assert "their configurations are the same" in comparison_text(alike)


def test_a_pipe_gets_80_columns(found, capsys):
    show_comparison(found)
    assert capsys.readouterr().out == comparison_text(found, 80) + "\n"
