"""`carrara dataset`: versioned tables."""

from __future__ import annotations

from typing import Annotated

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace
from carrara.cli.output import print_json, print_table, say

app = typer.Typer(help="Versioned tables: ingest, look, validate.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The dataset's name.")]
VersionOption = Annotated[int | None, typer.Option("--version", help="By default the newest.")]


@app.command()
def ingest(
    names: Annotated[list[str] | None, typer.Argument(help="By default every dataset.")] = None,
    accept_schema: Annotated[
        bool, typer.Option(help="Take what is there now as the schema of these datasets.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Bring datasets up to date with their sources; an unchanged source makes no new version."""
    with open_workspace(workspace) as ws:
        done = ws.datasets.ingest(*(names or ()), accept_schema=accept_schema)
        if as_json:
            print_json(
                [
                    {
                        "dataset": d.version.name,
                        "version": d.version.version,
                        "rows": d.version.rows,
                        "reused": d.reused,
                    }
                    for d in done
                ]
            )
            return
        for one in done:
            what = "unchanged" if one.reused else "new version"
            say(f"  {one.version.name}@{one.version.version:<4} {one.version.rows:>10,} rows   {what}")
            for anomaly in one.version.anomalies:
                say(f"    {anomaly['severity']}: {anomaly['message']}")


@app.command("list")
def list_(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The newest version of every dataset."""
    with open_workspace(workspace) as ws:
        newest = {version.name: version for version in ws.datasets.versions()}
        if as_json:
            print_json([_line(version) for version in newest.values()])
            return
        print_table(
            ["dataset", "version", "rows", "columns", "ingested"],
            [(v.name, v.version, v.rows, len(v.schema), v.created_at) for v in newest.values()],
        )


@app.command()
def versions(name: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Every version of a dataset."""
    with open_workspace(workspace) as ws:
        found = ws.datasets.versions(name)
        if as_json:
            print_json([_line(version) for version in found])
            return
        print_table(
            ["version", "rows", "digest", "ingested"], [(v.version, v.rows, v.digest[:12], v.created_at) for v in found]
        )


@app.command()
def show(
    name: NameArgument, version: VersionOption = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """A version with its statistics, schema and anomalies."""
    with open_workspace(workspace) as ws:
        found = ws.datasets.get(name, version)
        if as_json:
            print_json(found.as_dict())
            return
        say(f"{found.name}@{found.version}   {found.rows:,} rows   digest {found.digest[:12]}   run {found.run_id}")
        print_table(
            ["column", "type", "nulls", "distinct", "min", "mean", "max"],
            [
                (c, s["type"], s["nulls"], s["distinct"], s.get("min"), s.get("mean"), s.get("max"))
                for c, s in found.statistics.items()
            ],
        )


@app.command()
def head(
    name: NameArgument,
    rows: Annotated[int, typer.Option(help="How many.")] = 5,
    version: VersionOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The first rows."""
    with open_workspace(workspace) as ws:
        frame = ws.datasets.read(name, version).head(rows).collect()
        if as_json:
            print_json(frame.to_dicts())
            return
        print_table(frame.columns, frame.rows())


@app.command()
def validate(
    name: NameArgument, version: VersionOption = None, workspace: WorkspaceOption = HERE, as_json: JsonOption = False
) -> None:
    """Hold a version against its schema; exit code 3 when an anomaly says stop."""
    with open_workspace(workspace) as ws:
        anomalies = ws.datasets.validate(name, version)
        if as_json:
            print_json({"anomalies": anomalies})
        else:
            for anomaly in anomalies:
                say(f"  {anomaly.severity}: {anomaly.message}. To accept: {anomaly.fix}")
            if not anomalies:
                say(f"{name}: no anomalies.")
        if any(anomaly.severity == "stop" for anomaly in anomalies):
            raise typer.Exit(3)


def _line(version: object) -> dict[str, object]:
    keys = ("name", "version", "rows", "digest", "created_at", "run_id")
    return {key: getattr(version, key) for key in keys}
