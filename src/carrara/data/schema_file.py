"""The schema as a file, `schemas/NAME.toml`: written once, edited by people, changed by proposals that they see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomlkit

from carrara.data.anomalies import Anomaly, Edit
from carrara.data.schema import Schema, schema_from_dict, schema_from_toml

_HEAD = """\
# The schema of dataset '{name}': what its rows must be. Edit it; `carrara dataset validate {name}` holds data against
# it, and `carrara dataset schema diff {name}` proposes what would accept them.
"""


def schema_path(root: Path, name: str) -> Path:
    return root / "schemas" / f"{name}.toml"


def schema_file(root: Path, name: str) -> Path | None:
    """The file of a dataset's schema, where there is one; a name that no file can have has none."""
    path = schema_path(root, name)
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def schema_of(root: Path, name: str, record: Mapping[str, Any] | None) -> Schema | None:
    """The schema that a dataset is held against: its file, else that of its newest version, else None."""
    path = schema_file(root, name)
    if path is not None:
        return schema_from_toml(path.read_text(encoding="utf-8"), str(path))
    if record is not None:
        return schema_from_dict(record["schema"], f"the schema of dataset '{name}'")
    return None


def schema_text(schema: Schema) -> str:
    """A schema as TOML, for people: the table first, then a section a column."""
    data = schema.as_dict()
    columns = data.pop("columns")
    document = tomlkit.document()
    for line in _HEAD.format(name=schema.dataset).splitlines():
        document.add(tomlkit.comment(line.removeprefix("# ")))
    for key, value in data.items():
        document.add(key, _item(value))
    tables = tomlkit.table(is_super_table=True)
    for name, column in columns.items():
        table = tomlkit.table()
        for key, value in column.items():
            table.add(key, _item(value))
        tables.add(name, table)
    document.add("columns", tables)
    return tomlkit.dumps(document)


def edited(text: str, edits: Iterable[Edit]) -> str:
    """A schema's TOML with these edits made; comments and order stay as people left them."""
    document = tomlkit.parse(text)
    for edit in edits:
        *tables, key = edit.path
        place: Any = document
        for name in tables:
            if name not in place:
                place.add(name, tomlkit.table())
            place = place[name]
        if edit.value is None:
            if key in place:
                del place[key]
        elif isinstance(edit.value, dict) and key == "severity":
            place.setdefault(key, tomlkit.inline_table()).update(edit.value)
        elif isinstance(edit.value, dict) and tables == ["columns"]:
            table = tomlkit.table()
            for name, value in edit.value.items():
                table.add(name, _item(value))
            place[key] = table
        else:
            place[key] = _item(edit.value)
    return tomlkit.dumps(document)


def proposed(text: str, anomalies: Iterable[Anomaly]) -> str:
    """A schema's TOML as it must be to accept these anomalies."""
    return edited(text, [edit for anomaly in anomalies for edit in anomaly.edits])


def text_diff(before: str, after: str, name: str) -> str:
    """Two texts as a unified diff that `git apply` takes; empty when they are equal."""
    path = f"schemas/{name}.toml"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(lines)


def write_accepted(root: Path, name: str, schema: Schema) -> None:
    """Put an accepted schema into the dataset's file, where it has one."""
    path = schema_path(root, name)
    if path.is_file():
        write_schema(root, name, schema_text(schema))


def write_schema(root: Path, name: str, text: str) -> Path:
    """Write a schema's file; it must be one that can be read."""
    path = schema_path(root, name)
    schema_from_toml(text, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _item(value: Any) -> Any:
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table.add(key, _item(item))
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for item in value:
            array.append(_item(item))
        return array.multiline(len(str(value)) > 100)
    return value
