"""The access log: one line of JSON for each request that a server has answered or refused.

Requests only put what is known into a queue; a thread writes it, so that no request waits for a disk.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from carrara.core.errors import ConfigurationError
from carrara.core.stages import Stage
from carrara.serving.outbox import Outbox

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 100_000
_LINES_TOGETHER = 1_000
_MOST_CHARACTERS = 256
"""Of each text that a client chose: a line stays a line, however long its path."""

_logger = logging.getLogger("carrara.serving")


class Headers(Protocol):
    """Header values, or metadata, by lower-case names."""

    def get(self, key: str, default: Any = None) -> Any: ...


@dataclass(frozen=True)
class Subject:
    """What a request was about, as far as it is known: `version` and `rows` are those of an answer.

    `run` is what the model's run spent its time on, where that is watched; requests that were joined share it.
    """

    endpoint: str
    version: int | None = None
    rows: int | None = None
    run: Stage | None = None


class Listener(Protocol):
    """Is told of each request that has ended, as `AccessLog` is."""

    def ended(
        self,
        began: float,
        protocol: str,
        method: str,
        status: int | str,
        headers: Headers,
        client: str,
        *,
        path: str = "",
        subject: Subject | None = None,
    ) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Listeners:
    """Several listeners as one."""

    every: Sequence[Listener]

    def ended(self, *what: Any, **about: Any) -> None:
        for one in self.every:
            one.ended(*what, **about)

    def close(self) -> None:
        for one in self.every:
            one.close()


@dataclass(frozen=True)
class Access:
    """One request: when it came in (seconds since 1970), by what, from whom, and how it ended after `seconds`."""

    came: float
    protocol: str
    method: str
    path: str
    status: int | str
    seconds: float
    subject: Subject | None
    client: str
    request_id: str
    traceparent: str

    def line(self) -> bytes:
        """JSON with a key for what is known; texts that clients choose are cut."""
        about = self.subject or Subject("")
        found = {
            "time": datetime.fromtimestamp(self.came, UTC).isoformat(timespec="microseconds"),
            "protocol": self.protocol,
            "method": self.method,
            "path": self.path[:_MOST_CHARACTERS],
            "endpoint": about.endpoint[:_MOST_CHARACTERS],
            "version": about.version,
            "rows": about.rows,
            "status": self.status,
            "latency_ms": round(self.seconds * 1e3, 3),
            "client": self.client,
            "request_id": self.request_id[:_MOST_CHARACTERS],
            "traceparent": self.traceparent[:_MOST_CHARACTERS],
            "pid": os.getpid(),
        }
        return msgspec.json.encode({key: value for key, value in found.items() if value not in (None, "")}) + b"\n"


class AccessLog:
    """Appends to a file, which others may append to as well, and which may be moved away while it is written.

    ConfigurationError where it cannot be opened. What a full disk does not take is lost and told in the server's log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = _opened(path)
        except OSError as error:
            raise ConfigurationError(
                f"the access log {path} cannot be written: {error.strerror}",
                hint="Name a file whose folder is there.",
            ) from None
        self._outbox = Outbox(
            "access-log",
            self._deliver,
            most=_MOST_WAITING,
            seconds=_FLUSH_SECONDS,
            told="the access log lacks %d requests",
        )

    def ended(
        self,
        began: float,
        protocol: str,
        method: str,
        status: int | str,
        headers: Headers,
        client: str,
        *,
        path: str = "",
        subject: Subject | None = None,
    ) -> None:
        """Take a request that began at `began` of `time.perf_counter` and has ended now. Thread-safe."""
        seconds = time.perf_counter() - began
        ids = (str(headers.get(name) or "") for name in ("x-request-id", "traceparent"))
        came = time.time() - seconds
        self._outbox.put(Access(came, protocol, method, path, status, seconds, subject, client, *ids))

    def close(self) -> None:
        """Write what waits."""
        self._outbox.close()
        os.close(self._file)

    def _deliver(self, requests: list[Access]) -> int:
        lines = [one.line() for one in requests]
        try:
            self._follow()
            for start in range(0, len(lines), _LINES_TOGETHER):
                _write(self._file, b"".join(lines[start : start + _LINES_TOGETHER]))
        except OSError as error:
            _logger.warning("the access log %s is not written: %s", self._path, error)
            return len(lines)
        return 0

    def _follow(self) -> None:
        """Open the file again where it was moved away, as logrotate does."""
        try:
            there: os.stat_result | None = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._file)):
            fresh = _opened(self._path)
            os.close(self._file)
            self._file = fresh


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def _write(file: int, data: bytes) -> None:
    """All of it: a pipe, or a disk that is nearly full, takes a part at a time."""
    while data:
        data = data[os.write(file, data) :]
