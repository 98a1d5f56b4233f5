"""A second start takes over what was predicted from these very files, and nothing else."""

import errno
import json
import os
import resource
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from rsna.files import fingerprint, stamp
from rsna.inference.resume_log import ResumeLog, SaveError, save_results

KEY = {"model": "abc", "flip": False}
PASSES = 2


@pytest.fixture
def files(tmp_path):
    for name in ("cc", "mlo"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    return [str(tmp_path / "cc"), str(tmp_path / "mlo")]


@pytest.fixture
def written(tmp_path, files):
    log = ResumeLog(tmp_path / "log.jsonl", KEY, PASSES)
    stamps = [stamp(file) for file in files]
    log.add("p_L", files, stamps, np.array([0.25, -1.5], np.float32))
    log.add("p_R", files[:1], stamps[:1], np.array([0.5], np.float32))
    log.close()
    return tmp_path / "log.jsonl"


def test_an_example_comes_back_with_every_pass_that_it_had(written, files):
    log = ResumeLog(written, KEY, PASSES)
    assert log.get("p_L", files).tolist() == [0.25, -1.5]
    assert log.get("p_R", files[:1]).tolist() == [0.5]
    assert log.get("p_X", files) is None


def test_an_example_of_other_files_is_predicted_anew(written, files, tmp_path):
    log = ResumeLog(written, KEY, PASSES)
    assert log.get("p_L", files[:1]) is None
    assert log.get("p_L", [*files, files[0]]) is None
    assert log.get("p_L", [files[0], str(tmp_path / "gone")]) is None
    (tmp_path / "mlo").write_bytes(b"other" * 60)
    assert log.get("p_L", files) is None


def test_a_file_that_was_written_again_is_predicted_anew_whatever_bytes_of_it_changed(written, files):
    with open(files[0], "r+b") as file:  # noqa: PTH123  # in place: name, size and most bytes stay
        file.seek(77)
        file.write(b"!")
    assert ResumeLog(written, KEY, PASSES).get("p_R", files[:1]) is None


def test_a_file_that_was_edited_between_its_samples_is_predicted_anew(tmp_path):
    file, log = tmp_path / "large", ResumeLog(tmp_path / "log.jsonl", KEY, PASSES)
    file.write_bytes(bytes(200_000))
    before = fingerprint(file)
    log.add("p_L", [str(file)], [stamp(file)], np.array([0.5], np.float32))
    log.close()
    assert ResumeLog(tmp_path / "log.jsonl", KEY, PASSES).get("p_L", [str(file)]) is not None
    time.sleep(0.03)  # times of files advance by some milliseconds at once
    with file.open("r+b") as content:
        content.seek(40_000)
        content.write(b"other")
    assert fingerprint(file) == before
    assert ResumeLog(tmp_path / "log.jsonl", KEY, PASSES).get("p_L", [str(file)]) is None


def test_an_example_keeps_the_most_passes_that_it_had(written, files):
    log = ResumeLog(written, KEY, PASSES)
    stamps = [stamp(file) for file in files]
    log.add("p_L", files, stamps, np.array([7.0], np.float32))
    log.add("p_R", files[:1], stamps[:1], np.array([0.5, 2.0], np.float32))
    log.close()
    log = ResumeLog(written, KEY, PASSES)
    assert log.get("p_L", files).tolist() == [0.25, -1.5]
    assert log.get("p_R", files[:1]).tolist() == [0.5, 2.0]


def test_a_full_disk_costs_the_lines_that_do_not_fit_and_no_other(written, files, caplog):
    """A limit on the size of files stands for the disk: half of a line is written before it says so."""
    log = ResumeLog(written, KEY, PASSES)
    whole, limits = written.read_text(), resource.getrlimit(resource.RLIMIT_FSIZE)
    stamps = [stamp(file) for file in files]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))
        log.add("p_X", files, stamps, np.zeros(2, np.float32))
        log.add("p_Y", files, stamps, np.zeros(2, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert written.read_text() == whole
    assert caplog.text.count("progress is not kept while this lasts: No space left on device") == 1
    log.add("p_Z", files, stamps, np.zeros(2, np.float32))  # there is room again
    log.close()
    assert ResumeLog(written, KEY, PASSES).get("p_Z", files) is not None


def test_a_disk_that_was_full_from_the_first_is_left_without_an_empty_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        log = ResumeLog(tmp_path / "log.jsonl", KEY, PASSES)
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        ResumeLog(tmp_path / "folder.jsonl", KEY, PASSES)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OSError, match="is a pipe"):
        ResumeLog(tmp_path / "pipe.jsonl", KEY, PASSES)


def test_predictions_made_with_something_else_are_forgotten(written, files, caplog):
    log = ResumeLog(written, KEY | {"flip": True}, PASSES)
    assert log.get("p_L", files) is None
    log.close()
    assert written.read_text() == json.dumps(KEY | {"flip": True}) + "\n"
    assert "begun anew (flip: False → True)" in caplog.text


def test_a_line_that_was_torn_ends_the_log_and_is_written_over(written, files):
    whole = written.read_text()
    written.write_text(whole + '{"example": "p_X", "sou')
    log = ResumeLog(written, KEY, PASSES)
    assert log.get("p_L", files) is not None
    log.close()
    assert written.read_text() == whole


def with_values(line, **values):
    """A line that was written so: its checksum is right."""
    values = {key: value for key, value in (json.loads(line) | values).items() if key != "crc32"}
    return json.dumps(values | {"crc32": zlib.crc32(json.dumps(values).encode())})


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace("0.25", "9.25"),
        lambda line: line.replace("p_L", "p_X"),
        lambda line: line.replace('"crc32"', '"crc"'),
        lambda line: line[:-9],
        lambda line: "7",
        lambda line: "[" * 100_000,
        lambda line: with_values(line, logits=[float("nan"), 1.0]),
        lambda line: with_values(line, logits=[10**400, 1]),
        lambda line: with_values(line, logits=[0.1] * 5),
        lambda line: with_values(line, logits=[]),
    ],
)
def test_a_damaged_line_is_predicted_anew_and_the_others_are_kept(written, files, caplog, damage):
    key, left, right = written.read_text().splitlines()
    assert with_values(left) == left
    written.write_text(f"{key}\n{damage(left)}\n{right}\n")
    log = ResumeLog(written, KEY, PASSES)
    assert [log.get(name, files) for name in ("p_L", "p_X")] == [None, None]
    assert log.get("p_R", files[:1]).tolist() == [0.5]
    log.close()
    assert written.read_text() == f"{key}\n{right}\n"
    assert "1 lines are torn or damaged; what they hold is predicted anew" in caplog.text


