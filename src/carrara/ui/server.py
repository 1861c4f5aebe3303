"""Runs the web page: Granian's ASGI server in this process, on this machine alone unless somebody insists."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from contextlib import suppress

from carrara.core.errors import CarraraError, ConfigurationError, UnavailableError
from carrara.core.identity import current_user
from carrara.core.plugins import require
from carrara.metadata.access import create_token, list_tokens, revoke_token
from carrara.ui.app import Application
from carrara.ui.charts import chart_library
from carrara.ui.pages.features import warm
from carrara.ui.pages.freshness import freshness
from carrara.ui.render import PURPOSE
from carrara.workspace.workspace import Workspace

_POLL_SECONDS = 0.005
_GRACE_SECONDS = 3.0


class UiServer:
    """The web page of a workspace at a host and port; 0 is a free port."""

    def __init__(self, workspace: Workspace, *, host: str = "127.0.0.1", port: int = 0, insecure: bool = False) -> None:
        require("granian", extra="ui", purpose=PURPOSE)
        if not insecure and not _is_loopback(host):
            raise ConfigurationError(
                f"the web page is not served on {host}: tokens would travel unencrypted",
                hint="Put a proxy that speaks TLS before 127.0.0.1, or insist with --insecure.",
            )
        self.workspace, self.host = workspace, host
        self.port = port or _free_port(host)
        self.application = Application(workspace, _names(host, self.port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ui", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        """Return when the server accepts connections."""
        _refuse_taken(self.host, self.port)
        self._thread.start()
        while not _accepts(self.host, self.port):
            if not self._thread.is_alive():
                raise UnavailableError(f"the web page cannot listen on {self.url}", hint="Choose another --port.")
            time.sleep(_POLL_SECONDS)
        for work in (self._make_charts, self._warm):
            threading.Thread(target=work, name=f"ui{work.__name__}", daemon=True).start()

    def sign_in_link(self) -> str:
        """An address that signs in once, within ten minutes, as an admin; its token ends with this server."""
        metadata, name = self.workspace.stores.metadata, self._own_name
        if any(t.name == name and t.state(self.workspace.clock()) == "valid" for t in list_tokens(metadata)):
            revoke_token(metadata, name)  # Of a server that was killed: nobody else has this port.
        _, text = create_token(metadata, name, "admin")
        return f"{self.url}/sign-in?once={self.application.sessions.link(text)}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(_GRACE_SECONDS)
        with suppress(CarraraError):
            revoke_token(self.workspace.stores.metadata, self._own_name)

    @property
    def _own_name(self) -> str:
        return f"{current_user()} (carrara ui, port {self.port})"

    def _make_charts(self) -> None:
        """Nor for the library of charts; where it cannot be made or kept, charts are pictures."""
        with suppress(CarraraError, OSError):
            chart_library(self.workspace.root)

    def _warm(self) -> None:
        """The first visitor need not wait for what takes seconds over many features."""
        with suppress(CarraraError):
            warm(self.application.desk)
            freshness(self.application.desk)

    def _run(self) -> None:
        from granian.constants import Interfaces
        from granian.server.embed import Server

        asyncio.set_event_loop(self._loop)
        self._server = Server(
            self.application.asgi,
            self.host,
            self.port,
            interface=Interfaces.ASGINL,
            log_enabled=False,
            websockets=False,
        )
        self._loop.run_until_complete(self._server.serve())


def _names(host: str, port: int) -> set[str]:
    """What a browser may call this server in `Host`."""
    names = {host, "127.0.0.1", "localhost", "[::1]"} if _is_loopback(host) else {host}
    return {f"{name}:{port}" for name in names}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _refuse_taken(host: str, port: int) -> None:
    if _accepts(host, port):
        raise UnavailableError(f"port {port} of {host} is taken", hint="Stop what is there, or choose another --port.")


def _accepts(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        return client.connect_ex((host, port)) == 0
