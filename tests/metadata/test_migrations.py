"""A store is brought to this release's tables, once, or is left exactly as it is."""

from __future__ import annotations

import sqlite3

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from carrara.core.errors import ConfigurationError, StorageError
from carrara.metadata.store import MIGRATIONS, Metadata
from carrara.metadata.tables import HEAD, tables
from carrara.metadata.versions import add_version, list_versions


def dump(path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def query(path, sql: str):
    connection = sqlite3.connect(path)
    try:
        found = connection.execute(sql).fetchall()
        connection.commit()
        return found
    finally:
        connection.close()


def test_a_new_store_is_made_at_head_in_a_folder_that_was_not_there(tmp_path):
    path = tmp_path / "not" / "there" / "m.db"
    Metadata(f"sqlite:///{path}").close()
    assert query(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    made = {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert made == {*tables.tables, "alembic_version"}


def test_head_is_the_last_of_one_line_of_migrations():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_opening_again_changes_nothing_and_keeps_what_was_recorded(tmp_path):
    url, path = f"sqlite:///{tmp_path}/m.db", tmp_path / "m.db"
    first = Metadata(url)
    add_version(first, "dataset", "a", digest="d", run_id="r", record={"é": 1}, sources=["x"])
    first.close()
    before = dump(path)
    second = Metadata(url)
    assert [v.record for v in list_versions(second, "dataset")] == [{"é": 1}]
    second.close()
    assert dump(path) == before


def test_a_newer_store_is_refused_with_its_rows_and_tables_as_they_were(tmp_path):
    """P10."""
    url, path = f"sqlite:///{tmp_path}/m.db", tmp_path / "m.db"
    store = Metadata(url)
    add_version(store, "dataset", "a", digest="d", run_id="r", record={}, sources=["x"])
    store.close()
    query(path, "ALTER TABLE versions ADD COLUMN of_the_future TEXT")
    query(path, "UPDATE alembic_version SET version_num = '9999'")
    before = dump(path)
    with pytest.raises(StorageError, match=f"migration 9999, not {HEAD}") as raised:
        Metadata(url)
    assert "Upgrade" in raised.value.hint
    assert dump(path) == before


def test_an_address_that_is_no_url_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"'metadata\.db' is not a metadata store"):
        Metadata("metadata.db")
