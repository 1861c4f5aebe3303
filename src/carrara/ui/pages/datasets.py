"""Datasets: every one with its newest version, one version column by column, and two versions side by side."""

from __future__ import annotations

from typing import Any

from carrara.core.errors import CarraraError
from carrara.data.diff import column_diffs, diff_versions
from carrara.data.versions import KIND, DatasetVersion, dataset_version, from_record, read_statistics
from carrara.metadata.lineage import edges_of
from carrara.metadata.versions import count_names, count_versions, newest_of_each, versions_of
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_COLUMNS = 40


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
        "history": [_told(from_record(v)) for v in versions_of(stores.metadata, KIND, found.name, limit=12)],
        "versions": count_versions(stores.metadata, KIND, found.name),
        "made_of": [edge.source for edge in edges if edge.target == found.address],
        "used_by": [edge.target for edge in edges if edge.source == found.address][:30],
        "page": asked.page,
        "pages": max(1, -(-len(names) // _COLUMNS)),
        "total": len(names),
    }
    return Page("dataset.html.j2", f"{found.name}@{found.version}", data)


def diff(desk: Desk, asked: Asked) -> Page:
    stores, name = desk.workspace.stores, asked["name"]
    newest = dataset_version(stores, name)
    after = asked.number("after", newest.version)
    before = asked.number("before", max((after or 1) - 1, 1))
    if newest.version == 1:
        raise CarraraError(f"dataset '{name}' has one version only", hint="A diff needs two; ingest again.")
    found = diff_versions(stores, name, before, after)
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
    }
    return Page("dataset_diff.html.j2", f"{name}: {found.before} and {found.after}", data, {"pictures": pictures})


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
