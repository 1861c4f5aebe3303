"""Serves what it is given until the process is told to stop."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from carrara.core.errors import CarraraError
from carrara.serving.access_log import AccessLog, Listener, Listeners
from carrara.serving.folders import Folders
from carrara.serving.guard import OPEN_TO_ALL, Guard
from carrara.serving.loading import Load
from carrara.serving.management import Management
from carrara.serving.manager import Desired, ModelManager, Told
from carrara.serving.metrics import Metrics
from carrara.serving.model_runs import Log, Taken
from carrara.serving.observed import Observed
from carrara.serving.open_files import raise_limit
from carrara.serving.options import ServerOptions
from carrara.serving.processes import METRICS_FOLDER
from carrara.serving.protocols.endpoints_rest import Endpoints
from carrara.serving.protocols.features_rest import Read
from carrara.serving.protocols.outcomes_rest import Take
from carrara.serving.request_log import RequestLog
from carrara.serving.residency import Residency
from carrara.serving.server import ModelServer
from carrara.serving.traces import Traces, open_traces

_logger = logging.getLogger("carrara.serving")

_REMIND_SECONDS = 3600.0

Ready = Callable[[ModelServer, list[str]], None]


def serve_folders(folders: Folders, options: ServerOptions, ready: Ready) -> None:
    """Serve folders of versions, with no workspace at all."""
    metrics = Metrics(_metrics_folder())
    requests = RequestLog(folders.logging, metrics)
    reload, taken = folders.reload, requests.ran
    serve(folders.desired, folders.load, options, ready, reload=reload, taken=taken, metrics=metrics)
    requests.close()


def serve(
    desired: Desired,
    load: Load,
    options: ServerOptions,
    ready: Ready,
    log: Log | None = None,
    observed: Observed | None = None,
    reload: Callable[[ModelManager, Any], None] | None = None,
    told: Told | None = None,
    guard: Guard | None = None,
    read_features: Read | None = None,
    take_outcomes: Take | None = None,
    taken: Taken | None = None,
    metrics: Metrics | None = None,
    endpoints: Endpoints | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT: start a server, call `ready` with it and its endpoints, and wait.

    Requests under way are finished before this returns.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise_limit()
    manager = ModelManager(
        desired,
        load,
        poll_seconds=options.poll_seconds,
        retry=options.retry,
        unload_first=options.unload_first,
        residency=Residency(options.bounds),
        told=told,
        threads=options.threads,
        metrics=metrics or Metrics(_metrics_folder()),
    )
    traces = _traces(options)
    access = _listener(AccessLog(options.access_log) if options.access_log is not None else None, traces)
    server = ModelServer(
        manager,
        host=options.host,
        insecure=options.insecure,
        grpc_port=options.grpc_port,
        rest_port=options.rest_port,
        log=log,
        observed=observed,
        reload=None if reload is None else partial(reload, manager),
        wire=replace(options.wire, watch=traces is not None),
        guard=guard,
        read_features=read_features,
        take_outcomes=take_outcomes,
        access=access,
        taken=taken,
        management=Management(options.manage, guard, shared=options.wire.shared > 1),
        endpoints=endpoints,
    )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if options.until_eof:
        threading.Thread(target=_set_at_eof, args=(stopping,), daemon=True).start()
    # What start-up has made stays: a collection that looked through all of it would hold up a load, or a request.
    gc.freeze()
    gc.enable()
    server.start()
    gc.freeze()
    for name in sorted(set(options.wire.limits) - set(manager.endpoints())):
        _logger.warning("there is a limit for endpoint '%s', which is not served now", name)
    ready(server, manager.endpoints())
    while True:
        if server.is_open:
            _logger.warning(OPEN_TO_ALL, options.host)
        if stopping.wait(_REMIND_SECONDS):
            break
    server.stop()
    if access is not None:
        access.close()


def _metrics_folder() -> Path | None:
    """Where processes add up what they count: what prometheus_client itself goes by, so that both agree."""
    named = os.environ.get(METRICS_FOLDER)
    return Path(named) if named else None


def _traces(options: ServerOptions) -> Traces | None:
    """Traces where the environment asks for them; a server serves whether or not they can be had."""
    try:
        return open_traces("https" if options.wire.tls is not None else "http")
    except CarraraError as error:
        _logger.warning("there are no traces: %s. %s", error.message, error.hint)
        return None


def _listener(*listeners: Listener | None) -> Listener | None:
    """Who is told of each request, if anybody is: telling costs it time."""
    there = [one for one in listeners if one is not None]
    return Listeners(there) if there else None


def _set_at_eof(stopping: threading.Event) -> None:
    # Unbuffered: a thread in a buffered read would hold the lock that the interpreter needs to exit.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stopping.set()
