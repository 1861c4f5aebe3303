"""Datasets: every one with its newest version, one version column by column, and two versions side by side."""

from __future__ import annotations

from typing import Any

from carrara.core.errors import CarraraError
from carrara.data.checks import written_schema
from carrara.data.diff import column_diffs, diff_versions
from carrara.data.versions import (
    KIND,
    DatasetVersion,
    dataset_version,
    from_record,
    quarantine_table,
    read_statistics,
)
from carrara.metadata.lineage import edges_of
from carrara.metadata.versions import count_names, count_versions, newest_of_each, versions_of
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_COLUMNS = 40
_MOST_SET_ASIDE = 20


def index(desk: Desk, asked: Asked) -> Page:
    metadata, text = desk.workspace.stores.metadata, asked.get("q") or ""
    rows = [
        {**_told(from_record(newest)), "versions": count}
        for newest, count in newest_of_each(metadata, KIND, text=text, limit=PAGE_ROWS, offset=asked.offset)
    ]
    return Page(
        "datasets.html.j2", "Datasets", {"datasets": rows, **paged(asked, count_names(metadata, KIND, text=text))}
    )


def show(desk: Desk, asked: Asked) -> Page:
    stores = desk.workspace.stores
    found = dataset_version(stores, asked["name"], asked.number("version"))
    statistics = read_statistics(stores, found)
    text = (asked.get("q") or "").lower()
    names = [name for name in statistics.columns if text in name.lower()]
    first = (asked.page - 1) * _COLUMNS
    columns = {name: statistics.columns[name].summary() for name in names[first : first + _COLUMNS]}
    edges = edges_of(stores.metadata, found.address)
    data = {
        **_told(found),
        "source": found.source,
        "run": found.run_id,
        "by": found.created_by,
        "digest": found.digest,
        "anomaly_list": found.anomalies,
        "columns": columns,
        "column_count": len(statistics.columns),
        "schema": found.schema,
        "set_aside": _set_aside(desk, found) if found.quarantined else [],
        "history": [_told(from_record(v)) for v in versions_of(stores.metadata, KIND, found.name, limit=12)],
        "versions": count_versions(stores.metadata, KIND, found.name),
        "made_of": [edge.source for edge in edges if edge.target == found.address],
        "used_by": [edge.target for edge in edges if edge.source == found.address][:30],
        "page": asked.page,
        "pages": max(1, -(-len(names) // _COLUMNS)),
        "total": len(names),
    }
    return Page("dataset.html.j2", f"{found.name}@{found.version}", data)


def schema(desk: Desk, asked: Asked) -> Page:
    """What the rows must be, as people edit it; what would accept the newest version is a part of its own."""
    found = dataset_version(desk.workspace.stores, asked["name"])
    text = written_schema(desk.workspace.stores, found.name)
    data = {"name": found.name, "version": found.version, "schema": text, "columns": found.schema.get("columns", {})}
    return Page("dataset_schema.html.j2", f"Schema of {found.name}", data)


def proposal(desk: Desk, asked: Asked) -> Page:
    """The changes of the schema that would accept the newest version; its rows are read for it, once."""
    found = dataset_version(desk.workspace.stores, asked["name"])
    text = written_schema(desk.workspace.stores, found.name)
    key = ("schema", found.digest, text)
    _, changes = desk.kept(key, 3600.0, lambda: desk.workspace.datasets.propose_schema(found.name))
    data = {"name": found.name, "version": found.version, "diff": changes}
    return Page("dataset_schema_proposal.html.j2", f"What would accept {found.name}@{found.version}", data)


def diff(desk: Desk, asked: Asked) -> Page:
    stores, name = desk.workspace.stores, asked["name"]
    newest = dataset_version(stores, name)
    after = asked.number("after", newest.version)
    before = asked.number("before", max((after or 1) - 1, 1))
    if newest.version == 1:
        raise CarraraError(f"dataset '{name}' has one version only", hint="A diff needs two; ingest again.")
    key = tuple(part.strip() for text in asked.all("key") for part in text.split(",") if part.strip())
    found = desk.kept(
        ("diff", name, before, after, key), 3600.0, lambda: diff_versions(stores, name, before, after, key)
    )
    sides = [read_statistics(stores, dataset_version(stores, name, v)) for v in (found.before, found.after)]
    moved = [column for column in column_diffs(*sides) if column.change != "none"]
    shown = [column.column for column in moved][:_COLUMNS]
    pictures = {
        column: [side.columns[column].summary() if column in side.columns else None for side in sides]
        for column in shown
    }
    data = {
        "name": name,
        "before": found.before,
        "after": found.after,
        "rows_before": found.rows_before,
        "rows_after": found.rows_after,
        "changed": [vars(column) for column in moved],
        "same": len(found.columns) - len(moved),
        "versions": newest.version,
        "key": ", ".join(key or newest.schema.get("key", ())),
        "row_diff": vars(found.rows) if found.rows is not None else None,
    }
    return Page("dataset_diff.html.j2", f"{name}: {found.before} and {found.after}", data, {"pictures": pictures})


def _set_aside(desk: Desk, found: DatasetVersion) -> list[dict[str, Any]]:
    """Some of the rows that were set aside at the last ingest that had any, each with what it is guilty of."""
    lake, table = desk.workspace.stores.lake, quarantine_table(found.name)

    def look() -> list[dict[str, Any]]:
        return lake.scan(table).head(_MOST_SET_ASIDE).collect().to_dicts() if lake.exists(table) else []

    return desk.kept(("set aside", found.name, found.digest), 3600.0, look)


def _told(found: DatasetVersion) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "rows": found.rows,
        "added": found.added,
        "quarantined": found.quarantined,
        "created_at": found.created_at,
        "anomalies": len(found.anomalies),
    }
