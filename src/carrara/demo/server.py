"""The model server of the demo: `carrara serve` in a process of its own, on free ports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from carrara.core.errors import UnavailableError


class ServerProcess:
    """Starts a server for a workspace and waits until it is ready; it ends with this process, unless it is kept."""

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self.log = folder / ".carrara" / "server.log"
        command = [sys.executable, "-m", "carrara", "serve", "--json", "--workspace", str(folder)]
        command += ["--grpc-port", "0", "--rest-port", "0"]
        command += [] if keep else ["--until-eof"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if keep else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if not ready:
            code = self._process.wait()
            raise UnavailableError(f"the server ended with exit code {code}", hint=f"Its log: {self.log}")
        ports = msgspec.json.decode(ready)
        self.grpc_port, self.rest_port = int(ports["grpc_port"]), int(ports["rest_port"])
        self.pid = self._process.pid

    def stop(self) -> None:
        """Ask it to finish what it has, write its log, and end."""
        self._process.terminate()
        code = self._process.wait(timeout=60)
        if code != 0:
            raise UnavailableError(f"the server ended with exit code {code}", hint=f"Its log: {self.log}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
