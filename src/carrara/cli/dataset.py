"""`carrara dataset`: versioned tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrara.cli.context import HERE, JsonOption, WorkspaceOption, open_workspace, typed_address
from carrara.cli.dataset_schema import app as schema_app
from carrara.cli.output import TerminalProgress, print_json, print_table, say

if TYPE_CHECKING:
    from carrara.data.anomalies import Anomaly
    from carrara.data.versions import DatasetVersion

app = typer.Typer(help="Versioned tables: ingest, look, validate, compare.", no_args_is_help=True)
app.add_typer(schema_app, name="schema")

NameArgument = Annotated[str, typer.Argument(help="The dataset's name.")]
VersionOption = Annotated[int | None, typer.Option("--version", help="By default the newest.")]
AsOfOption = Annotated[str | None, typer.Option(help="The version that was the newest at this time.")]
KeyOption = Annotated[list[str] | None, typer.Option("--key", help="A column that identifies a row; repeat for more.")]


@app.command()
def ingest(
    names: Annotated[list[str] | None, typer.Argument(help="By default every dataset.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="A file's address, for one dataset that no definition names.")
    ] = None,
    mode: Annotated[str, typer.Option(help="With --from: replace, append or upsert.")] = "replace",
    key: KeyOption = None,
    accept_schema: Annotated[
        bool, typer.Option("--accept-schema", help="Take what is there now as the schema of these datasets.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Bring datasets up to date with their sources; an unchanged source makes no new version.

    Exit code 3 when a schema refuses the rows: the last good version then stays in use.
    """
    progress = TerminalProgress(quiet=as_json)
    with open_workspace(workspace) as ws:
        if source is not None:
            name = _only(names)
            done = [
                ws.datasets.ingest_from(
                    name,
                    source,
                    mode=mode,  # type: ignore[arg-type]
                    key=key or (),
                    accept_schema=accept_schema,
                    progress=progress,
                )
            ]
        else:
            done = ws.datasets.ingest(*(names or ()), accept_schema=accept_schema, progress=progress)
        if as_json:
            print_json([{**_line(d.version), "dataset": d.version.name, "reused": d.reused} for d in done])
            return
        for one in done:
            if not one.reused:
                for anomaly in one.version.anomalies:
                    say(f"    {one.version.name}: {anomaly['severity']}: {anomaly['message']}")


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
            [(v.name, v.version, v.rows, len(v.statistics), v.created_at) for v in newest.values()],
        )


