"""Tokens in front of every route and method, TLS, and ports that are refused without them."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest
from doubling import Doubling, endpoint
from pem import certificate

import carrara
from carrara.core.errors import ConfigurationError, StorageError, Unauthenticated
from carrara.metadata.access import Authenticator, create_token, revoke_token
from carrara.metadata.store import Metadata
from carrara.serving.certificates import Certificates, read_pem
from carrara.serving.client.base import Busy, Refused
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.guard import OPEN_METHODS, OPEN_PATHS, Guard, require_safe
from carrara.serving.manager import ModelManager
from carrara.serving.options import Wire
from carrara.serving.server import ModelServer

ROW = {"x": [1.0], "name": ["a"]}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    made = Metadata(f"sqlite:///{tmp_path_factory.mktemp('guard')}/m.db")
    yield made
    made.close()


@pytest.fixture(scope="module")
def token(metadata) -> str:
    return create_token(metadata, "ada", "viewer")[1]


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> tuple[Path, Path]:
    """A key and a certificate that signs itself, for 127.0.0.1."""
    return certificate(tmp_path_factory.mktemp("tls"))


def serve(**options) -> ModelServer:
    manager = ModelManager(lambda: [endpoint(1)], lambda target: Doubling())
    made = ModelServer(manager, grpc_port=0, rest_port=0, **options)
    made.start()
    return made


@pytest.fixture(scope="module")
def guarded(metadata):
    made = serve(guard=Guard(Authenticator(metadata, seconds=0)))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def encrypted(metadata, tls):
    made = serve(
        guard=Guard(Authenticator(metadata, seconds=0)), wire=Wire(tls=Certificates(partial(read_pem, *tls), tls))
    )
    yield made
    made.stop()


def paths(server: ModelServer) -> list[tuple[str, str]]:
    """Every route with a path that it matches."""
    found = []
    for route in server._rest(Wire(), told=False)._routes:
        text = re.sub(r"\(\?P<name>[^)]*\)", "doubling", route.pattern.pattern)
        text = re.sub(r"\(\?:/versions/.*?\)\)?\?", "", text).replace("/?", "").replace("\\", "")
        found.append((route.method, text.split("(")[0]))
    return found


def status(server: ModelServer, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    connection.request(method, path, b"{}" if method == "POST" else None, headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status, reply.headers


def test_every_route_needs_a_token_but_for_the_probes(guarded):
    asked = [*paths(guarded), ("GET", "/"), ("GET", "/v2/health/live/"), ("GET", "/nothing/v2/health/ready")]
    assert len(asked) > 12
    for method, path in asked:
        code, headers = status(guarded, method, path)
        if path in OPEN_PATHS:
            assert code == 200, path
        else:
            assert (code, headers["www-authenticate"]) == (401, "Bearer"), path


def test_every_method_needs_a_token_but_for_the_probes(guarded):
    calls = GrpcCalls(guarded.inference, guarded.manager)
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        for method in [*calls.methods, "/carrara.Nothing/health"]:
            code = grpc.StatusCode.OK
            try:
                channel.unary_unary(method)(b"", timeout=20)
            except grpc.RpcError as error:
                code = error.code()
            assert (code == grpc.StatusCode.UNAUTHENTICATED) == (method not in OPEN_METHODS), method
        for method in calls.streams:
            if method not in OPEN_METHODS:
                with pytest.raises(grpc.RpcError) as raised:
                    list(channel.stream_stream(method)(iter([b""]), timeout=20))
                assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_valid_token_passes_and_a_wrong_or_revoked_one_does_not(guarded, metadata, token, scheme):
    address = f"{scheme}://127.0.0.1:{guarded.grpc_port if scheme == 'grpc' else guarded.rest_port}"
    with carrara.Client(address, token=token) as client:
        assert client.predict("doubling", ROW).version == 1
    _, other = create_token(metadata, f"bob-{scheme}", "viewer")
    with carrara.Client(address, token=other) as client:
        client.predict("doubling", ROW)
        revoke_token(metadata, f"bob-{scheme}")
        with pytest.raises(Refused) as raised:
            client.predict("doubling", ROW)
    assert raised.value.code == "UNAUTHENTICATED"
    for wrong in ("", "carrara_x_y", token[:-1]):
        with carrara.Client(address, token=wrong) as client, pytest.raises(Refused) as raised:
            client.predict("doubling", ROW)
        assert raised.value.code == "UNAUTHENTICATED"


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_both_ports_are_encrypted_and_a_stranger_is_not_trusted(encrypted, tls, token, scheme):
    address = f"{scheme}://127.0.0.1:{encrypted.grpc_port if scheme == 'grpcs' else encrypted.rest_port}"
    roots = tls[1]
    with carrara.Client(address, token=token, certificates=roots) as client:
        assert client.predict("doubling", ROW).outputs["doubled"].tolist() == [2.0]
    with carrara.Client(address, token=token, retries=0) as client, pytest.raises(Busy):
        client.predict("doubling", ROW)
    plain = address.replace("grpcs", "grpc").replace("https", "http")
    with carrara.Client(plain, token=token, retries=0) as client, pytest.raises((Busy, Refused)):
        client.predict("doubling", ROW)


def test_while_the_metadata_store_is_away_known_tokens_pass_until_they_expire(metadata):
    """F38."""
    at = [datetime(2026, 1, 1, tzinfo=UTC)]
    _, text = create_token(metadata, "eve", "viewer", lasts=timedelta(hours=1), at=at[0])
    asked = Authenticator(metadata, seconds=0, clock=lambda: at[0])
    away = [False]

    def authenticate(given: str):
        if away[0]:
            raise StorageError("away")
        return asked(given)

    guard = Guard(authenticate, lambda: at[0])
    guard.check(f"Bearer {text}")
    away[0] = True
    assert guard.check(f"bearer {text}").name == "eve"
    with pytest.raises(StorageError):
        guard.check("Bearer carrara_unknown_token")
    with pytest.raises(Unauthenticated):
        guard.check(f"Basic {text}")
    at[0] += timedelta(hours=2)
    with pytest.raises(StorageError):
        guard.check(f"Bearer {text}")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", ""])
@pytest.mark.parametrize(("guarded", "encrypted"), [(False, False), (True, False), (False, True)])
def test_a_port_that_others_reach_is_refused_without_tokens_and_tls(host, guarded, encrypted):
    with pytest.raises(ConfigurationError, match=r"without|tls_key"):
        require_safe(host, guarded=guarded, encrypted=encrypted)
    require_safe(host, guarded=True, encrypted=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_neither(host):
    require_safe(host, guarded=False, encrypted=False)


def test_the_command_refuses_a_host_without_tls(trained):
    trained.close()
    (Path(trained.root) / "carrara.toml").write_text('[serving]\nhost = "0.0.0.0"\ngrpc_port = 0\nrest_port = 0\n')
    done = subprocess.run(
        [sys.executable, "-m", "carrara", "serve", "--workspace", str(trained.root)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "does not listen on '0.0.0.0' without TLS" in done.stderr
