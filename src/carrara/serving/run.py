"""Serves a workspace's deployments until the process is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from carrara.metadata.deployments import current_deployments
from carrara.models.address import ModelAddress
from carrara.models.registry import resolve
from carrara.monitoring.prediction_log import PredictionLog
from carrara.serving.contract import Predictor, Target
from carrara.serving.folder import VersionFolder
from carrara.serving.manager import ModelManager
from carrara.serving.predictor import open_predictor
from carrara.serving.server import ModelServer
from carrara.storage import Stores

Ready = Callable[[ModelServer, list[str]], None]


def serve_workspace(
    stores: Stores,
    *,
    host: str,
    grpc_port: int,
    rest_port: int,
    ready: Ready,
    until_eof: bool = False,
) -> None:
    """Start a server, call `ready` with it and its endpoints, and wait for SIGTERM or SIGINT,
    or with `until_eof` for the end of standard input.

    Requests under way are finished and the prediction log is written before this returns.
    """

    def desired() -> list[Target]:
        return [Target(d.endpoint, d.model, d.version) for d in current_deployments(stores.metadata)]

    def load(target: Target) -> Predictor:
        return open_predictor(stores, resolve(stores, ModelAddress(target.model, target.version)))

    log = PredictionLog(stores)
    manager = ModelManager(desired, load)
    try:
        server = ModelServer(manager, host=host, grpc_port=grpc_port, rest_port=rest_port, log=log.append)
        _serve(server, manager, ready, until_eof)
    finally:
        log.close()


def serve_folder(
    name: str,
    folder: Path,
    *,
    grpc_port: int,
    rest_port: int,
    poll_seconds: float,
    ready: Ready,
    until_eof: bool = False,
) -> None:
    """Serve the newest version in `folder` as `name`, as `serve_workspace` does, with no workspace at all."""
    source = VersionFolder(name, folder)
    manager = ModelManager(source.desired, source.load, poll_seconds=poll_seconds)
    _serve(ModelServer(manager, grpc_port=grpc_port, rest_port=rest_port), manager, ready, until_eof)


def _serve(server: ModelServer, manager: ModelManager, ready: Ready, until_eof: bool) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    if until_eof:
        threading.Thread(target=_set_at_eof, args=(told,), daemon=True).start()
    server.start()
    ready(server, manager.endpoints())
    told.wait()
    server.stop()


def _set_at_eof(told: threading.Event) -> None:
    # Unbuffered: a thread in a buffered read would hold the lock that the interpreter needs to exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    told.set()
