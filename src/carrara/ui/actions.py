"""What pages can change: each action asks once, needs a role, and is written down by the function that does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.clock import duration
from carrara.core.errors import CarraraError, NotFoundError
from carrara.core.identity import current_user
from carrara.core.names import check_name
from carrara.core.shares import shares_of
from carrara.metadata.access import Role
from carrara.metadata.audit import record
from carrara.metadata.deployments import current_deployments
from carrara.training.model import Model
from carrara.ui.desk import Desk
from carrara.ui.page import Asked, address

Form = Mapping[str, str]
_MOST_CHANGES = 10_000


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


def _canary(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    text = form.get("share", "").strip().removesuffix("%").strip()
    try:
        part = float(text) / 100
    except ValueError:
        raise CarraraError(f"'{text[:40]}' is no share of the traffic", hint="Write 10 for 10 per cent.") from None
    endpoint, lasts = form.get("endpoint", "").strip() or None, form.get("for", "").strip() or "30m"
    made = desk.workspace.endpoints.canary(_version(asked), endpoint, share=part, lasts=lasts)
    return {"see": address("endpoints", made.endpoint), "canary": vars(made)}


def _shadow(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    version = form.get("version", "").strip()
    if not version:
        raise CarraraError("a shadow is a version of the endpoint's model", hint="Write its number, or an alias.")
    made = desk.workspace.endpoints.shadow(f"{_served_model(desk, asked['name'])}@{version}", asked["name"])
    return {"see": address("endpoints", made.endpoint), "shadow": vars(made)}


def _split(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    shares = shares_of(form.get("shares", ""))
    made = desk.workspace.endpoints.split(_served_model(desk, asked["name"]), shares, asked["name"])
    return {"see": address("endpoints", asked["name"]), "split": [vars(one) for one in made]}


def _served_model(desk: Desk, endpoint: str) -> str:
    """The model that an endpoint serves: what is tried beside it is of the same."""
    found = [one.model for one in current_deployments(desk.workspace.stores.metadata, endpoint)]
    if not found:
        raise NotFoundError("endpoint", endpoint, [one.endpoint for one in desk.workspace.endpoints.list()])
    return found[0]


def _roll_back(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    made = desk.workspace.endpoints.roll_back(asked["name"], form.get("reason", "").strip())
    return {"see": address("endpoints", made.endpoint), "serves": vars(made)}


def _silence(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    lasting, rule = duration(form.get("for", "1d")), form.get("rule", "").strip() or None
    model = desk.workspace.models.get(asked["name"]).model
    made = desk.workspace.monitoring.silence(model, lasting, rule=rule, reason=form.get("reason", "").strip())
    return {"see": "/monitoring", "silence": made}


def _accept_schema(desk: Desk, asked: Asked, form: Form) -> dict[str, Any]:
    workspace, name = desk.workspace, asked["name"]
    path, changes = workspace.datasets.update_schema(check_name("dataset", name))
    with workspace.stores.metadata.begin() as connection:
        record(connection, "accept schema", f"dataset:{name}", changes=changes[:_MOST_CHANGES])
    return {"see": address("datasets", name, "schema"), "schema": str(path), "diff": changes}


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
        "/datasets/{name}/schema/accept",
        "editor",
        "Accept",
        lambda a, f: f"Write into schemas/{a['name']}.toml what accepts the newest version?",
        _accept_schema,
    ),
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
        "/models/{name}/{version}/canary",
        "deployer",
        "Try",
        lambda a, f: (
            f"Give {_version(a)} {f.get('share', '')} % of the traffic for {f.get('for', '30m')}, then judge it?"
        ),
        _canary,
    ),
    Action(
        "/models/{name}/silence",
        "editor",
        "Silence",
        lambda a, f: f"Tell nobody of alerts of {a['name']} for {f.get('for', '1d')}?",
        _silence,
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
        "/endpoints/{name}/shadow",
        "deployer",
        "Shadow",
        lambda a, f: f"Ask version {f.get('version', '')} what {a['name']} is asked? Nobody sees its answers.",
        _shadow,
    ),
    Action(
        "/endpoints/{name}/split",
        "deployer",
        "Split",
        lambda a, f: f"Share the traffic of {a['name']} between its versions as {f.get('shares', '')}?",
        _split,
    ),
    Action(
        "/endpoints/{name}/roll-back",
        "deployer",
        "Roll back",
        lambda a, f: f"End what is tried on {a['name']}, else let it serve what it served before?",
        _roll_back,
    ),
)
