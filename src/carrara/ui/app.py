"""The application: pages with their twins, actions, live events, charts and files, all behind `Guard`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from carrara import __version__
from carrara.core.errors import AccessError, CarraraError, CheckFailed, Forbidden, NotFoundError, Unauthenticated
from carrara.core.identity import acting_as
from carrara.core.json import to_json
from carrara.metadata.access import Authenticator
from carrara.ui import events
from carrara.ui.access import COOKIE, Guard, Sessions, Visitor, cookie_of, csrf_is_right
from carrara.ui.actions import ACTIONS, Action
from carrara.ui.charts import chart_library
from carrara.ui.desk import Desk
from carrara.ui.metrics import timed
from carrara.ui.page import Asked, Page, name_of
from carrara.ui.pages import PAGES, PageRoute
from carrara.ui.pages.charts import FILES, FileRoute
from carrara.ui.render import Renderer
from carrara.workspace.workspace import Workspace

_log = logging.getLogger(__name__)
_MOST_FORM_BYTES = 65_536
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATIC = {"carrara.css": "text/css", "carrara.js": "text/javascript"}


class Application:
    """The web page of a workspace; `asgi` is what a server runs."""

    def __init__(self, workspace: Workspace, hosts: Iterable[str]) -> None:
        self.desk = Desk(workspace)
        self.sessions = Sessions()
        self.authenticator = Authenticator(workspace.stores.metadata, clock=workspace.clock)
        self._render = Renderer()
        self.routes = [
            *(route for page in PAGES for route in self._page_routes(page)),
            *(Route(action.path, self._action(action), methods=["POST"]) for action in ACTIONS),
            *(Route(file.path, self._file(file)) for file in FILES),
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/static/vega.js", self._vega),
            Route("/static/{name}", self._static),
            Route("/metrics", self._metrics),
        ]
        inner = Starlette(
            routes=[timed(route) for route in self.routes], exception_handlers={404: self._unknown, 405: self._unknown}
        )
        inner.router.redirect_slashes = False
        self.asgi = Guard(inner, self._refuse, self.authenticator, self.sessions, hosts)

    def _page_routes(self, page: PageRoute) -> list[Route]:
        twin = "/index.json" if page.path == "/" else f"{page.path}.json"
        stream = "/index.events" if page.path == "/" else f"{page.path}.events"
        return [
            Route(twin, self._answer(page, self._json)),
            Route(stream, self._events(page)),
            Route(page.path, self._answer(page, self._html)),
        ]

    def _answer(self, page: PageRoute, shown: Any) -> Any:
        async def answer(request: Request) -> Response:
            def work() -> Response:
                asked = self._asked(request)
                try:
                    return shown(request, asked, page.function(self.desk, asked), 200)  # type: ignore[no-any-return]
                except Exception as error:
                    return self._failed(request, error)

            return await run_in_threadpool(work)

        return answer

    def _events(self, page: PageRoute) -> Any:
        async def answer(request: Request) -> Response:
            def look() -> bytes:
                self.authenticator(self._text(request))
                return to_json(page.function(self.desk, self._asked(request)).data)

            return events.stream(look, dict(_HEADERS))

        return answer

    def _action(self, action: Action) -> Any:
        async def answer(request: Request) -> Response:
            body = await _body(request)

            def work() -> Response:
                visitor: Visitor = request.scope["visitor"]
                form = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
                try:
                    if not csrf_is_right(visitor, form.pop("csrf", "")):
                        raise AccessError("this form is of a session that has ended", hint="Load the page again.")
                    visitor.token.require(action.role)
                    asked = self._asked(request)
                    if form.pop("sure", "") != "yes":
                        return self._ask(request, asked, action, form)
                    with acting_as(visitor.token.name):
                        done = action.function(self.desk, asked, form)
                except Exception as error:
                    return self._failed(request, error)
                if _wants_json(request):
                    return Response(to_json(done), headers=_HEADERS, media_type="application/json")
                return RedirectResponse(done["see"], 303, headers=_HEADERS)

            return await run_in_threadpool(work)

        return answer

    def _ask(self, request: Request, asked: Asked, action: Action, form: dict[str, str]) -> Response:
        question = action.question(asked, form)
        back = request.headers.get("referer", "/")
        page = Page("ask.html.j2", "Are you sure?", {"question": question, "form": form, "verb": action.verb})
        return self._html(request, asked, Page(page.template, page.title, page.data, {"back": back}), 200)

    def _file(self, file: FileRoute) -> Any:
        async def answer(request: Request) -> Response:
            def work() -> Response:
                try:
                    found = file.function(self.desk, self._asked(request))
                    return Response(found.content, headers={**_HEADERS, **found.headers}, media_type=found.media_type)
                except Exception as error:
                    return self._failed(request, error)

            return await run_in_threadpool(work)

        return answer

    async def _sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            code = request.query_params.get("once")
            text = self.sessions.redeem(code) if code else None
            if text is None:
                return self._sign_in_page("this link was used already, or is too old" if code else "", 200)
            return self._signed_in(text)
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        text = form.get("token", [""])[-1].strip()
        try:
            await run_in_threadpool(self.authenticator, text)
        except Unauthenticated:
            return self._sign_in_page("that is no valid token", 401)
        return self._signed_in(text)

    def _signed_in(self, text: str) -> Response:
        response = RedirectResponse("/", 303, headers=_HEADERS)
        response.set_cookie(COOKIE, self.sessions.begin(text), httponly=True, samesite="lax", path="/")
        return response

    async def _sign_out(self, request: Request) -> Response:
        visitor: Visitor = request.scope["visitor"]
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        if not csrf_is_right(visitor, form.get("csrf", [""])[-1]):
            return self._failed(request, AccessError("this form is of a session that has ended"))
        self.sessions.end(cookie_of(request.scope["headers_by_name"]))
        response = RedirectResponse("/sign-in", 303, headers=_HEADERS)
        response.delete_cookie(COOKIE, path="/")
        return response

    async def _vega(self, request: Request) -> Response:
        script = await run_in_threadpool(chart_library, self.desk.workspace.root)
        headers = {**_HEADERS, "Cache-Control": "private, max-age=86400"}
        return Response(script, headers=headers, media_type="text/javascript")

    async def _metrics(self, request: Request) -> Response:
        """What this process counts, as Prometheus reads it."""
        return Response(generate_latest(), headers=_HEADERS, media_type=CONTENT_TYPE_LATEST)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return self._failed(request, NotFoundError("file", name, _STATIC))
        content = (files("carrara.ui") / "static" / name).read_bytes()
        return Response(content, headers={**_HEADERS, "Cache-Control": "no-cache"}, media_type=_STATIC[name])

    async def _unknown(self, request: Request, error: Exception) -> Response:
        return self._failed(request, NotFoundError("page", _path(request), hint="The navigation leads to every page."))

    def _html(self, request: Request, asked: Asked, page: Page, status: int) -> Response:
        visitor: Visitor = request.scope["visitor"]
        here = {
            "page": page,
            "token": visitor.token,
            "csrf": visitor.session.csrf if visitor.session is not None else "",
            "workspace_name": self.desk.workspace.configuration.name,
            "now": asked.at,
            "version": __version__,
        }
        text = self._render(page.template, **page.data, **page.drawn, asked=asked, here=here)
        return HTMLResponse(text, status, headers=_HEADERS)

    def _json(self, request: Request, asked: Asked, page: Page, status: int) -> Response:
        return Response(to_json(page.data), status, headers=_HEADERS, media_type="application/json")

    def _failed(self, request: Request, error: Exception) -> Response:
        status = _status(error)
        if status == 500:
            _log.exception("a page failed", exc_info=error)
            message, hint = "this page has failed; the server's log says why", ""
        else:
            message = getattr(error, "message", str(error))
            hint = getattr(error, "hint", "")
        data = {"error": message, "hint": hint}
        if _wants_json(request):
            return Response(to_json(data), status, headers=_HEADERS, media_type="application/json")
        titles = {404: "Not found", 403: "Not allowed", 500: "Failed"}
        # The filters may be what was wrong.
        asked = replace(self._asked(request), filters={})
        return self._html(request, asked, Page("error.html.j2", titles.get(status, "Not possible"), data), status)

    def _refuse(self, status: int, why: str) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            browser = "text/html" in scope["headers_by_name"].get("accept", "")
            if status == 401 and browser:
                response = self._sign_in_page("", 401)
            else:
                response = Response(to_json({"error": why}), status, headers=_HEADERS, media_type="application/json")
            await response(scope, receive, send)

        return answer

    def _sign_in_page(self, said: str, status: int) -> Response:
        text = self._render("sign_in.html.j2", said=said)
        return HTMLResponse(text, status, headers=_HEADERS)

    def _asked(self, request: Request) -> Asked:
        names = {name: name_of(unquote(value)) for name, value in request.path_params.items()}
        filters: dict[str, tuple[str, ...]] = {
            name: tuple(request.query_params.getlist(name)) for name in request.query_params
        }
        path = request.scope["path"].removesuffix(".json").removesuffix(".events")
        path = "/" if path == "/index" else path
        token = request.scope["visitor"].token
        return Asked(path, names, filters, token, self.desk.workspace.clock())

    def _text(self, request: Request) -> str:
        headers = request.scope["headers_by_name"]
        session = self.sessions.get(cookie_of(headers))
        return session.text if session is not None else headers.get("authorization", "").partition(" ")[2]


def routes_of(routes: Sequence[Route]) -> list[tuple[str, str]]:
    """Every route as (method, path)."""
    return [(method, route.path) for route in routes for method in sorted(route.methods or ())]


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return b""
    return body


def _wants_json(request: Request) -> bool:
    return _path(request).endswith(".json") or "text/html" not in request.headers.get("accept", "")


def _path(request: Request) -> str:
    path: str = request.scope["path"]
    return path[:200]


def _status(error: Exception) -> int:
    for kind, status in ((NotFoundError, 404), (Forbidden, 403), (AccessError, 403), (CheckFailed, 409)):
        if isinstance(error, kind):
            return status
    return 400 if isinstance(error, CarraraError) else 500
