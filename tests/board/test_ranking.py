import csv
import io
import json

from rsna.board.leaderboard import leaderboard
from rsna.board.ranking import to_csv, to_json, to_text
from rsna.runs.lb_scores import Submission, record_scores
from rsna.runs.run import find_runs, open_run
from tests.board.runs import drawn, write_run


def test_text_shows_every_column_and_explains_its_marks(ranked):
    text = to_text(leaderboard(find_runs(ranked)[0], resamples=200))
    good = next(line for line in text.splitlines() if "/good" in line)
    for cell in ("2/2", "64×32", "test_efficientnet", "0123456+", "1 h 00 min", "2 × T4"):
        assert cell in good
    assert "* checkpoint=best" in text
    assert "~ not told apart from the leader" in text
    assert "corrected for the number of comparisons" in text
    assert "begun: 1 of 2 folds are finished" in text
    assert text.count("the leader is the best of 3 runs") == 1
    assert text.count("the leader is the best of") == 1  # a run that is alone was not chosen


def test_json_and_csv_say_the_same(ranked):
    groups = leaderboard(find_runs(ranked)[0], resamples=0)
    rows = json.loads(to_json(groups))
    table = list(csv.DictReader(io.StringIO(to_csv(groups))))
    assert [row["run"] for row in rows] == [row["run"] for row in table]
    assert rows[0].keys() == table[0].keys()
    good = next(row for row in rows if row["experiment"] == "good")
    assert good["pf1_nested_low"] <= good["pf1_nested"] <= good["pf1_nested_high"]
    assert float(table[rows.index(good)]["pf1_nested"]) == good["pf1_nested"]


def test_raw_and_corrected_p_are_told(ranked):
    rows = json.loads(to_json(leaderboard(find_runs(ranked)[0], resamples=200)))
    poor = next(row for row in rows if row["experiment"] == "poor")
    assert poor["p"] < poor["p_corrected"] == 2 * poor["p"]  # two comparisons
    assert next(row for row in rows if row["against_leader"] == "leader")["p_corrected"] is None


def test_leaderboard_scores_are_shown(tmp_path):
    run = write_run(tmp_path / "b3", drawn(40))
    record_scores(run, [Submission("2023-01-01", 0.52, 0.49)])
    cells = to_text(leaderboard([open_run(run)])).splitlines()[2].split()
    assert "0.52" in cells
    assert "0.49" in cells


def test_no_run_says_how_to_make_one():
    assert "train.py" in to_text([])
    assert to_json([]) == "[]"
    assert to_csv([]) == ""
