import pytest

from tests.inference.runs import write_run
from tests.training.conftest import cached, prepared

__all__ = ["breast_run", "cached", "prepared", "run"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder of two folds, not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def breast_run(tmp_path_factory):
    """The same networks, which predict a breast at once."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny-breasts", unit="breast")
