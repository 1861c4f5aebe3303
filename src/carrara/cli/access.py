"""`carrara token` and `carrara audit`: who may do what, and who did."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

token_app = typer.Typer(help="API tokens: create, list, revoke.", no_args_is_help=True)
audit_app = typer.Typer(help="Who did what to which object.", no_args_is_help=True)


@token_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; the audit log calls them so.")],
    role: Annotated[str, typer.Option(help="viewer, editor, deployer or admin.")] = "viewer",
    lasts: Annotated[str | None, typer.Option(help="After how long it expires, e.g. 90d; by default never.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, this once: only its digest is kept."""
    from carrara.core.clock import duration

    with open_workspace(workspace) as ws:
        made, text = ws.access.create_token(name, role, lasts=duration(lasts) if lasts else None)
    print_json({**vars(made), "token": text}) if as_json else say(text)


@token_app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Every token there ever was, without its secret."""
    with open_workspace(workspace) as ws:
        found, at = ws.access.tokens(), ws.clock()
    if as_json:
        print_json([{**vars(one), "state": one.state(at)} for one in found])
        return
    rows = [(t.id, t.name, t.role, t.state(at), t.created_by, t.created_at, t.expires_at) for t in found]
    print_table(["token", "name", "role", "state", "made by", "made", "expires"], rows)


@token_app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its id or its name.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """End a token; servers follow within seconds."""
    with open_workspace(workspace) as ws:
        ended = ws.access.revoke_token(token)
    print_json(vars(ended)) if as_json else say(f"the token {ended.id} of '{ended.name}' is revoked")


@audit_app.command("list")
def list_audit(
    object: Annotated[str | None, typer.Option("--object", help="Of one object, e.g. endpoint:late_arrival.")] = None,
    action: Annotated[str | None, typer.Option(help="Of one action, e.g. deploy.")] = None,
    who: Annotated[str | None, typer.Option(help="Of one person or token.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The newest deeds first."""
    with open_workspace(workspace) as ws:
        found = ws.access.audit(object=object, action=action, who=who, limit=limit)
    if as_json:
        print_json([vars(entry) for entry in found])
        return
    rows = [(str(e.number), e.at, e.who, e.action, e.object, _details(e.details)) for e in found]
    print_table(["entry", "at", "who", "action", "object", "details"], rows)


@audit_app.command()
def verify(
    holds: Annotated[str | None, typer.Option(help="The digest of an entry, kept elsewhere: it must be there.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain of digests from the first entry; exit code 3 where one was changed, added or taken out."""
    with open_workspace(workspace) as ws:
        found = ws.access.verify_audit(holds=holds)
    print_json(vars(found)) if as_json else say(f"{found.entries:,} entries, unbroken; the newest is {found.digest}")


def _details(details: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items() if value is not None)
