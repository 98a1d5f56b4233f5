"""A file is known by its stamp: one that failed, as it was before it was read."""

import os

import pytest

from rsna.file_stamp import NO_FILE, is_stamped, look, stamp_of_failed
from rsna.files import stamp


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "image.dcm"
    file.write_bytes(b"no image")
    os.utime(file, ns=(1, 1))
    return file


def test_a_failed_file_has_the_stamp_that_a_good_one_would_have(file):
    assert stamp_of_failed(file, look(file)) == stamp(file)
    assert is_stamped(file, stamp(file))


def test_one_that_is_given_up_is_not_opened(file, monkeypatch):
    monkeypatch.setattr("rsna.file_stamp.fingerprint", lambda _: pytest.fail("was opened"))
    known = stamp_of_failed(file, look(file), opens=False)
    assert is_stamped(file, known)
    monkeypatch.undo()
    os.utime(file, ns=(2, 2))
    assert not is_stamped(file, known)


def test_one_that_changed_while_it_was_read_or_was_not_there_is_none(file):
    before = look(file)
    os.utime(file, ns=(2, 2))
    assert stamp_of_failed(file, before) == NO_FILE
    absent = file.with_name("absent.dcm")
    assert stamp_of_failed(absent, look(absent)) == NO_FILE
    assert is_stamped(absent, NO_FILE)
    assert not is_stamped(file, NO_FILE)


@pytest.mark.parametrize("known", ["", "?", "8", "8-", "8--", "-", "a-b-c-d"])
def test_what_is_no_stamp_is_none_of_this_file(file, known):
    assert not is_stamped(file, known)


def test_a_copy_is_the_same_and_another_content_or_length_is_not(file):
    known = stamp(file)
    os.utime(file, ns=(2, 2))
    assert is_stamped(file, known)
    file.write_bytes(b"an image")
    assert not is_stamped(file, known)
    file.write_bytes(b"an image and more")
    os.utime(file, ns=(1, 1))
    assert not is_stamped(file, known)
    file.unlink()
    assert is_stamped(file, known)
