"""`carrara model scorecard`: how a version stands against what is promised of its model."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

_MET = {True: "met", False: "MISSED", None: "not known"}


def scorecard(
    address: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Freshness, reproducibility, gates, live quality, as of now; exit code 3 when an objective is missed."""
    with open_workspace(workspace) as ws:
        found = ws.models.scorecard(address)
    if as_json:
        print_json(found.as_dict())
    else:
        shares = (f"{stage} {share:.0%}" for stage, share in found.scores.items() if share is not None)
        say(f"{found.version} is {found.state}: {', '.join(shares)}")
        rows = [(one.stage, one.name, _MET[one.met], one.said) for one in found.indicators]
        print_table(["stage", "indicator", "objective", "found"], rows)
    if found.state == "red":
        raise typer.Exit(3)
