"""`carrara model mistakes`: rows that a version gets wrong."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say
from carrara.core.errors import NotFoundError


def mistakes(
    address: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@ALIAS.")],
    sort: Annotated[str | None, typer.Argument(help="One sort, or how it begins: 'false pos'; else all.")] = None,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Rows drawn at random, not those that are farthest from right.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Test rows that a version got wrong, by sort: false positives and negatives, confused classes, far misses."""
    from carrara.core.figures import cell

    with open_workspace(workspace) as ws:
        found = ws.models.record(address)["metrics"].get("mistakes") or []
    if sort is not None:
        wanted = [one for one in found if one["sort"].startswith(sort)]
        if not wanted:
            raise NotFoundError("sort of mistake", sort, [one["sort"] for one in found], where=address)
        found = wanted
    if as_json:
        print_json(found)
        return
    if not found:
        say(f"no mistakes of {address} are recorded")
    for number, one in enumerate(found):
        rows: list[dict[str, Any]] = one["drawn" if drawn else "worst"]
        said = f"{len(rows)} of them drawn at random" if drawn else f"the {len(rows)} farthest from right"
        say(f"{'' if number == 0 else chr(10)}{one['sort']}: {one['count']:,} rows, {one['share']:.1%} of all; {said}")
        if rows:
            print_table(list(rows[0]), [[cell(value) for value in row.values()] for row in rows])
