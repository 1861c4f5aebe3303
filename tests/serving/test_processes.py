"""Several server processes at one port, as a person starts them: killed, drained, and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import carrara
from carrara.serving.client.base import Busy, Refused
from carrara.serving.processes import serve_command

ROW = {"driver": "d1", "depot": "p0", "city": "c0", "distance": 80.0, "event_time": "2024-01-20T00:00:00Z"}


class Serving:
    """`carrara serve` in processes of its own, at free ports."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "carrara", "serve", "--json", "--grpc-port", "0", "--rest-port", "0"]
        self.process = subprocess.Popen(
            [*command, "--until-eof", *options, "--workspace", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "server.log").open("ab"),
            start_new_session=True,
        )
        ports = json.loads(self.process.stdout.readline())
        self.grpc, self.rest = (f"{kind}://127.0.0.1:{ports[f'{name}_port']}" for kind, name in self.KINDS)

    KINDS = (("grpc", "grpc"), ("http", "rest"))

    def workers(self) -> list[int]:
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def serving(trained):
    trained.close()
    started: list[Serving] = []

    def start(*options: str) -> Serving:
        started.append(Serving(trained.root, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def ask(address: str, **options) -> int:
    with carrara.Client(address, timeout=20, **options) as client:
        return client.predict("late", [ROW]).version


def answered(server: Serving) -> int:
    """How many requests all processes have answered, as one of them tells it."""
    address = server.rest.replace("http://", "")
    for _ in range(50):
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as reply:
            text = reply.read().decode()
            found = re.findall(r"^carrara_serving_requests_total{.*} (\d+)$", text, re.MULTILINE)
            assert "carrara_prediction_log_rows_total" in text
            return sum(map(int, found))
        time.sleep(0.1)
    raise AssertionError("nobody tells")


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_the_others_answer_meanwhile(serving):
    """F28."""
    server = serving("--processes", "2")
    before = server.workers()
    assert len(before) == 2
    assert ask(server.grpc) == ask(server.rest) == 1
    time.sleep(1)
    counted = [answered(server) for _ in range(10)]
    assert counted == [2] * 10
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):
        assert ask(server.grpc, retries=5) == 1
        counted.append(answered(server))
    assert counted == sorted(counted)
    assert counted[-1] >= 12
    until = time.monotonic() + 60
    while len(server.workers()) < 2 or before[0] in server.workers():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert before[1] in server.workers()
    assert server.end() == 0
    assert server.workers() == []


def test_a_server_that_is_told_to_stop_answers_what_it_has_and_ends_well(serving):
    """F39."""
    server, answered, wrong = serving(), [], []
    stop = threading.Event()

    def keep_asking(address: str) -> None:
        with carrara.Client(address, timeout=10, retries=0) as client:
            while not stop.is_set():
                try:
                    answered.append(client.predict("late", [ROW]).version)
                except Busy as error:
                    if error.code != "UNAVAILABLE":
                        wrong.append(str(error))
                    return

    with ThreadPoolExecutor(4) as pool:
        for address in (server.grpc, server.rest) * 2:
            pool.submit(keep_asking, address)
        while len(answered) < 50:
            time.sleep(0.01)
        code = server.end()
        stop.set()
    assert (code, wrong) == (0, [])
    with carrara.Workspace(Path(server.process.args[-1])) as ws:
        assert ws.predictions("late").height == len(answered)


def test_a_server_starts_while_the_metadata_store_is_away_and_follows_it_when_it_is_back(serving):
    """F38."""
    first = serving()
    assert (ask(first.grpc), first.end()) == (1, 0)
    folder = Path(first.process.args[-1])
    store, aside = folder / ".carrara" / "metadata.db", folder / "aside.db"
    store.rename(aside)
    store.write_bytes(b"this is no store" * 100)
    second = serving()
    assert ask(second.grpc) == ask(second.rest) == 1
    aside.replace(store)
    with carrara.Workspace(folder) as ws:
        ws.endpoints.end("late")
    until = time.monotonic() + 60
    with carrara.Client(second.grpc, retries=0) as client:
        while time.monotonic() < until:
            try:
                client.predict("late", [ROW])
            except Refused:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the end of the endpoint was never seen")
    assert second.end() == 0


@pytest.mark.slow
def test_a_server_answers_and_starts_while_the_lake_is_away_and_its_log_waits_for_it(serving):
    """F38: and no other lake is made in its place, which would hide what is logged there."""
    first = serving()
    folder = Path(first.process.args[-1])
    lake, aside = folder / ".carrara" / "lake", folder / "aside"
    assert ask(first.grpc) == 1
    lake.rename(aside)
    assert [ask(address) for address in (first.grpc, first.rest)] == [1, 1]
    assert first.end() == 0
    second = serving()
    assert [ask(address) for address in (second.grpc, second.rest)] == [1, 1]
    until = time.monotonic() + 60
    while "prediction log: the lake is away" not in (folder / "server.log").read_text():
        assert time.monotonic() < until, "nobody has said that the lake is away"
        time.sleep(0.05)
    assert not lake.exists()
    aside.rename(lake)
    assert second.end() == 0
    with carrara.Workspace(folder) as ws:
        assert ws.predictions("late").height == 5
    assert not list((folder / ".carrara").rglob("*.segment*"))


@pytest.mark.slow
def test_a_server_says_that_the_artifacts_are_away_and_serves_once_they_are_back(serving):
    """F38: what is loaded keeps serving; a server that starts meanwhile says why it does not answer."""
    first = serving()
    folder = Path(first.process.args[-1])
    store, aside = folder / ".carrara" / "artifacts", folder / "aside"
    assert ask(first.grpc) == 1
    store.rename(aside)
    assert [ask(address) for address in (first.grpc, first.rest)] == [1, 1]
    assert first.end() == 0
    second = serving("--load_retry_interval_micros=100000")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(second.rest + "/v2/health/ready", timeout=20)
    assert refused.value.code == 503
    with urllib.request.urlopen(second.rest + "/v1/models/late", timeout=20) as reply:
        (state,) = json.load(reply)["model_version_status"]
    assert "the artifact store is away" in state["status"]["error_message"]
    assert not store.exists()
    aside.rename(store)
    assert [ask(address, retries=50) for address in (second.grpc, second.rest)] == [1, 1]
    assert second.end() == 0
    assert "the artifact store is away" in (folder / "server.log").read_text()


def test_the_command_of_a_process_is_the_parents_without_its_ports():
    arguments = [
        "serve",
        "--processes",
        "4",
        "--grpc-port=1",
        "--rest_api_port",
        "2",
        "-w",
        "x",
        "--json",
        "--idle",
        "1h",
    ]
    assert serve_command(arguments)[3:] == ["serve", "-w", "x", "--idle", "1h"]
