"""Serves a workspace's deployments until the process is told to stop."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from carrara.core.errors import StorageError
from carrara.metadata.access import Authenticator
from carrara.monitoring.prediction_log import PredictionLog
from carrara.serving.deployed import Deployed
from carrara.serving.guard import Guard
from carrara.serving.observed import Observed
from carrara.serving.options import ServerOptions
from carrara.serving.outcomes import take_outcomes
from carrara.serving.protocols.endpoints_rest import Endpoints
from carrara.serving.protocols.features_rest import Read
from carrara.serving.rollouts import Rollouts
from carrara.serving.run import Ready, serve
from carrara.storage.stores import Stores


def serve_workspace(
    stores: Stores,
    options: ServerOptions,
    ready: Ready,
    read_features: Read | None = None,
    endpoints: Endpoints | None = None,
) -> None:
    """Start a server, call `ready` with it and its endpoints, and wait for SIGTERM or SIGINT.

    `read_features` reads any features of the workspace, for those who ask for them by their references; `endpoints` is
    what shows and changes what is deployed.

    Requests under way are finished and the prediction log is written before this returns.
    """
    observed = Observed()
    rollouts = Rollouts(stores, observed)
    deployed = Deployed(stores, rollouts)
    log = PredictionLog(stores)
    try:
        guard = Guard(Authenticator(stores.metadata, clock=stores.clock), stores.clock) if options.tokens else None
        serve(
            deployed.endpoints,
            deployed.load,
            options,
            ready,
            log.append,
            observed,
            told=deployed.told,
            guard=guard,
            read_features=read_features,
            take_outcomes=partial(take_outcomes, stores),
            endpoints=endpoints,
        )
        with suppress(StorageError):
            rollouts.flush()
    finally:
        log.close()
