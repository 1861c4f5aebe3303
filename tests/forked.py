"""Processes of a test's own, forked from one that has imported what they need: a start costs no imports."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection

_SERVER = multiprocessing.get_context("forkserver")
# Nothing of these has a thread, or a file open, before it is used.
_SERVER.set_forkserver_preload(
    [
        "feature_room",
        "carrara.features.pushes",
        "carrara.features.streams.folder",
        "carrara.features.streams.run",
        "carrara.metadata.applied",
        "carrara.metadata.deployments",
        "carrara.metadata.intervals",
        "carrara.metadata.versions",
        "carrara.monitoring.prediction_log",
        "carrara.pipelines.prepare",
        "carrara.pipelines.scheduler",
        "carrara.workspace.workspace",
    ]
)


class Python:
    """`python -c CODE ARGUMENTS…` as a process that can be killed, with what `subprocess.Popen` says of one."""

    def __init__(self, code: str, *arguments: str) -> None:
        ends = [_SERVER.Pipe(duplex=False) for _ in range(2)]
        self._process = _SERVER.Process(target=_run, args=(code, arguments, *(end for _, end in ends)))
        self._process.start()
        for _, end in ends:
            end.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end, _ in ends)
        for end, _ in ends:
            end.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float = 60) -> int | None:
        self._process.join(timeout)
        return self.returncode

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """What it says until it ends; of its errors no more than a pipe holds."""
        said = self.stdout.read(), self.stderr.read()
        self.stdout.close()
        self.stderr.close()
        self.wait(timeout)
        return said


def _run(code: str, arguments: tuple[str, ...], out: Connection, errors: Connection) -> None:
    for number, end in ((1, out), (2, errors)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<the test>", "exec"), {"__name__": "__main__"})
