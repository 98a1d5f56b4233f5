"""Fixtures that several modules share."""

import shutil

import pytest

from rsna.training.experiment import resolve
from rsna.training.run import prepare
from tests.training.tiny import tiny_config, train_here, write_set


@pytest.fixture(scope="session")
def cached(tmp_path_factory):
    """A folder with the tiny set and its cache; nothing is trained for it."""
    folder = tmp_path_factory.mktemp("tiny")
    write_set(folder / "set")
    prepare(resolve(tiny_config(folder)))
    return folder


@pytest.fixture(scope="session")
def prepared(cached):
    """The same folder with fold 0 of a run trained once."""
    train_here(tiny_config(cached))
    return cached


@pytest.fixture
def tiny(prepared, tmp_path):
    """A folder of the test's own with the set and its cache, without runs."""
    for name in ("set", "cache"):
        shutil.copytree(prepared / name, tmp_path / name)
    return tmp_path
