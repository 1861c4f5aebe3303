"""The repository extension of the Open Inference Protocol over gRPC: models listed, loaded and unloaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from carrara.core.errors import CarraraError, RequestError
from carrara.serving.contract import Choice
from carrara.serving.guard import REPOSITORY_LOAD, REPOSITORY_UNLOAD
from carrara.serving.management import Management
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.calls import Method
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import parsed
from carrara.serving.slots import AVAILABLE, END, LOADING, START, UNLOADING
from carrara.serving.transports.base import LONGEST_WAIT_SECONDS

REPOSITORY_INDEX = "/inference.GRPCInferenceService/RepositoryIndex"

_STATES = {START: "UNAVAILABLE", LOADING: "LOADING", AVAILABLE: "READY", UNLOADING: "UNLOADING", END: "UNAVAILABLE"}

_logger = logging.getLogger("carrara.serving")


def methods(manager: ModelManager, management: Management) -> dict[str, Method]:
    """The methods of the extension; loading returns when the model answers: it is for a thread of its own."""

    def index(data: bytes) -> bytes:
        asked = parsed("inference.RepositoryIndexRequest", data)
        found = listed(manager, only_ready=asked.ready)
        return bytes(message("inference.RepositoryIndexResponse")(models=found).SerializeToString())

    def load(data: bytes) -> bytes:
        asked = parsed("inference.RepositoryModelLoadRequest", data)
        management.require_alone_over_grpc()
        require_as_deployed(asked.parameters)
        manager.load_within(asked.model_name, LONGEST_WAIT_SECONDS)
        return b""

    def unload(data: bytes) -> bytes:
        name = parsed("inference.RepositoryModelUnloadRequest", data).model_name
        management.require_alone_over_grpc()
        manager.unload(name)
        _logger.info("%s is unloaded over gRPC", name)
        return b""

    return {REPOSITORY_INDEX: index, REPOSITORY_LOAD: load, REPOSITORY_UNLOAD: unload}


def listed(manager: ModelManager, *, only_ready: bool) -> list[dict[str, str]]:
    """Every model's versions with their states, as Triton lists them."""
    found = [one for name in manager.known() for one in _entries(manager, name)]
    return [one for one in found if not only_ready or one["state"] == "READY"]


def require_as_deployed(parameters: Iterable[str]) -> None:
    """RequestError where a model is to be loaded otherwise than it is deployed, as Triton lets its clients say."""
    if others := sorted(parameters):
        raise RequestError(
            f"a model is loaded as it is deployed, and the request has '{others[0]}'",
            field=others[0],
            hint="Deploy another version instead.",
        )


def _entries(manager: ModelManager, name: str) -> Iterator[dict[str, str]]:
    if manager.is_cold(name):
        yield {"name": name, "version": "", "state": "UNAVAILABLE", "reason": "it is loaded when it is asked"}
        return
    try:
        states = manager.status(Choice(name))
    except CarraraError as error:
        yield {"name": name, "version": "", "state": "UNAVAILABLE", "reason": error.message}
        return
    for one in states:
        reason = one.error or ("unloaded" if one.state == END else "")
        yield {"name": name, "version": str(one.version), "state": _STATES[one.state], "reason": reason}
