"""`deploy`, `rollback`: which versions an endpoint serves, and which are tried beside them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say
from carrara.core.clock import duration
from carrara.core.shares import share_of, shares_of

if TYPE_CHECKING:
    from carrara.metadata.deployments import Deployment
    from carrara.workspace.workspace import Workspace


def deploy(
    address: Annotated[str, typer.Argument(help="NAME@3, NAME@ALIAS, or NAME for the newest; of a split, NAME.")],
    to: Annotated[str | None, typer.Option(help="The endpoint; by default the model's name.")] = None,
    canary: Annotated[
        str | None,
        typer.Option(help="Give it this part of the traffic, judge it, and promote it or roll it back: 10%."),
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="How long a canary is judged: 30m, 2h.")] = "30m",
    shadow: Annotated[bool, typer.Option("--shadow", help="Ask it as well, compare its answers, show nobody.")] = False,
    split: Annotated[str | None, typer.Option(help="Share the traffic between versions or aliases: 3=50,4=50.")] = None,
    by: Annotated[
        str | None, typer.Option(help="The inputs whose values decide who meets which version; by default the keys.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also a version with another signature.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Come back to the version before where this one does worse.")
    ] = True,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make an endpoint serve a version, or try one beside it; running servers follow within a second."""
    if (canary is not None) + shadow + (split is not None) > 1:
        raise typer.BadParameter("choose one of --canary, --shadow and --split")
    keys = tuple(name.strip() for name in by.split(",")) if by else ()
    with open_workspace(workspace) as ws:
        if split is not None:
            made = list(ws.endpoints.split(address, shares_of(split), to, by=keys))
        elif canary is not None:
            made = [ws.endpoints.canary(address, to, share=share_of(canary), lasts=duration(lasts), by=keys)]
        elif shadow:
            made = [ws.endpoints.shadow(address, to)]
        else:
            made = [ws.deploy(address, to, force=force, watch=watch)]
        _tell(ws, made, as_json)


def rollback(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """End what is tried on an endpoint, else go back to the version before."""
    with open_workspace(workspace) as ws:
        serves = ws.endpoints.roll_back(endpoint, reason)
    print_json(vars(serves)) if as_json else say(f"{endpoint} serves {serves.address}")


def _tell(ws: Workspace, made: list[Deployment], as_json: bool) -> None:
    absent = sorted({view for one in made for view in ws.models.features_absent_online(one.address)})
    if as_json:
        rows = [{**vars(one), "features_absent_online": absent} for one in made]
        print_json(rows[0] if len(rows) == 1 else rows)
        return
    if absent:
        say(f"A server will load it once its features are online: carrara feature materialise {' '.join(absent)}")
    for one in made:
        say(_said(one, made))
    first = made[0]
    say("Next: carrara serve" if first.role == "primary" else f"Next: carrara endpoint show {first.endpoint}")


def _said(one: Deployment, made: list[Deployment]) -> str:
    if one.role == "canary":
        lasts = _plain((one.until - one.started_at) if one.until else timedelta())
        return f"{one.endpoint} tries {one.address} on {one.share:.3g} of its traffic for {lasts}"
    if one.role == "shadow":
        return f"{one.endpoint} asks {one.address} as well; nobody sees its answers"
    rest = 1 - sum(other.share for other in made if other.role == "split")
    if len(made) == 1:
        return f"{one.endpoint} serves {one.address}"
    return f"{one.endpoint} serves {one.address} to {rest if one.role == 'primary' else one.share:.3g} of its traffic"


def _plain(length: timedelta) -> str:
    return str(length).split(".")[0]
