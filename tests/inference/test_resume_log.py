"""A second start takes over what was predicted from these very files, and nothing else."""

import json

import numpy as np
import pytest

from rsna.inference.resume_log import ResumeLog

KEY = {"model": "abc", "flip": False}


@pytest.fixture
def files(tmp_path):
    for name in ("cc", "mlo"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    return [str(tmp_path / "cc"), str(tmp_path / "mlo")]


@pytest.fixture
def written(tmp_path, files):
    log = ResumeLog(tmp_path / "log.jsonl", KEY)
    log.add("p_L", files, np.array([0.25, -1.5], np.float32))
    log.add("p_R", files[:1], np.array([0.5], np.float32))
    log.close()
    return tmp_path / "log.jsonl"


def test_an_example_comes_back_with_every_pass_that_it_had(written, files):
    log = ResumeLog(written, KEY)
    assert log.get("p_L", files).tolist() == [0.25, -1.5]
    assert log.get("p_R", files[:1]).tolist() == [0.5]
    assert log.get("p_X", files) is None


def test_an_example_of_other_files_is_predicted_anew(written, files, tmp_path):
    log = ResumeLog(written, KEY)
    assert log.get("p_L", files[:1]) is None
    assert log.get("p_L", [*files, files[0]]) is None
    assert log.get("p_L", [files[0], str(tmp_path / "gone")]) is None
    (tmp_path / "mlo").write_bytes(b"other" * 60)
    assert log.get("p_L", files) is None


def test_predictions_made_with_something_else_are_forgotten(written, files):
    log = ResumeLog(written, KEY | {"flip": True})
    assert log.get("p_L", files) is None
    log.close()
    assert written.read_text() == json.dumps(KEY | {"flip": True}) + "\n"


def test_a_line_that_was_torn_ends_the_log_and_is_written_over(written, files):
    whole = written.read_text()
    written.write_text(whole + '{"example": "p_X", "sou')
    log = ResumeLog(written, KEY)
    assert log.get("p_L", files) is not None
    log.close()
    assert written.read_text() == whole
