"""`carrara gc`: what takes room and is not needed."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    older_than: Annotated[str, typer.Option(help="Leave what was touched since; e.g. 6h.")] = "1d",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Delete what is older than [retention] says, and files that nothing names."""
    with open_workspace(workspace) as ws:
        found = ws.collect_garbage(older_than=older_than, dry_run=dry_run)
    if as_json:
        print_json(found.as_dict())
        return
    verb = "would be deleted" if dry_run else "deleted"
    for one in found.expired:
        say(f"{one.kind} of {one.of}: {one.count:,} older than {one.older_than} {verb}")
        for why, count in one.stay.items():
            say(f"  {count:,} as old stay: {why}")
    by_reason = {why: list(items) for why, items in groupby(sorted(found.items, key=lambda i: i.why), lambda i: i.why)}
    if by_reason:
        rows = [(why, len(items), sum(item.bytes for item in items)) for why, items in by_reason.items()]
        print_table(["why it is not needed", "files", "bytes"], rows)
    say(f"{len(found.items):,} files, {found.bytes:,} bytes {verb}.")
