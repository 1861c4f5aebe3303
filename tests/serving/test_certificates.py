"""Encrypted ports: certificates that are renewed while the server runs, and clients that show who they are (F40)."""

from __future__ import annotations

import http.client
import shutil
import ssl
import time
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from pem import certificate, ssl_config
from servers import publish, served

import carrara
from carrara.core.errors import ConfigurationError
from carrara.serving import certificates
from carrara.serving.certificates import Certificates, Tls, read_pem
from carrara.serving.client.base import Busy
from carrara.serving.manager import ModelManager
from carrara.serving.model_config import read_tls
from carrara.serving.options import Wire
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.http import Reply
from carrara.serving.server import ModelServer
from carrara.serving.transports.http import HttpTransport

DATA = wire.encode_request("doubling", {"x": np.array([1.0], np.float32), "name": np.array(["a"], dtype=object)})


def over_grpc(port: int, trusted: Path, data: bytes = DATA, **shown: bytes) -> bytes:
    """The answer; `shown` is the client's own key and certificate."""
    credentials = grpc.ssl_channel_credentials(trusted.read_bytes(), **shown)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return channel.unary_unary(wire.PREDICT)(data, timeout=20)


def over_https(port: int, trusted: Path, path: str = "/v2/health/ready", shown: tuple[Path, Path] | None = None) -> int:
    context = ssl.create_default_context(cafile=str(trusted))
    if shown is not None:
        context.load_cert_chain(shown[1], shown[0])
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    connection.request("GET", path)
    return connection.getresponse().status


def test_a_new_certificate_is_taken_when_it_fits_its_key_and_a_bad_one_never(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.0)
    files = certificate(tmp_path)
    held = Certificates(partial(read_pem, *files), files)
    first = held.current()
    assert held.current() is first
    (tmp_path / "new").mkdir()
    key, new = certificate(tmp_path / "new")
    shutil.copy(key, files[0])
    assert held.current() is first
    shutil.copy(new, files[1])
    assert held.current() == read_pem(key, new)
    files[1].unlink()
    assert held.current() == read_pem(key, new)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Certificates(partial(read_pem, files[0], key), files)


def test_both_ports_show_a_renewed_certificate_and_connections_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.05)
    files = certificate(tmp_path)
    old = shutil.copy(files[1], tmp_path / "old.pem")
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    tls = Certificates(partial(read_pem, *files), files)
    server = ModelServer(manager, grpc_port=0, rest_port=0, wire=Wire(tls=tls))
    server.start()
    try:
        assert over_https(server.rest_port, old) == 200
        credentials = grpc.ssl_channel_credentials(Path(old).read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials) as channel:
            ask = channel.unary_unary(wire.PREDICT)
            assert ask(DATA, timeout=20)
            certificate(tmp_path)
            _eventually(lambda: over_https(server.rest_port, files[1]) == 200)
            _eventually(lambda: over_grpc(server.grpc_port, files[1]))
            assert ask(DATA, timeout=20)
        with pytest.raises(grpc.RpcError):
            over_grpc(server.grpc_port, Path(old))
    finally:
        server.stop(5)


def test_clients_of_an_authority_that_is_no_longer_known_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.0)
    pairs = []
    for name in ("server", "before", "after"):
        (tmp_path / name).mkdir()
        pairs.append(certificate(tmp_path / name))
    (key, known), before, after = pairs
    authority = Path(shutil.copy(before[1], tmp_path / "authority.pem"))
    files = [key, known, authority]
    tls = Certificates(lambda: Tls(*(one.read_bytes() for one in files)), files)
    transport = HttpTransport("127.0.0.1", 0, lambda requests: [Reply(200, b"")] * len(requests), tls=tls)
    transport.start()
    try:
        assert over_https(transport.port, known, shown=before) == 200
        shutil.copy(after[1], authority)
        assert over_https(transport.port, known, shown=after) == 200
        with pytest.raises(OSError):
            over_https(transport.port, known, shown=before)
    finally:
        transport.stop(1)


def test_a_file_of_pem_texts_encrypts_both_ports_and_clients_must_show_who_they_are(tmp_path):
    key, known = certificate(tmp_path)
    file = ssl_config(tmp_path / "ssl.config", key, known, verify=True)
    publish(tmp_path / "model", 3)
    data = wire.encode_request("default", {"x": np.array([2.0], np.float32)})
    options = [f"--model_base_path={tmp_path / 'model'}", f"--ssl_config_file={file}", "--host=0.0.0.0"]
    with served(*options, cwd=tmp_path) as server:
        shown = {"private_key": key.read_bytes(), "certificate_chain": known.read_bytes()}
        _, outputs = wire.decode_response(over_grpc(server.grpc_port, known, data, **shown))
        assert outputs["y"].tolist() == [6.0]
        assert over_https(server.rest_port, known, shown=(key, known)) == 200
        for address in (f"grpcs://127.0.0.1:{server.grpc_port}", f"https://127.0.0.1:{server.rest_port}"):
            with carrara.Client(address, certificates=known, identity=(key, known)) as client:
                assert client.predict("default", {"x": [2.0]}, timeout=20).outputs["y"].tolist() == [6.0]
            with carrara.Client(address, certificates=known, retries=0) as stranger, pytest.raises(Busy):
                stranger.predict("default", {"x": [2.0]})
        with pytest.raises(grpc.RpcError):
            over_grpc(server.grpc_port, known, data)
        with pytest.raises((ssl.SSLError, OSError)):
            over_https(server.rest_port, known)
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask("/v2/health/ready")
    assert read_tls(ssl_config(file, key, known, verify=False)).client_ca == b""


def test_a_certificate_is_shown_where_it_can_be_and_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="is not encrypted"):
        carrara.Client("grpc://127.0.0.1:1", identity=certificate(tmp_path))
    for scheme in ("grpcs", "https"):
        with pytest.raises(ConfigurationError, match="certificates of the client"):
            carrara.Client(f"{scheme}://127.0.0.1:1", identity=(tmp_path / "nothing", tmp_path / "nothing"))


def _eventually(asks) -> None:
    """What works in the end; errors before are those of a client that does not trust the old certificate."""
    until = time.monotonic() + 20
    while True:
        try:
            if asks():
                return
        except (OSError, grpc.RpcError):
            pass
        assert time.monotonic() < until
        time.sleep(0.02)
