"""Several server processes at the same ports: one parent that starts them, starts them again, and ends them.

Connections are spread over them by the system. A process that ends is started again after a pause that doubles each
time it ends soon; the others go on meanwhile.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from carrara.core.errors import UnavailableError
from carrara.serving.transports.http import hold_port

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable: the folder in which processes add up what they count."""

_FIRST_PAUSE, _LONGEST_PAUSE, _SOON = 0.2, 30.0, 60.0
_GRACE_SECONDS = 60.0
_logger = logging.getLogger("carrara.serving")


@dataclass
class Worker:
    """One server process: the last that was started, and when it may be started again."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0
    pause: float = _FIRST_PAUSE
    next_start: float = 0.0
    endpoints: list[str] = field(default_factory=list)


class Workers:
    """`count` processes of `command`, which is `carrara serve` with its ports to be added; they end with this one."""

    def __init__(self, command: Sequence[str], count: int, host: str, grpc_port: int, rest_port: int) -> None:
        self.host = host
        self._held = [hold_port(host, port) for port in (grpc_port, rest_port)]
        self.grpc_port, self.rest_port = (int(one.getsockname()[1]) for one in self._held)
        ports = ["--grpc-port", str(self.grpc_port), "--rest-port", str(self.rest_port)]
        self._command = [*command, *ports, "--shared", str(count), "--until-eof", "--json"]
        self._workers = [Worker(number) for number in range(count)]
        self._told = threading.Event()
        self._metrics = Path(tempfile.mkdtemp(prefix="carrara-metrics-"))

    def run(self, ready: Callable[[list[str]], None]) -> None:
        """Start the processes, say when all are ready, and keep them up until SIGTERM or SIGINT; then end them.

        UnavailableError where one cannot be started in the first place.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._told.set())
        try:
            for worker in self._workers:
                self._start(worker)
            for worker in self._workers:
                self._await(worker)
            if not self._told.is_set():
                ready(self._workers[0].endpoints)
            while not self._told.wait(0.1):
                self._look()
        finally:
            self._stop()

    def _start(self, worker: Worker) -> None:
        worker.ready.clear()
        worker.started = time.monotonic()
        environment = {**os.environ, METRICS_FOLDER: str(self._metrics)}
        worker.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        threading.Thread(target=_listen, args=(worker, worker.process), daemon=True).start()
        _logger.info("server process %d is %d", worker.number, worker.process.pid)

    def _await(self, worker: Worker) -> None:
        assert worker.process is not None
        while not self._told.is_set() and not worker.ready.wait(0.1):
            code = worker.process.poll()
            if code is not None:
                raise UnavailableError(f"a server process ended with exit code {code} before it was ready")

    def _look(self) -> None:
        moment = time.monotonic()
        for worker in self._workers:
            if worker.process is None:
                if moment >= worker.next_start:
                    self._start(worker)
            elif (code := worker.process.poll()) is not None:
                from prometheus_client.multiprocess import mark_process_dead

                mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
                worker.pause = _FIRST_PAUSE if moment - worker.started > _SOON else worker.pause
                _logger.error("server process %d ended with %d; again in %.1f s", worker.number, code, worker.pause)
                worker.next_start, worker.process = moment + worker.pause, None
                worker.pause = min(2 * worker.pause, _LONGEST_PAUSE)

    def _stop(self) -> None:
        running = [one.process for one in self._workers if one.process is not None and one.process.poll() is None]
        for process in running:
            process.terminate()
        until = time.monotonic() + _GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for one in self._held:
            one.close()
        shutil.rmtree(self._metrics, ignore_errors=True)


def _listen(worker: Worker, process: subprocess.Popen[bytes]) -> None:
    """The line that a server says when it is ready; what it says then is nobody's."""
    assert process.stdout is not None
    for line in process.stdout:
        if not worker.ready.is_set():
            worker.endpoints = msgspec.json.decode(line)["endpoints"]
            worker.ready.set()


def serve_command(arguments: Sequence[str]) -> list[str]:
    """The command of one server process, from what the parent was called with."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if skip:
            skip = False
        elif name in ("--processes", "--grpc-port", "--port", "--rest-port", "--rest_api_port"):
            skip = not equals
        elif name not in ("--json", "--until-eof"):
            kept.append(argument)
    return [sys.executable, "-m", "carrara", *kept]
