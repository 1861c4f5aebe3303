"""Deploys a version and kills itself at the Nth statement that it sends to the metadata store.

python killed_deployer.py WORKSPACE VERSION: forks one child for each N, until one is through; prints how many died.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from sqlalchemy import event
from sqlalchemy.engine import Engine

import carrara


def deploy(folder: str, version: str, last: int) -> None:
    sent = 0

    def before(*_: object) -> None:
        nonlocal sent
        sent += 1
        if sent >= last:
            os.kill(os.getpid(), signal.SIGKILL)

    with carrara.Workspace(folder) as ws:
        ws.runs()
        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "commit", before)
        ws.deploy(version, watch=False)
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "commit", before)


if __name__ == "__main__":
    _, folder, version = sys.argv
    for last in count(1):
        child = os.fork()
        if not child:
            deploy(folder, version, last)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(last, os.WTERMSIG(status), flush=True)
        sys.stdin.readline()
        if not os.WIFSIGNALED(status):
            break
