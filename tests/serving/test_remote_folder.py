"""A folder of versions in an object store: `--model_base_path=s3://...`, with S3 as it runs here (S24, F38)."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from servers import served, times
from test_drop_in import until

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Bucket:
    """A bucket of an S3 server that can be away for a while."""

    def __init__(self) -> None:
        self._server, self.port = None, 0

    def __enter__(self):
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        return self

    def __exit__(self, *_) -> None:
        self._server.stop()

    def publish(self, version: int) -> None:
        import boto3

        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")
        client.put_object(Bucket="bucket", Key=f"models/scaled/{version}/model.onnx", Body=times(version))

    @contextmanager
    def away(self):
        self.__exit__()
        yield
        self.__enter__()


@pytest.fixture
def bucket(monkeypatch):
    import boto3

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with Bucket() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket="bucket")
        yield found


@pytest.mark.slow
def test_versions_in_s3_are_served_and_followed_and_what_is_loaded_serves_while_it_is_away(bucket, tmp_path):
    bucket.publish(1)
    options = ("--model_name=scaled", "--model_base_path=s3://bucket/models/scaled")
    with served(*options, cwd=tmp_path) as server:
        assert server.predict("scaled", 3) == 3
        bucket.publish(2)
        until(lambda: server.predict("scaled", 3), 6.0)
        with bucket.away():
            log = tmp_path / "server.log"
            until(
                lambda: "the versions of scaled cannot be listed, and what is loaded stays" in log.read_text(), True, 60
            )
            assert server.predict("scaled", 3) == 6
        bucket.publish(3)
        until(lambda: server.predict("scaled", 3), 9.0, 60)
    assert "Traceback" not in (tmp_path / "server.log").read_text()


@pytest.mark.slow
def test_a_server_that_starts_while_s3_is_away_serves_once_it_is_back(bucket, tmp_path):
    bucket.publish(4)
    with bucket.away(), served("--model_base_path=s3://bucket/models/scaled", cwd=tmp_path) as server:
        status, _ = server.ask("/v2/health/ready")
        assert status == 503
        bucket.__enter__()
        until(lambda: server.ask("/v2/health/ready")[0], 200, 60)
        assert server.predict("default", 2) == 8
        bucket.__exit__()
