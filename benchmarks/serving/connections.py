"""REST's connections: what idle ones cost, a thousand active ones, a million requests, TLS beside plain, and what
others notice of slow clients (F33: the 99th percentile within 20 %).

python benchmarks/serving/connections.py [--idle 10000] [--active 1000] [--requests 1000000] [--seconds 8] [--slow 300]

The server has one core and the load the other, made by wrk. Each idle connection has asked once and waits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
# After the folder of this file: both have a servers.py.
sys.path.append(str(Path(__file__).parents[2] / "tests" / "serving"))

from harness import table
from load import CLIENT_CORE
from pem import certificate, ssl_config
from servers import Running, carrara, write_files

BODY = json.dumps({"instances": [np.random.default_rng(1).normal(size=28).round(4).tolist()]})
PATH = "/v1/models/bought:predict"
_ANSWERED_SECONDS = 4


@dataclass(frozen=True)
class Answers:
    """What wrk told of a load: answers a second, the median and the 99th percentile, and how many were not well."""

    per_second: float
    p50: str
    p99: str
    failed: int

    def row(self, *about: str) -> tuple[str, ...]:
        return *about, f"{self.per_second:,.0f}", self.p50, self.p99, str(self.failed)


HEADER = ("answers/s", "p50", "p99", "failed")


def idle(versions: Path, count: int) -> None:
    """What the server holds for each connection that asked once and waits; and whether others come dearer again."""
    with _server(versions) as server:
        rows, held = [_wrk(server, 32, 3).row("none")], [server.resident_bytes]
        for _ in range(3):
            begun = time.perf_counter()
            with _waiting(server.rest_port, count):
                took = time.perf_counter() - begun
                held.append(server.resident_bytes)
                rows.append(_wrk(server, 32, 3).row(f"{count:,}"))
    print(f"{count:,} that asked once and wait: {(held[1] - held[0]) / count / 1024:.1f} KiB each, in {took:.1f} s")
    told = ", ".join(f"{one / 2**20:.0f}" for one in held)
    print(f"MiB without them, and with the first, the second and the third so many: {told}")
    _show(("beside",), *rows)


def active(versions: Path, count: int, seconds: float) -> None:
    with _server(versions) as server:
        rows = []
        for connections in (32, count):
            told = _wrk(server, connections, seconds)
            rows.append(told.row(str(connections), f"{server.resident_bytes >> 20} MiB"))
    _show(("connections", "resident"), *rows)


def many(versions: Path, count: int) -> None:
    """So many requests, and what the process holds after each tenth of them."""
    held: list[float] = []
    with _server(versions) as server:
        while (asked := server.ended()).total() < count:
            _wrk(server, 32, 5)
            if asked.total() >= len(held) * count / 10:
                held.append(server.resident_bytes / 2**20)
        held.append(server.resident_bytes / 2**20)
    failed = asked.total() - asked["OK"]
    told = ", ".join(f"{one:.1f}" for one in held)
    print(f"{asked.total():,} requests, {failed} not well; MiB at each tenth: {told}")


def tls(versions: Path, seconds: float) -> None:
    """Throughput with TLS beside without; and with a new connection, and its handshake, for each request."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        key, made = certificate(Path(folder))
        config = ssl_config(Path(folder) / "ssl.config", key, made, verify=False)
        for scheme, options in (("http", ()), ("https", (f"--ssl_config_file={config}",))):
            with _server(versions, *options) as server:
                rows.append(_wrk(server, 32, seconds, scheme).row(scheme, "stays"))
                rows.append(_wrk(server, 32, seconds, scheme, closes=True).row(scheme, "is new each time"))
    _show(("port", "connection"), *rows)


