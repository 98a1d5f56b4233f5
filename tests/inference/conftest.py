import pytest

from tests.inference.runs import write_run
from tests.training.conftest import cached, prepared

__all__ = ["cached", "prepared", "run"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder of two folds, not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny")
