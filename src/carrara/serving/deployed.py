"""A workspace's deployments as what a manager is to load, also while the metadata store is away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from carrara.core.clock import Clock
from carrara.core.config import Configuration
from carrara.core.errors import StorageError
from carrara.metadata.deployments import Deployment, current_deployments
from carrara.metadata.endpoint_events import add_event
from carrara.models.address import ModelAddress
from carrara.models.registry import ModelVersion, resolve
from carrara.serving.contract import Endpoint, Predictor, Target
from carrara.serving.desired import endpoints_of
from carrara.serving.last_served import LastServedFile
from carrara.serving.predictor import open_predictor
from carrara.serving.rollouts import Rollouts
from carrara.storage.stores import Stores, open_stores

_logger = logging.getLogger("carrara.serving")


class Deployed:
    """Reads what is deployed, opens its versions, and lets its rollouts be judged.

    While the metadata store does not answer, what it said last holds; at a start, what was served last.
    """

    def __init__(self, stores: Stores, rollouts: Rollouts) -> None:
        self._stores, self._rollouts = stores, rollouts
        self._file = LastServedFile(stores.root)
        self._last: Sequence[Deployment] | None = None
        self._versions: dict[tuple[str, int], ModelVersion] = {}
        self._away = False

    def endpoints(self) -> list[Endpoint]:
        """What is to be served now."""
        return endpoints_of(self._read())

    def load(self, target: Target) -> Predictor:
        """Open the version that a target names."""
        return open_predictor(self._stores, self._version(target.model, target.version))

    def told(self, endpoint: Endpoint, what: str, why: str) -> None:
        """Keep in the endpoint's history what became of it in a server, and why: it is idle, unloaded, or retired."""
        primary = next((one for one in endpoint.targets if one.version == endpoint.primary), None)
        if primary is None:
            return
        with suppress(StorageError), self._stores.metadata.begin() as connection:
            add_event(connection, endpoint.name, what, primary.model, primary.version, [why])

    def _read(self) -> Sequence[Deployment]:
        try:
            found = current_deployments(self._stores.metadata)
            self._rollouts.tick(found)
        except StorageError as error:
            if not self._away:
                _logger.warning("what is served stays as it is: %s", error.message)
            self._away = True
            return self._last if self._last is not None else self._file.read().deployed
        self._away = False
        if found != self._last:
            self._last = found
            self._keep()
        return found

    def _version(self, model: str, number: int) -> ModelVersion:
        try:
            found = resolve(self._stores, ModelAddress(model, number))
        except StorageError:
            kept = self._file.read().version(model, number)
            if kept is None:
                raise
            return kept
        self._versions[model, number] = found
        self._keep()
        return found

    def _keep(self) -> None:
        if self._last is not None:
            served = {(one.model, one.version) for one in self._last}
            self._file.write(self._last, [one for key, one in self._versions.items() if key in served])


def open_for_serving(configuration: Configuration, clock: Clock) -> Stores:
    """The stores of a workspace; while its metadata store is away, they open where something was served before."""
    try:
        return open_stores(configuration, clock)
    except StorageError as error:
        if not LastServedFile(configuration.root).read().deployed:
            raise
        _logger.warning("%s; what was served last is served", error.message)
        return open_stores(configuration, clock, at_once=False)
