"""Load by h2load and wrk, which are written in C, so that the client is not what is measured."""

from __future__ import annotations

import math
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLIENT_CORE = "1"
GRPC_HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
JSON_HEADERS = ("--h1", "-H", "content-type: application/json")


@dataclass(frozen=True)
class Load:
    """What a load came to: answers a second, failures, and the median, 95th and 99th percentile in microseconds."""

    per_second: float
    failed: int
    p50: float
    p95: float
    p99: float


def grpc_load(port: int, method: str, message: bytes, connections: int, seconds: float, rate: float = 0) -> Load:
    """Closed loop over `connections` HTTP/2 connections, one call at a time on each; with a `rate`, so many calls a
    second whether or not they are answered."""
    url, body = f"http://127.0.0.1:{port}{method}", framed(message)
    open_loop = ("-m", "1000", "--rps", str(rate / connections)) if rate else ()
    return h2load(url, body, (*GRPC_HEADERS, *open_loop), connections, seconds)


def rest_load(url: str, body: bytes, connections: int, seconds: float) -> Load:
    """Closed loop over `connections` HTTP/1.1 connections."""
    return h2load(url, body, JSON_HEADERS, connections, seconds)


def h2load(url: str, body: bytes, options: tuple[str, ...], connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder) / "body", Path(folder) / "log"
        data.write_bytes(body)
        command = ["taskset", "-c", CLIENT_CORE, "h2load", "-t", "1", "-c", str(connections), "-m", "1", "-d", data]
        command += ["-D", str(math.ceil(seconds)), "--warm-up-time", "1", f"--log-file={log}", *options, url]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
        per_second = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
        counts = re.search(r"requests: .* (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
        if per_second is None or counts is None:
            raise RuntimeError(f"h2load said nothing of its requests: {done.stdout}{done.stderr}")
        if not log.stat().st_size:
            raise RuntimeError("no request was answered")
        status, took = np.loadtxt(log, usecols=(1, 2), unpack=True, ndmin=2)
    failed = sum(map(int, counts.groups())) + int(np.sum(status != 200))
    percentiles = map(float, np.percentile(took, (50, 95, 99)))
    return Load(float(per_second[1]), failed, *percentiles)


def framed(message: bytes) -> bytes:
    """A message as gRPC puts it into a stream: not compressed, its length, itself."""
    return struct.pack(">BI", 0, len(message)) + message