def test_a_last_line_without_its_end_is_kept_and_the_next_begins_its_own(written, files):
    whole = written.read_text()
    written.write_text(whole[:-1])
    log = ResumeLog(written, KEY, PASSES)
    assert log.get("p_R", files[:1]) is not None
    log.close()
    assert written.read_text() == whole


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for what is temporary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def writer(log, room):
    """Writes results where ``room`` says of a place, and of whether the progress is there, that there is some."""

    def write(out: Path) -> str:
        if not room(out, log.file.exists()):
            raise OSError(errno.ENOSPC, f"no room at {out}")
        out.write_text("results")
        return "written"

    return write


def test_results_have_the_room_of_the_progress(written, tmp_path, temporary, capsys):
    log = ResumeLog(written, KEY, PASSES)
    assert save_results(writer(log, lambda out, progress: not progress), tmp_path / "out.csv", log) == "written"
    assert not written.exists()
    assert not list(temporary.iterdir())
    assert "The progress is removed to make room" in capsys.readouterr().out


def test_results_without_room_lie_elsewhere_and_the_progress_is_there_again(written, tmp_path, temporary, files):
    log = ResumeLog(written, KEY, PASSES)
    with pytest.raises(SaveError, match="until then the results are in ") as said:
        save_results(writer(log, lambda out, _: temporary in out.parents), tmp_path / "out.csv", log)
    assert (Path(str(said.value).rpartition(" in ")[2]) / "out.csv").read_text() == "results"
    assert ResumeLog(written, KEY, PASSES).get("p_L", files) is not None


def test_where_results_have_no_room_anywhere_the_progress_is_kept(written, tmp_path, temporary, files):
    log = ResumeLog(written, KEY, PASSES)
    with pytest.raises(SaveError, match="no temporary folder has room for the results, and the progress is kept$"):
        save_results(writer(log, lambda *_: False), tmp_path / "out.csv", log)
    assert ResumeLog(written, KEY, PASSES).get("p_L", files) is not None
    assert not list(temporary.iterdir())
