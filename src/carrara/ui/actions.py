"""What pages can change: each action asks once, needs a role, and is written down by the function that does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.identity import current_user
from carrara.metadata.access import Role
from carrara.metadata.audit import record
from carrara.metadata.deployments import deployments_at
from carrara.training import Model
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, address

Form = Mapping[str, str]


@dataclass(frozen=True)
class Action:
    """A change: `question` is what people are asked, `verb` what the button says; `function` returns where to look."""

    path: str
    role: Role
    verb: str
    question: Callable[[Asked, Form], str]
    function: Callable[[Desk, Asked, Form], dict[str, Any]]


def _stop(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    run = desk.workspace.stop(asked["run"])
    return {"see": address("runs", run.id), "asked_to_stop": run.id}


def _resume(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    run = desk.workspace.run(asked["run"])
    if run.kind != "train" or run.state not in ("failed", "stopped", "lost"):
        raise CarraraError(f"run {run.id} is {run.state}; trainings that ended before their time are gone on with")
    _begin(desk, "resume", f"run:{run.id}", "run", "resume", run.id)
    return {"see": f"/runs?kind=train&name={run.name}", "resumed": run.id}


def _train(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    model = desk.definitions().get("model", asked["name"], Model)
    _begin(desk, "train", f"model:{model.name}", "train", model.name)
    return {"see": "/runs?kind=train", "training": model.name}


def _deploy(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    endpoint = form.get("endpoint", "").strip() or None
    made = desk.workspace.deploy(f"{asked['name']}@{asked['version']}", endpoint)
    return {"see": address("endpoints", made.endpoint), "deployed": vars(made)}


def _alias(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    alias = form.get("alias", "").strip()
    if not alias or len(alias) > 200 or not alias.isprintable():
        raise CarraraError("an alias needs a name", hint="champion, for example.")
    desk.workspace.models.move_alias(f"{asked['name']}@{asked['version']}", alias)
    return {"see": address("models", asked["name"], asked["version"]), "alias": alias}


def _decide(word: str) -> Callable[[Desk, Asked, Form], dict[str, Any]]:
    """Approve, reject or override, with the reason that the form holds."""

    def decide(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
        decision = getattr(desk.workspace.models, word)(_version(asked), form.get("reason", ""))
        return {"see": address("models", asked["name"], asked["version"]), "decided": decision}

    return decide


def _roll_back(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    history = deployments_at(desk.workspace.stores.metadata, asked["name"], limit=2)
    if len(history) < 2:
        raise NotFoundError(
            "deployment before this one at endpoint", asked["name"], hint="It has served one version only."
        )
    before = history[1]
    made = desk.workspace.deploy(f"{before.model}@{before.version}", asked["name"])
    return {"see": address("endpoints", made.endpoint), "deployed": vars(made)}


def _begin(desk: Desk, action: str, object: str, *arguments: str) -> None:
    """Start a command of ours in a process of its own, in the name of who asks; never by a shell."""
    workspace = desk.workspace
    with workspace.stores.metadata.begin() as connection:
        record(connection, action, object)
    subprocess.Popen(
        [sys.executable, "-m", "carrara", *arguments, "--workspace", str(workspace.root)],
        env={**os.environ, "CARRARA_USER": current_user()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _version(asked: Asked) -> str:
    return f"{asked['name']}@{asked['version']}"


ACTIONS = (
    Action(
        "/runs/{run}/stop",
        "editor",
        "Stop",
        lambda a, f: f"Stop run {a['run']}? What it has done so far is kept.",
        _stop,
    ),
    Action("/runs/{run}/resume", "editor", "Resume", lambda a, f: f"Go on with run {a['run']}?", _resume),
    Action("/models/{name}/train", "editor", "Train", lambda a, f: f"Train {a['name']} on the newest data?", _train),
    Action(
        "/models/{name}/{version}/deploy",
        "deployer",
        "Deploy",
        lambda a, f: f"Let the endpoint {f.get('endpoint') or a['name']} serve {_version(a)} from now on?",
        _deploy,
    ),
    Action(
        "/models/{name}/{version}/alias",
        "deployer",
        "Move",
        lambda a, f: f"Point the alias {f.get('alias', '')} at {_version(a)}?",
        _alias,
    ),
    Action(
        "/models/{name}/{version}/approve",
        "deployer",
        "Approve",
        lambda a, f: f"Write down that {_version(a)} is good, because: {f.get('reason', '')}?",
        _decide("approve"),
    ),
    Action(
        "/models/{name}/{version}/reject",
        "deployer",
        "Reject",
        lambda a, f: f"Keep {_version(a)} from being deployed, because: {f.get('reason', '')}?",
        _decide("reject"),
    ),
    Action(
        "/models/{name}/{version}/override",
        "admin",
        "Override",
        lambda a, f: f"Let {_version(a)} live although its gates failed, because: {f.get('reason', '')}?",
        _decide("override"),
    ),
    Action(
        "/endpoints/{name}/roll-back",
        "deployer",
        "Roll back",
        lambda a, f: f"Let {a['name']} serve what it served before?",
        _roll_back,
    ),
)
