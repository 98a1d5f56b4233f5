"""What holds for every room's tests."""

import itertools
import os
import signal
from pathlib import Path

import pytest

import rsna  # noqa: F401  chooses how torch's threads wait, before any test imports it
from tests.ray_nodes import open_nodes

# A shell that puts a job in the background has it ignore Ctrl-C, and its children inherit that: tests of interrupts
# would wait for an end that never comes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Fonts are listed once, and wheels fetched once, wherever other caches are.
for _variable, _name in (("MPLCONFIGDIR", "matplotlib"), ("PIP_CACHE_DIR", "pip")):
    os.environ.setdefault(_variable, str(Path.home() / ".cache" / _name))

_numbers = itertools.count()


def pytest_make_parametrize_id(val, argname):
    """A test is named by no bytes: archives hold the hour they were written, and two processes must agree on names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_users(tmp_path_factory):
    """Networks that are converted stay with the tests, in processes that are started, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path_factory, monkeypatch):
    """What a test converts decides for no other which runtime is the fastest that there is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{next(_numbers)}"))


@pytest.fixture(autouse=True)
def _signals_as_they_were():
    """Ray's driver catches SIGTERM, and processes that a later test forks would not end by it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def _nodes():
    with open_nodes() as nodes:
        yield nodes


@pytest.fixture
def nodes(_nodes):
    """A Ray cluster of two nodes, both alive."""
    _nodes.restore()
    return _nodes
