"""Fixtures that several modules share."""

import shutil

import pytest

from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with the tiny set, its cache, and fold 0 of a run trained once."""
    folder = tmp_path_factory.mktemp("tiny")
    write_set(folder / "set")
    train_here(tiny_config(folder))
    return folder


@pytest.fixture
def tiny(prepared, tmp_path):
    """A folder of the test's own with the set and its cache, without runs."""
    for name in ("set", "cache"):
        shutil.copytree(prepared / name, tmp_path / name)
    return tmp_path
