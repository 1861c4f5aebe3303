"""Golden requests: a new build of the server is held to what the old one answered; any difference blocks it (M43)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from doubling import Doubling, endpoint

from carrara.core.errors import DataError
from carrara.serving import golden
from carrara.serving.client.client import Client
from carrara.serving.manager import ModelManager
from carrara.serving.server import ModelServer
from commands import carrara

ROWS = "x,name\n1.5,a\n-0.0,b\n1e30,c\n"


class Nudged(Doubling):
    """The build that computes a little otherwise."""

    def predict(self, inputs, signature_name=""):
        found = super().predict(inputs, signature_name)
        found.outputs["doubled"] = np.nextafter(found.outputs["doubled"], np.float32(np.inf))
        return found


class Renamed(Doubling):
    def predict(self, inputs, signature_name=""):
        found = super().predict(inputs, signature_name)
        found.outputs["twice"] = found.outputs.pop("doubled")
        return found


@pytest.fixture
def serving():
    """Starts a server of a predictor."""
    started = []

    def start(made: Doubling) -> ModelServer:
        server = ModelServer(ModelManager(lambda: [endpoint(made.version)], lambda _: made), grpc_port=0, rest_port=0)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(5)


@pytest.fixture
def kept(serving, tmp_path):
    """What the trusted build answered, as the command keeps it."""
    rows, file = tmp_path / "rows.csv", tmp_path / "golden.tfrecord"
    rows.write_text(ROWS)
    port = serving(Doubling()).grpc_port
    done = carrara("golden", "record", "doubling", "-i", rows, "-o", file, "--address", f"grpc://127.0.0.1:{port}")
    assert (done.returncode, "3 requests" in done.stdout) == (0, True), done.stderr
    return file


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_build_that_answers_the_same_passes(serving, kept, scheme):
    server = serving(Doubling())
    port = server.grpc_port if scheme == "grpc" else server.rest_port
    done = carrara("golden", "check", kept, "--address", f"{scheme}://127.0.0.1:{port}", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"asked": 3, "differences": []})


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (Nudged(), "1 of 1 values differ"),
        (Renamed(), "it answers name, twice, and answered doubled, name"),
        (Doubling(2), "it is refused"),
    ],
    ids=["another number", "another name", "another version"],
)
def test_any_difference_blocks(serving, kept, build, says):
    port = serving(build).grpc_port
    with Client(f"grpc://127.0.0.1:{port}") as client:
        found = golden.check(client, kept.read_bytes())
    whys = " ".join(one.why for one in found.differences)
    assert (len(found.differences), says in whys) == (3, True), whys
    assert carrara("golden", "check", kept, "--address", f"grpc://127.0.0.1:{port}").returncode == 3


def test_numbers_may_differ_as_much_as_is_said(serving, kept):
    with Client(f"grpc://127.0.0.1:{serving(Nudged()).grpc_port}") as client:
        assert len(golden.check(client, kept.read_bytes(), tolerance=1e-6).differences) == 1
        (zero,) = golden.check(client, kept.read_bytes(), tolerance=1e-6).differences
    assert "1 of 1 values differ" in zero.why


def test_a_file_that_is_none_is_named(serving, tmp_path):
    with Client(f"grpc://127.0.0.1:{serving(Doubling()).grpc_port}") as client:
        for data in (b"", b"no records"):
            with pytest.raises(DataError):
                golden.check(client, data)
    missing = carrara("golden", "check", tmp_path / "nothing.tfrecord")
    assert (missing.returncode, "cannot be read" in missing.stderr) == (1, True)