@app.command()
def versions(name: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Every version of a dataset: when, by whom, how many rows."""
    with open_workspace(workspace) as ws:
        found = ws.datasets.versions(name)
        if as_json:
            print_json([_line(version) for version in found])
            return
        print_table(
            ["version", "rows", "added", "quarantined", "anomalies", "digest", "by", "ingested"],
            [
                (v.version, v.rows, v.added, v.quarantined, len(v.anomalies), v.digest[:12], v.created_by, v.created_at)
                for v in found
            ],
        )


@app.command()
def show(
    name: NameArgument,
    version: VersionOption = None,
    as_of: AsOfOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """A version: where its rows are from, the figures of its columns, its anomalies."""
    with open_workspace(workspace) as ws:
        found = ws.datasets.get(name, version, as_of=_time(as_of))
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
        _say_anomalies(found.anomalies)


@app.command()
def head(
    name: NameArgument,
    rows: Annotated[int, typer.Option(help="How many.")] = 5,
    version: VersionOption = None,
    as_of: AsOfOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The first rows."""
    with open_workspace(workspace) as ws:
        frame = ws.datasets.read(name, version, as_of=_time(as_of)).head(rows).collect()
        if as_json:
            print_json(frame.to_dicts())
            return
        print_table(frame.columns, frame.rows())


@app.command()
def stats(
    name: NameArgument,
    columns: Annotated[list[str] | None, typer.Argument(help="By default all.")] = None,
    version: VersionOption = None,
    slices: Annotated[list[str] | None, typer.Option("--slice", help="By the values of this column as well.")] = None,
    weight: Annotated[str | None, typer.Option(help="The column of weights for weighted figures.")] = None,
    label: Annotated[str | None, typer.Option(help="How much each column tells of this one.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The statistics of a version: counts, ranges, quantiles, histograms, top values."""
    with open_workspace(workspace) as ws:
        if label is not None:
            found = ws.datasets.association(name, label, version)
            if as_json:
                print_json({"label": label, "columns": [vars(one) for one in found]})
                return
            print_table(
                ["column", "correlation", "mutual information", "share of the label's entropy"],
                [(one.column, one.correlation, one.mutual_information, one.share) for one in found],
            )
            return
        statistics = ws.datasets.statistics(name, version, slices=slices or (), weight=weight)
        wanted = _chosen(statistics.summary(), columns, name)
        by_slice = {value: _chosen(part.summary(), columns, name) for value, part in statistics.slices.items()}
        if as_json:
            print_json({"rows": statistics.rows, "columns": wanted, "slices": by_slice})
            return
        _print_statistics(wanted)
        for value, part in by_slice.items():
            say(f"\n{value}   {statistics.slices[value].rows:,} rows")
            _print_statistics(part)


@app.command()
def validate(
    name: NameArgument,
    version: VersionOption = None,
    data: Annotated[str | None, typer.Option(help="Hold a file against the schema, in place of a version.")] = None,
    training: Annotated[int | None, typer.Option(help="The version that skew is measured against.")] = None,
    environment: Annotated[str, typer.Option(help="Such as serving: what is absent there is not missed.")] = "",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Hold a version, or a file, against the schema; exit code 3 when an anomaly says stop."""
    with open_workspace(workspace) as ws:
        anomalies = ws.datasets.validate(
            name, version, data=typed_address(data), training=training, environment=environment
        )
        if as_json:
            print_json({"dataset": name, "anomalies": [anomaly.as_dict() for anomaly in anomalies]})
        else:
            _say_anomalies([anomaly.as_dict() for anomaly in anomalies])
            if not anomalies:
                say(f"{name}: no anomalies.")
            else:
                say(f"To see what would accept them: carrara dataset schema diff {name}")
        _stop_for(anomalies)


@app.command()
def quarantine(
    name: NameArgument,
    rows: Annotated[int, typer.Option(help="How many.")] = 20,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """The rows that were set aside at the last ingest that had any, and why."""
    with open_workspace(workspace) as ws:
        frame = ws.datasets.quarantine(name).head(rows)
        if as_json:
            print_json(frame.to_dicts())
            return
        print_table(frame.columns, frame.rows())


@app.command()
def diff(
    name: NameArgument,
    before: Annotated[int | None, typer.Option(help="By default the version before.")] = None,
    after: Annotated[int | None, typer.Option(help="By default the newest.")] = None,
    key: KeyOption = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """What changed between two versions: columns, distributions and, by --key, rows."""
    with open_workspace(workspace) as ws:
        found = ws.datasets.diff(name, before, after, key=key or ())
        if as_json:
            print_json(found.as_dict())
            return
        say(f"{name}@{found.before} → {name}@{found.after}   {found.rows_before:,} → {found.rows_after:,} rows")
        changed = [column for column in found.columns if column.change != "none"]
        print_table(
            ["column", "change", "distance", "nulls", "", "mean", "", "distinct", ""],
            [
                (
                    c.column,
                    c.change,
                    c.distance if c.measure else None,
                    *_pair(c, "nulls"),
                    *_pair(c, "mean"),
                    *_pair(c, "distinct"),
                )
                for c in changed
            ],
        )
        if not changed:
            say("No column changed.")
        if found.rows is not None:
            say(
                f"rows: {found.rows.added:,} added, {found.rows.removed:,} removed, {found.rows.changed:,} changed, "
                f"{found.rows.same:,} the same"
            )
            for column, count in found.rows.changed_by_column.items():
                say(f"  {column}: {count:,} changed")
            for sample in found.rows.samples[:5]:
                values = ", ".join(f"{c}: {old} → {new}" for c, (old, new) in sample["changed"].items())
                say(f"  {' '.join(str(v) for v in sample['key'].values())}   {values}")


@app.command()
def report(
    name: NameArgument,
    version: VersionOption = None,
    against: Annotated[int | None, typer.Option(help="Another version, side by side.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default in reports/.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version, or two side by side, as one self-contained HTML page."""
    with open_workspace(workspace) as ws:
        path = ws.datasets.report(name, version, against=against, path=output)
        if as_json:
            print_json({"report": str(path)})
            return
        say(f"{path}")


def _only(names: list[str] | None) -> str:
    if not names or len(names) != 1:
        raise typer.BadParameter("Name one dataset to ingest into.", param_hint="--from")
    return names[0]


def _time(text: str | None) -> Any:
    from carrara.core.clock import parse_time

    return parse_time(text) if text is not None else None


def _chosen(summary: dict[str, Any], columns: list[str] | None, name: str) -> dict[str, Any]:
    from carrara.core.errors import ColumnMissing

    for column in columns or ():
        if column not in summary:
            raise ColumnMissing(column, f"dataset '{name}'", summary)
    return {column: summary[column] for column in columns or summary}


def _print_statistics(summary: dict[str, Any]) -> None:
    rows = []
    for column, found in summary.items():
        top = ", ".join(f"{t['value']} {t['share']:.0%}" for t in found.get("top", [])[:3])
        quantiles = found.get("quantiles") or [None] * 11
        rows.append(
            (
                column,
                found["type"],
                found["nulls"],
                found["distinct"],
                found.get("zeros"),
                found.get("min"),
                quantiles[5],
                found.get("mean"),
                found.get("std"),
                found.get("max"),
                top,
            )
        )
    print_table(["column", "type", "nulls", "distinct", "zeros", "min", "median", "mean", "std", "max", "top"], rows)


def _say_anomalies(anomalies: list[dict[str, Any]]) -> None:
    for anomaly in anomalies:
        say(f"  {anomaly['severity']:<5} {anomaly['kind']:<17} {anomaly['message']}")
        if anomaly["fix"]:
            say(f"        to accept: {_shortened(anomaly['fix'])}")


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _stop_for(anomalies: list[Anomaly]) -> None:
    if any(anomaly.severity == "stop" for anomaly in anomalies):
        raise typer.Exit(3)


def _pair(column: Any, figure: str) -> tuple[Any, Any]:
    return (column.before or {}).get(figure), (column.after or {}).get(figure)


def _line(version: DatasetVersion) -> dict[str, object]:
    keys = (
        "name",
        "version",
        "rows",
        "added",
        "quarantined",
        "digest",
        "created_by",
        "created_at",
        "run_id",
        "anomalies",
    )
    return {key: getattr(version, key) for key in keys}
