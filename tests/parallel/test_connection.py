"""A Ray cluster that answers, and has no server for a client: Ray gives its start 30 s."""

import socket

import pytest

from rsna.parallel.cluster import Cluster, ClusterError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")


class Client:
    """In place of ``ray.init``, since a failure of the real one takes 30 s: says what Ray's proxy says."""

    def __init__(self, fails: int) -> None:
        self.fails, self.tries = fails, 0

    def __call__(self, **_: object) -> "Client":
        self.tries += 1
        if self.tries > self.fails:
            return self
        raise ConnectionAbortedError(
            "Initialization failure from server:\nTraceback (most recent call last):\n  File proxier.py, line 776, in "
            "Datapath\n    raise RuntimeError(\nRuntimeError: Proxy failed to Connect to backend!\n\n"
        )

    def disconnect(self) -> None:
        """Of the connection."""


@pytest.fixture
def address():
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"ray://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_is_late_is_asked_for_once_more(monkeypatch, caplog, address):
    client = Client(fails=1)
    monkeypatch.setattr(ray, "init", client)
    with Cluster(address) as cluster:
        assert cluster.ray is ray
    assert client.tries == 2
    assert "no server for this client yet (RuntimeError: Proxy failed to Connect to backend!); once more" in caplog.text


def test_that_a_cluster_answers_without_a_server_for_the_client_is_said(monkeypatch, address):
    client = Client(fails=9)
    monkeypatch.setattr(ray, "init", client)
    told = rf"Ray answers at {address}, and has no server for this client \(RuntimeError: Proxy failed.*TIMEOUT_S=120 "
    with Cluster(address) as cluster, pytest.raises(ClusterError, match=told):
        cluster.nodes()
    assert client.tries == 2
