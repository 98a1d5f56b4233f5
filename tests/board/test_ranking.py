import csv
import io
import json

import pytest

from rsna.board.leaderboard import leaderboard
from rsna.board.ranking import METRIC_COLUMNS, not_told, remarks, row, to_csv, to_json
from rsna.board.report import columns
from rsna.board.terminal import to_text
from rsna.evaluation.metrics import METRICS
from rsna.runs.run import find_runs


def rows_of(runs, resamples):
    groups = leaderboard(find_runs(runs)[0], resamples=resamples)
    return [row(group, place) for group in groups for place in group.places]


def test_json_and_csv_say_the_same(ranked):
    found = rows_of(ranked, 0)
    rows = json.loads(to_json(found))
    table = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["run"] for row in rows] == [row["run"] for row in table]
    assert rows[0].keys() == table[0].keys()
    good = next(row for row in rows if row["experiment"] == "good")
    assert good["pf1_nested_low"] <= good["pf1_nested"] <= good["pf1_nested_high"]
    assert float(table[rows.index(good)]["pf1_nested"]) == good["pf1_nested"]
    assert 0 < good["auprc"] < good["auroc"] < 1


def test_every_metric_column_is_in_every_table(ranked):
    groups = leaderboard(find_runs(ranked)[0], resamples=0)
    assert set(METRIC_COLUMNS) < set(METRICS)
    assert set(METRIC_COLUMNS) < set(row(groups[0], groups[0].places[0]))
    titles = {*METRIC_COLUMNS.values()}
    assert titles < {column.name for column in columns(groups[0])}
    assert all(title in to_text(groups) for title in titles)


def test_raw_and_corrected_p_are_told(ranked):
    rows = json.loads(to_json(rows_of(ranked, 200)))
    poor = next(row for row in rows if row["experiment"] == "poor")
    assert 0 < poor["p"] <= poor["p_corrected"] < 0.05
    assert poor["behind_leader_low"] < poor["behind_leader"] < poor["behind_leader_high"]
    assert poor["seed_noise_in_p"] is False
    assert next(row for row in rows if row["against_leader"] == "leader")["p_corrected"] is None


def test_no_rows_are_an_empty_list_and_no_lines():
    assert to_json([]) == "[]"
    assert to_csv([]) == ""


def test_a_row_of_seeds_speaks_of_all_of_them(seeded):
    (group,) = leaderboard(find_runs(seeded)[0], resamples=100)
    place = next(place for place in group.places if len(place.members) == 3)
    found = row(group, place)
    assert (found["public"], found["private"]) == (pytest.approx(0.4), 0.4)
    assert found["seconds"] == 3 * 3600
    assert 0 <= found["pf1_nested_low"] < found["pf1_nested_high"] <= 1
    assert -1 <= found["behind_leader_low"] < found["behind_leader_high"] <= 1
    said = "\n".join(remarks(group, group.places))
    assert "b3-seed0 ×3: the competition has scored b3-seed1, b3-seed2" in said
    assert f"{seeded}/b3-seed2: has learned nothing" in said
    text = to_text([group])
    assert "0.40" in text
    assert "3 h 00 min" in text


def test_where_seeds_are_too_noisy_no_difference_is_said_to_be_told():
    assert not_told(0.1234) == "differences below about 0.123 from the leader are not told from noise here"
    assert not_told(1.3) == "no difference from the leader, however large, is told from noise here"
