"""Files are whole or absent."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rsna.files import (
    FileError,
    InUseError,
    WriteError,
    atomic_path,
    file_name,
    fingerprint,
    first_few,
    only_writer,
    printable,
    read_json,
    read_yaml,
    require_regular,
    sha256,
    stamp,
    sweep,
    temporary_beside,
    write_atomic,
    write_json,
)

DIES_WHILE_IT_WRITES = """
import os, sys
from rsna.files import temporary_beside
with temporary_beside(sys.argv[1]) as temporary:
    temporary.mkdir() if sys.argv[1].endswith("folder") else temporary.write_bytes(b"half")
    print(temporary, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    write_atomic(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_json_goes_round_and_a_broken_file_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None, "ü"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None, "ü"]}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(FileError, match=r"b\.json is not JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(ValueError):
        write_json(tmp_path / "c.json", float("nan"))
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1, 2", r"a\.yaml, line 2: is not YAML: expected"),
        (b"a: 1\nb: c: d\n", r"a\.yaml, line 2: is not YAML: mapping values are not allowed here"),
        (b"a: \xff", r"a\.yaml: is not YAML: .*can't decode"),
        (b"a: 2001-13-01", r"a\.yaml: is not YAML: month must be"),
        (b"[" * 100_000, r"a\.yaml: is not YAML: maximum recursion"),
        (b"a: \x00", r"a\.yaml: is not YAML: "),
        (b"", r"a\.yaml: holds no keys with values"),
        (b"name", r"a\.yaml: holds no keys with values"),
        (b"a: !!python/object/apply:os.getcwd []", r"a\.yaml, line 1: is not YAML: could not determine a constructor"),
    ],
)
def test_broken_yaml_is_named_in_one_line(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(FileError, match=message) as error:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff", b"9" * 5000, b"[" * 100_000], ids=len)
def test_broken_json_is_named_in_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.json is not JSON: .*copy it again") as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_has_the_mode_of_the_umask_whatever_wrote_it(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "text", "a")
        with atomic_path(tmp_path / "weights") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path):
    for name in ("file", "folder"):
        command = [sys.executable, "-c", DIES_WHILE_IT_WRITES, str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        assert done.returncode == -signal.SIGKILL
        assert Path(done.stdout.strip()).exists()
    foreign = tmp_path / ".of-another-machine.1.1.tmp"
    for path in (foreign, tmp_path / ".mine.tmp", tmp_path / ".another-one.2.2.tmp"):
        path.write_bytes(b"")
    os.utime(tmp_path / ".another-one.2.2.tmp", (0, time.time() - 100_000))
    with temporary_beside(tmp_path / "being-written") as temporary:
        temporary.write_bytes(b"")
        os.utime(temporary, (0, time.time() - 100_000))  # used for days, by a process that runs
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {foreign.name, ".mine.tmp", temporary.name}


def test_what_is_left_by_a_killed_process_that_nobody_waits_for_is_swept(tmp_path):
    with subprocess.Popen([sys.executable, "-c", DIES_WHILE_IT_WRITES, str(tmp_path / "file")]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and its number still taken
        assert list(tmp_path.iterdir())
        sweep(tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named_with_the_way_on(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WriteError) as error:
            write_atomic(tmp_path / "a.json", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value).startswith(f"{tmp_path / 'a.json'}: cannot be written (File too large); free space on ")
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "file" / "a.json", tmp_path / "taken", tmp_path / ("a" * 250)):
        with pytest.raises(WriteError) as error:
            write_atomic(path, "x")
        assert str(error.value).startswith(f"{path}: cannot be written (")
    with temporary_beside(tmp_path / "bundle") as folder:  # which is there when all of it is
        folder.mkdir()
        (folder / "a.json").mkdir()
        with pytest.raises(WriteError) as error:
            write_atomic(folder / "a.json", "x")
    assert str(error.value).startswith(f"{tmp_path / 'bundle' / 'a.json'}: cannot be written (")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "taken"}


@pytest.mark.parametrize("path", [".", "..", "/"])
def test_a_folder_without_a_name_is_refused_as_a_file_and_written_by_one_process(tmp_path, monkeypatch, path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(WriteError, match=rf"^{path}: cannot be written \(Is a directory\)"):
        write_atomic(path, "x")
    with only_writer(path), pytest.raises(InUseError), only_writer(Path(path).resolve()):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_yaml_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: {b: ü}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": "ü"}}


def test_a_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_long_lists_are_counted_behind_their_first():
    assert first_few(["a", 1]) == "a, 1"
    assert first_few(range(5)) == "0, 1, 2 and 2 more"
    assert first_few(range(2000), 1) == "0 and 1,999 more"


def test_any_text_becomes_a_file_name_and_no_two_texts_one(tmp_path):
    texts = [
        "a",
        "A/b",
        "..",
        ".hidden",
        "影" * 22,
        "影" * 80 + "甲",
        "影" * 80 + "乙",
        "x" * 200,
        "x" * 201,
        "x=1",
        "a\0b\n",
    ]
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert name.isascii()
        assert len(name) <= 200
        (tmp_path / name).touch()
    assert len(list(tmp_path.iterdir())) == len(texts)


def test_names_are_shown_in_one_line_of_text():
    assert printable("M\udcfcller/a\nb\x1b[1m.dcm") == r"M\xfcller/a\nb\x1b[1m.dcm"
    assert printable("乳腺 ä%'\"") == "乳腺 ä%'\""


def test_one_process_at_a_time_writes_a_target_and_a_killed_one_is_forgotten(tmp_path):
    target = tmp_path / "new" / "submission"
    code = (
        "import sys\nfrom rsna.files import only_writer\n"
        "with only_writer(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(InUseError, match=rf"submission: is being written by process {other.pid} on "),
            only_writer(target),
        ):
            pass
        with only_writer(target.with_name("another")):
            pass
        other.kill()
    with only_writer(target), pytest.raises(InUseError), only_writer(target):
        pass
    assert list(target.parent.iterdir()) == []


def test_where_nothing_can_be_written_the_target_is_named_and_not_its_lock(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for target in (Path("/proc/submission.csv"), tmp_path / "file" / "submission.csv"):
        said = rf"^{target}: cannot be written \([^.]*\); .*name another place"
        with pytest.raises(WriteError, match=said), only_writer(target, "submission"):
            pass


def test_a_lock_that_its_holder_removed_is_not_taken_for_one(tmp_path, monkeypatch):
    """Between opening and locking the file may be gone, and another process have made it anew."""
    target, flock = tmp_path / "x", __import__("fcntl").flock
    calls = []

    def slow(file, how):
        calls.append(how)
        if len(calls) == 1:
            (tmp_path / ".x.lock").unlink()
        flock(file, how)

    monkeypatch.setattr("rsna.files.fcntl.flock", slow)
    with only_writer(target):
        assert len(calls) == 2
        assert (tmp_path / ".x.lock").exists()


@pytest.mark.parametrize("read", [fingerprint, sha256, stamp, require_regular, read_json, read_yaml])
def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match=f"is a pipe, a socket or a device.*{name}"):
            read(tmp_path / name)


def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path):
    pipe = tmp_path / "null"
    os.mkfifo(pipe)
    with pytest.raises(WriteError, match="null: cannot be written \\(is a pipe, a socket or a device\\)"):
        write_atomic(pipe, "text")
    assert pipe.is_fifo()
    assert [file.name for file in tmp_path.iterdir()] == ["null"]
