"""The repository extension of the Open Inference Protocol over HTTP."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from carrara.serving.management import NO_MANAGEMENT, Management
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.http import HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_tensors import decode_json
from carrara.serving.protocols.problem import problem
from carrara.serving.protocols.repository import listed, require_as_deployed

_logger = logging.getLogger("carrara.serving")


def routes(manager: ModelManager, management: Management = NO_MANAGEMENT) -> list[Route]:
    """The paths under /v2/repository."""

    def index(request: HttpRequest, found: re.Match[str]) -> Reply:
        return json_reply(listed(manager, only_ready=_body(request).get("ready") is True))

    def load(request: HttpRequest, found: re.Match[str]) -> Reply:
        # What is being loaded is asked again by the transport, until it is there or too long has passed.
        management.require_alone(request.headers)
        require_as_deployed(as_mapping(_body(request).get("parameters") or {}, "'parameters'"))
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


def _body(request: HttpRequest) -> Mapping[str, Any]:
    return as_mapping(decode_json(request.body), "the body") if request.body else {}