def slow(versions: Path, count: int, seconds: float) -> None:
    """The 99th percentile of others beside so many slow clients of a kind, over what it is without them, each measured
    right after another."""
    rows, ratios = [], []
    head = f"POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    kinds = {
        "headers, a byte a second": (head.encode(), 0),
        "bodies, a byte a second": (head.encode() + BODY.encode(), len(head) + 5),
        "readers that take nothing": (b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n" * 4, None),
        "idle": (b"", 0),
    }
    with _server(versions) as server:
        _wrk(server, 32, 2)
        for kind, (data, at_once) in kinds.items():
            before = _wrk(server, 32, seconds)
            with _trickling(server.rest_port, count, data, at_once):
                beside = _wrk(server, 32, seconds)
            ratios.append(_milliseconds(beside.p99) / _milliseconds(before.p99))
            rows += [before.row("nobody", ""), beside.row(f"{count} {kind}", f"{ratios[-1]:.2f}")]
    _show(("beside", "p99 over that without"), *rows)
    print(f"the largest: {max(ratios):.2f} (asked: 1.20)")


@contextlib.contextmanager
def _trickling(port: int, count: int, data: bytes, at_once: int | None) -> Iterator[None]:
    """Connections that have sent the first bytes (None: all of them), and send one more each second."""
    ended = threading.Event()

    def trickle(clients: list[socket.socket]) -> None:
        place = len(data) if at_once is None else at_once
        while not ended.wait(1) and place < len(data):
            for client in clients:
                with contextlib.suppress(OSError):  # a server may have given it up
                    client.send(data[place : place + 1])
            place += 1

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_client(port)) for _ in range(count)]
        for client in clients:
            client.sendall(data[:at_once])
        if at_once is None:
            # What they ask for is made before others are measured beside answers that nobody takes.
            time.sleep(_ANSWERED_SECONDS)
        thread = threading.Thread(target=trickle, args=(clients,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _client(port: int) -> socket.socket:
    """One whose system keeps little of what it does not read: the rest stays with the server."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    return client


def _milliseconds(told: str) -> float:
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", told).groups()
    return float(number) * units[unit]


def _server(versions: Path, *options: str) -> contextlib.AbstractContextManager[Running]:
    return carrara("--model_name", "bought", "--model_base_path", str(versions), *options)


def _wrk(server: Running, connections: int, seconds: float, scheme: str = "http", *, closes: bool = False) -> Answers:
    headers = {"Content-Type": "application/json", **({"Connection": "close"} if closes else {})}
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps(BODY)}", *lines]))
        script.flush()
        command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:g}s"]
        command += ["--timeout", "10s", "--latency", "-s", script.name]
        told = subprocess.run(
            [*command, f"{scheme}://127.0.0.1:{server.rest_port}{PATH}"], check=True, capture_output=True, text=True
        ).stdout
    p50, p99 = (re.search(rf"{share}% +(\S+)", told) for share in (50, 99))
    rate = re.search(r"Requests/sec: +([\d.]+)", told)
    if rate is None or p50 is None or p99 is None:
        raise RuntimeError(f"wrk said nothing of its requests: {told}")
    wrong = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    # Where each reply closes its connection, wrk counts the end of it as an error of reading.
    failed = sum(int(n) for place, n in enumerate(wrong.groups()) if not (closes and place == 1)) if wrong else 0
    return Answers(float(rate[1]), p50[1], p99[1], failed + (int(refused[1]) if refused else 0))


@contextlib.contextmanager
def _waiting(port: int, count: int) -> Iterator[None]:
    """Connections that are answered once each, and stay."""
    body = BODY.encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            client.sendall(head.encode() + body)
            if not client.recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("a connection was not answered")
        yield


def _show(about: tuple[str, ...], *rows: tuple[str, ...]) -> None:
    print("\n".join([*table([(*about, *HEADER), *rows]), ""]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", default="idle,active,many,tls,slow")
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--slow", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "carrara-serving")
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asked.work.mkdir(parents=True, exist_ok=True)
    versions = write_files(asked.work) / "versions"
    for work in asked.works.split(","):
        print(f"\n{work}", flush=True)
        {
            "idle": lambda: idle(versions, asked.idle),
            "active": lambda: active(versions, asked.active, asked.seconds),
            "many": lambda: many(versions, asked.requests),
            "tls": lambda: tls(versions, asked.seconds),
            "slow": lambda: slow(versions, asked.slow, asked.seconds),
        }[work]()
