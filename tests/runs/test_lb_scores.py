import json
import multiprocessing

import pytest

from rsna.files import WriteError
from rsna.runs.errors import RunError
from rsna.runs.lb_scores import (
    Submission,
    of_several,
    read_scores,
    read_submissions,
    record_scores,
    scored_now,
    submissions_of,
)

PRINTED = """Warning: Looks like you're using an outdated API Version, please consider updating
fileName,date,description,status,publicScore,privateScore
submission.csv,2023-02-20 10:00:00,"b3, four folds",complete,0.52,0.49
submission.csv,2023-02-21 10:00:00,runs/b3-large v2,SubmissionStatus.COMPLETE,0.55,
submission.csv,2023-02-22 10:00:00,b3 broken,error,,
submission.csv,2023-02-19 10:00:00,b3,complete,0.50,0.48
"""


def test_what_the_client_prints_is_read(tmp_path):
    file = tmp_path / "submissions.csv"
    file.write_text(PRINTED)
    table = read_submissions(file)
    assert [s.date[8:10] for s in table] == ["19", "20", "21"]
    assert [(s.public, s.private) for s in submissions_of("b3", table)] == [(0.50, 0.48), (0.52, 0.49)]
    assert [s.public for s in submissions_of("b3-large", table)] == [0.55]
    assert submissions_of("b", table) == []


def test_the_latest_score_counts_not_the_best(tmp_path):
    record_scores(tmp_path, [Submission("2023-02-20", 0.6, None), Submission("2023-02-21", 0.5, None)])
    record_scores(tmp_path, [Submission("2023-02-19", 0.7, 0.4)])
    scores = read_scores(tmp_path)
    assert (scores.public, scores.private) == (0.5, 0.4)


def test_the_same_table_twice_adds_nothing(tmp_path):
    new = [Submission("2023-02-20", 0.6, 0.5, "b3")]
    assert record_scores(tmp_path, new * 2) == new
    assert record_scores(tmp_path, new) == []
    assert len(read_scores(tmp_path).submissions) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "has no column fileName, date, status; it has a, b; write it with `kaggle"),
        (PRINTED.replace("0.55", "high"), "line 4: 'high' is no score"),
        (PRINTED.replace("0.55", "55"), "line 4: 55.0 is no pF1"),
        (PRINTED.replace("b3, four", "b3,\nfour").replace("0.55", "high"), "line 5: 'high' is no score"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, says):
    file = tmp_path / "submissions.csv"
    file.write_text(text)
    with pytest.raises(RunError, match=says):
        read_submissions(file)


def test_typed_scores_are_checked():
    with pytest.raises(RunError, match="public: 52.0 is no pF1"):
        scored_now(52, None)
    with pytest.raises(RunError, match="give public="):
        scored_now(None, None)


def _write(job):
    run, writer = job
    for number in range(20):
        record_scores(run, [Submission(f"2023-01-01 {writer:02}:{number:02}", 0.5, 0.4)])


def test_concurrent_writers_lose_nothing(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(_write, [(tmp_path, writer) for writer in range(4)])
    assert len(set(read_scores(tmp_path).submissions)) == 80
    assert [file.name for file in (tmp_path / "cv").iterdir()] == ["lb.json"]  # their lock is gone


def test_typed_and_downloaded_scores_of_one_day_stand_in_their_order(tmp_path):
    record_scores(tmp_path, [Submission("2026-11-20T08:00:00.000000+00:00", 0.40, None)])
    record_scores(tmp_path, [Submission("2026-11-20 18:00:00", 0.50, None)])
    assert read_scores(tmp_path).public == 0.50


def test_where_scores_cannot_be_written_their_file_is_named_and_not_its_lock(tmp_path):
    (tmp_path / "cv" / ".lb.lock").mkdir(parents=True)  # no file can be opened there, as on a disk for reading alone
    with pytest.raises(WriteError, match=rf"^{tmp_path}/cv/lb.json: cannot be written \(.*name another place"):
        record_scores(tmp_path, [])


def test_a_score_is_removed_by_hand(tmp_path):
    record_scores(tmp_path, [Submission("2026-11-20", 0.40, None), Submission("2026-11-21", 0.99, None)])
    file = tmp_path / "cv" / "lb.json"
    content = json.loads(file.read_text())
    content["submissions"].pop()
    file.write_text(json.dumps(content))
    notes = []
    assert read_scores(tmp_path, notes).public == 0.40
    assert notes == [f"{file}: was changed after it was written; its scores are taken as they stand"]
    record_scores(tmp_path, [Submission("2026-11-22", 0.41, None)])
    notes = []
    assert [s.public for s in read_scores(tmp_path, notes).submissions] == [0.40, 0.41]
    assert not notes


def test_who_names_several_runs_names_none_alone():
    joint, alone = Submission("2023", 0.6, 0.5, "b3 + b5"), Submission("2023", 0.5, 0.4, "b3-large")
    assert of_several(["b3", "b5", "b3-large"], [joint, alone, alone]) == [joint]
    assert of_several(["b3", "b3-large"], [joint, alone]) == []
