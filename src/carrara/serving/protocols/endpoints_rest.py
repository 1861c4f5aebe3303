"""/v1/endpoints: what each endpoint of a workspace serves, and deploying, splitting, mirroring and rolling back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

from carrara.core.errors import CarraraError, CheckFailed, RequestError
from carrara.core.identity import acting_as
from carrara.core.json import to_json
from carrara.core.shares import share_of
from carrara.serving.management import Management
from carrara.serving.protocols.http import HttpRequest, Reply, Route, as_mapping
from carrara.serving.protocols.json_tensors import decode_json
from carrara.serving.protocols.problem import problem

_ENDPOINT = r"/v1/endpoints/(?P<name>[^/:]+)"
_KNOWN = {"model", "canary", "for", "shadow", "split", "by", "force", "watch"}


class Endpoints(Protocol):
    """The endpoints of a workspace, as `ws.endpoints` has them."""

    def list(self) -> Sequence[Any]: ...

    def show(self, endpoint: str) -> Sequence[Any]: ...

    def history(self, endpoint: str) -> Sequence[Any]: ...

    def deploy(self, address: str, to: str | None = None, *, force: bool = False, watch: bool = True) -> Any: ...

    def canary(
        self, address: str, to: str | None = None, *, share: float, lasts: str, by: Sequence[str] = ()
    ) -> Any: ...

    def shadow(self, address: str, to: str | None = None) -> Any: ...

    def split(
        self, model: str, shares: Mapping[str, float], to: str | None = None, *, by: Sequence[str] = ()
    ) -> Sequence[Any]: ...

    def roll_back(self, endpoint: str, reason: str = "") -> Any: ...

    def end(self, endpoint: str) -> None: ...


def routes(endpoints: Endpoints | None, management: Management) -> list[Route]:
    """Nothing for a server without a workspace."""
    if endpoints is None:
        return []

    def listed(request: HttpRequest, name: str) -> Any:
        return endpoints.list()

    def shown(request: HttpRequest, name: str) -> Any:
        served = list(endpoints.show(name))
        # What there never was is named by the history.
        return {"endpoint": name, "serves": served, "history": list(endpoints.history(name))}

    def changed(request: HttpRequest, name: str) -> Any:
        return _deploy(endpoints, name, _body(request))

    def rolled_back(request: HttpRequest, name: str) -> Any:
        return endpoints.roll_back(name, _text(_body(request), "reason"))

    def ended(request: HttpRequest, name: str) -> Any:
        endpoints.end(name)
        return {}

    return [
        Route("GET", re.compile("/v1/endpoints"), _answer(listed), _failed),
        Route("GET", re.compile(_ENDPOINT), _answer(shown), _failed),
        *(
            Route("POST", re.compile(f"{_ENDPOINT}:{verb}"), _answer(act, management), _failed)
            for verb, act in (("deploy", changed), ("rollback", rolled_back), ("end", ended))
        ),
    ]


def _answer(
    act: Callable[[HttpRequest, str], Any], management: Management | None = None
) -> Callable[[HttpRequest, re.Match[str]], Reply]:
    """An answer in JSON; what needs management is done as whoever asks."""

    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        name = unquote(found.groupdict().get("name") or "")
        if management is None:
            return Reply(200, to_json(act(request, name)))
        with acting_as(management.require(request.headers)):
            return Reply(200, to_json(act(request, name)))

    return answer


def _failed(error: Exception) -> Reply:
    """What a person did wrong is their request's; a check that said no tells its reasons."""
    if isinstance(error, CheckFailed):
        return problem(RequestError("; ".join([error.message, *error.reasons]), hint=error.hint))
    if type(error) is CarraraError:
        return problem(RequestError(error.message, hint=error.hint))
    return problem(error)


def _deploy(endpoints: Endpoints, name: str, body: Mapping[str, Any]) -> Any:
    for key in body:
        if key not in _KNOWN:
            raise RequestError(f"a deployment has no '{key}'", field=key, hint=f"It has: {', '.join(sorted(_KNOWN))}.")
    model, by = _text(body, "model"), _texts(body, "by")
    ways = [way for way in ("canary", "shadow", "split") if body.get(way)]
    if not model or len(ways) > 1:
        hint = 'Write {"model": "NAME@3"}, and beside it at most one of canary, shadow and split.'
        raise RequestError("it is not said what to deploy, or in several ways", field="model", hint=hint)
    if "split" in ways:
        shares = {version: _share(part) for version, part in as_mapping(body["split"], "'split'").items()}
        return endpoints.split(model, shares, name, by=by)
    if "canary" in ways:
        lasts = _text(body, "for") or "30m"
        return endpoints.canary(model, name, share=_share(body["canary"]), lasts=lasts, by=by)
    if "shadow" in ways:
        return endpoints.shadow(model, name)
    return endpoints.deploy(model, name, force=body.get("force") is True, watch=body.get("watch") is not False)


def _body(request: HttpRequest) -> Mapping[str, Any]:
    return as_mapping(decode_json(request.body), "the body") if request.body else {}


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name, "")
    if not isinstance(found, str):
        raise RequestError(f"'{name}' is a text", field=name)
    return found


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RequestError(f"'{name}' is a list of texts", field=name)
    return found


def _share(part: Any) -> float:
    if isinstance(part, bool) or not isinstance(part, str | int | float):
        raise RequestError("a share is a number, or a text such as 10%", field="share")
    return share_of(str(part))
