"""The repository extension of the Open Inference Protocol: which models there are, and loading and unloading them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from carrara.core.errors import CarraraError
from carrara.serving.contract import Choice
from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.http import HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_tensors import decode_json
from carrara.serving.protocols.problem import problem
from carrara.serving.slots import AVAILABLE, END, LOADING, START, UNLOADING

_STATES = {START: "UNAVAILABLE", LOADING: "LOADING", AVAILABLE: "READY", UNLOADING: "UNLOADING", END: "UNAVAILABLE"}

_logger = logging.getLogger("carrara.serving")


def routes(manager: ModelManager, management: Management = NO_MANAGEMENT) -> list[Route]:
    """The paths under /v2/repository."""

    def index(request: HttpRequest, found: re.Match[str]) -> Reply:
        only = request.body and as_mapping(decode_json(request.body), "the body").get("ready") is True
        listed = [one for name in manager.known() for one in _entries(manager, name)]
        return json_reply([one for one in listed if not only or one["state"] == "READY"])

    def load(request: HttpRequest, found: re.Match[str]) -> Reply:
        # What is being loaded is asked again by the transport, until it is there or too long has passed.
        management.require_alone(request.headers)
        manager.load(unquote(found["name"]))
        return json_reply({})

    def unload(request: HttpRequest, found: re.Match[str]) -> Reply:
        who, name = management.require_alone(request.headers), unquote(found["name"])
        manager.unload(name)
        _logger.info("%s is unloaded by %s", name, who)
        return json_reply({})

    model = r"/v2/repository/models/(?P<name>[^/]+)"
    return [
        Route("POST", re.compile("/v2/repository/index"), index, problem),
        Route("POST", re.compile(f"{model}/load"), load, problem),
        Route("POST", re.compile(f"{model}/unload"), unload, problem),
    ]


def _entries(manager: ModelManager, name: str) -> Iterator[dict[str, Any]]:
    """A model's versions with their states, as Triton lists them."""
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
