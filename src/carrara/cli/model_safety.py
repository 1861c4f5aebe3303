"""`carrara model safety`: which safeguards stand between a bad version of a model and its users."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.shares import share_of

_THERE = {True: "yes", False: "NO", None: "not known"}


def safety(
    model: Annotated[str, typer.Argument(help="The model.")],
    at_least: Annotated[
        str | None, typer.Option("--at-least", help="Exit with 3 where the score is less: 80%. For CI.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The safeguards of a model's deployments, and the share of them that are there."""
    required = share_of(at_least) if at_least is not None else 0.0
    with open_workspace(workspace) as ws:
        found = ws.models.safety(model)
    if as_json:
        print_json(found.as_dict())
    else:
        say(f"{found.model}: {found.score:.0%} of the safeguards that are known of are there")
        rows = [(one.name, _THERE[one.there], one.said) for one in found.safeguards]
        print_table(["safeguard", "there", "found, or how"], rows)
    if found.score < required:
        raise typer.Exit(3)
