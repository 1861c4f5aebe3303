"""`carrara model`: what people decide on a version and say of it; aliases; deletion."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, say

AddressArgument = Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it stays in the record.")]


def add_to(app: typer.Typer) -> None:
    for command in (alias, approve, reject, override, describe, delete):
        app.command()(command)


def alias(
    address: AddressArgument,
    name: Annotated[str, typer.Argument(help="The alias, e.g. champion.")],
    remove: Annotated[bool, typer.Option("--remove", help="Let it lead nowhere instead.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version, e.g. `carrara model alias late_arrival@2 champion`."""
    with open_workspace(workspace) as ws:
        version = ws.models.get(address)
        if remove:
            ws.models.remove_alias(version.model, name)
        else:
            ws.models.move_alias(address, name)
        aliases = ws.models.aliases(version.model)
    if as_json:
        print_json({"model": version.model, "aliases": aliases})
    else:
        say(f"{version.model}@{name} leads nowhere now." if remove else f"{version.model}@{name} is {version} now.")


def approve(
    address: AddressArgument, reason: ReasonOption, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """Say that a version is good; exit code 3 where its gates failed."""
    with open_workspace(workspace) as ws:
        _told(str(ws.models.get(address)), ws.models.approve(address, reason), as_json)


def reject(
    address: AddressArgument, reason: ReasonOption, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """Say that a version must not be deployed, whatever its gates say."""
    with open_workspace(workspace) as ws:
        _told(str(ws.models.get(address)), ws.models.reject(address, reason), as_json)


def override(
    address: AddressArgument, reason: ReasonOption, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """Let a version be deployed whose gates failed; who did it, and why, stay in its record."""
    with open_workspace(workspace) as ws:
        _told(str(ws.models.get(address)), ws.models.override(address, reason), as_json)


def describe(
    address: AddressArgument,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=TEXT, several times; NAME= takes it away.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Say who owns a version, what it is for, and tags to find it by."""
    pairs = [one.partition("=") for one in tag or ()]
    for name, separator, _ in pairs:
        if not separator:
            raise typer.BadParameter(f"'{name}' is not NAME=TEXT", param_hint="--tag")
    tags = {name: text or None for name, _, text in pairs}
    with open_workspace(workspace) as ws:
        if owner is not None or description is not None or tags:
            ws.models.describe(address, owner=owner, description=description, tags=tags)
        record = ws.models.record(address)
    said = {name: record[name] for name in ("model", "version", "owner", "description", "tags")}
    if as_json:
        print_json(said)
        return
    say(f"{said['model']}@{said['version']}   owner {said['owner'] or '–'}   {said['description']}")
    for name, text in said["tags"].items():
        say(f"  {name} = {text}")


def delete(address: AddressArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Delete a version that nothing leads to; exit code 3 where something does."""
    with open_workspace(workspace) as ws:
        version = ws.models.delete(address)
    print_json({"deleted": str(version)}) if as_json else say(f"{version} is deleted. Next: carrara gc --dry-run")


def _told(version: str, decision: object, as_json: bool) -> None:
    if as_json:
        print_json({"version": version, **decision.as_dict()})  # type: ignore[attr-defined]
    else:
        say(f"{version} is {decision.decision} by {decision.by}.")  # type: ignore[attr-defined]
