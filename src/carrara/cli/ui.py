"""`carrara ui`: the web page of a workspace."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say


def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8780,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve beyond this machine without TLS: tokens can be read on the way.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Serve the web page until it is told to stop, and print a link that signs in, once."""
    from carrara.core.plugins import require

    require("starlette", extra="ui", purpose="the web page")
    from carrara.ui.server import UiServer

    with open_workspace(workspace) as ws:
        server = UiServer(ws, host=host, port=port, insecure=insecure)
        told = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: told.set())
        server.start()
        try:
            link = server.sign_in_link()
            if as_json:
                print_json({"url": server.url, "sign_in": link})
            else:
                say(f"{ws.configuration.name} is at {server.url}\n  sign in, once: {link}\n  Ctrl-C stops it")
            while not told.wait(3600):
                if insecure:
                    say("insecure: tokens travel unencrypted")
        finally:
            server.stop()
