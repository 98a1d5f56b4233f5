"""An S3 server of this process, as moto simulates it; tests that want one are skipped where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of an empty bucket that s3fs finds, in this process and in those that it starts."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    import fsspec

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reset = Request(f"http://{host}:{port}/moto-api/reset", method="POST")  # what it holds outlives a server
    try:
        urlopen(reset).close()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                "AWS_ACCESS_KEY_ID": "nobody",
                "AWS_SECRET_ACCESS_KEY": "nothing",
                "AWS_DEFAULT_REGION": "us-east-1",
            }.items():
                patch.setenv(name, value)
            system = fsspec.filesystem("s3", skip_instance_cache=True)
            system.mkdir("bucket")
            yield "s3://bucket"
    finally:
        urlopen(reset).close()
        server.stop()
        fsspec.get_filesystem_class("s3").clear_instance_cache()
