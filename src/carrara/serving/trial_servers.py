"""A trial by servers that the user names: each is started on the artifact's folder, waited for, and asked real rows.

What asks is a process of its own, so that a server that never answers holds nothing up.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05
_MOST_SAID = 300


def try_server(
    command: str, folder: Path, asking: Sequence[str], found: Path, model: str, within: float
) -> dict[str, Any]:
    """What a server came to: the figures that `asking`, a command, has written to `found`, with its address at the end;
    or the `reason` why it did not."""
    port, rest_port = _free_ports()
    words = _filled(command, {"folder": str(folder), "model": model, "port": port, "rest_port": rest_port})
    found.unlink(missing_ok=True)
    with (folder.parent / "server.log").open("w+") as log:
        try:
            with _running(words, log) as server:
                reason = _asked(server, [*asking, f"127.0.0.1:{port}"], log, within)
        except OSError as error:
            reason = f"it cannot be started: {error}"
    if not reason and not found.exists():
        reason = "who asks it ended without a result"
    told = {"reason": reason} if reason else msgspec.json.decode(found.read_bytes())
    return {"command": command, **told}


def _filled(command: str, values: dict[str, Any]) -> list[str]:
    # Words first: a path with a space stays one of them, and nothing is a shell's.
    return [word.format(**values) for word in shlex.split(command)]


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def _running(words: list[str], log: Any) -> Iterator[subprocess.Popen[str]]:
    """The server, with all that it starts; asked to end, as a container must be, and then made to."""
    server = subprocess.Popen(
        words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield server
    finally:
        _signalled(server, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_PATIENCE_SECONDS)
        _signalled(server, signal.SIGKILL)
        server.wait()


def _signalled(server: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, number)


def _asked(server: subprocess.Popen[str], asking: list[str], log: Any, within: float) -> str:
    """Ask until there is an answer, the server ends, or the time is over; why there is none."""
    ends = time.monotonic() + within
    with subprocess.Popen(asking, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as asker:
        try:
            while asker.poll() is None:
                if server.poll() is not None:
                    return f"it ended with {server.returncode}: {_last_line(log)}"
                if time.monotonic() > ends:
                    return f"it had not answered after {within:g} s: {_last_line(log)}"
                time.sleep(_PAUSE_SECONDS)
        finally:
            asker.kill()
            _, said = asker.communicate()
    return "" if asker.returncode == 0 else f"who asks it ended with {asker.returncode}: {said.strip()[-_MOST_SAID:]}"


def _last_line(log: Any) -> str:
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    return str(lines[-1][:_MOST_SAID]) if lines else "it said nothing"
