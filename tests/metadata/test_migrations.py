"""A store is brought to this release's tables, once, or is left exactly as it is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Column, Engine, MetaData, create_engine, event, insert, select

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


LINE = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


def made_at(url: str, revision: str) -> Engine:
    """A store as it was after a migration."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


def filled(engine: Engine) -> dict[str, dict]:
    """With a row in every table: what it holds."""
    known, rows = MetaData(), {}
    with engine.begin() as connection:
        known.reflect(connection)
        for name, table in known.tables.items():
            if name != "alembic_version":
                rows[name] = {column.name: _some(column) for column in table.columns if not column.nullable}
                connection.execute(insert(table), rows[name])
    return rows


def _some(column: Column) -> object:
    if isinstance(column.type, JSON):
        return {"metrics": {}}
    kind = column.type.python_type
    return {int: 1, float: 1.0, str: "x", bytes: b"x", bool: True}[kind]


@pytest.mark.parametrize("revision", [LINE[0], *(pytest.param(one, marks=pytest.mark.slow) for one in LINE[1:-1])])
def test_a_store_of_each_earlier_migration_is_brought_to_this_one_with_all_its_rows(metadata_url, revision):
    """P10, F52: on SQLite and on PostgreSQL."""
    engine = made_at(metadata_url, revision)
    before = filled(engine)
    store = Metadata(metadata_url)
    with store.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables) == []
        for name, row in before.items():
            (found,) = connection.execute(select(tables.tables[name])).mappings()
            assert {column: found[column] for column in row} == row
    store.close()
    engine.dispose()


def test_a_migration_that_is_broken_off_at_a_statement_leaves_the_store_as_it_was(tmp_path):
    """F9, P10."""
    path = tmp_path / "m.db"
    engine = made_at(f"sqlite:///{path}", LINE[0])
    filled(engine)
    engine.dispose()
    before, ending = dump(path), 3
    while not migrated(path, until=ending):
        assert dump(path) == before
        ending += 13
    assert ending > 30
    assert query(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def migrated(path, until: int) -> bool:
    """Whether a store was opened before so many statements were run: the power goes then."""
    left = until

    def breaks(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise InterruptedError("the power went")

    event.listen(Engine, "before_cursor_execute", breaks)
    try:
        Metadata(f"sqlite:///{path}").close()
    except InterruptedError:
        return False
    finally:
        event.remove(Engine, "before_cursor_execute", breaks)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("statement", [5, 25, 45])
def test_a_process_that_is_killed_while_it_migrates_leaves_the_store_as_it_was(tmp_path, statement):
    """F9, P10."""
    path = tmp_path / "m.db"
    engine = made_at(f"sqlite:///{path}", LINE[0])
    filled(engine)
    engine.dispose()
    before = dump(path)
    code = f"""
import os, sys
from sqlalchemy import Engine, event
from carrara.metadata.store import Metadata
done = 0
@event.listens_for(Engine, "before_cursor_execute")
def kill(*_):
    global done
    done += 1
    if done == {statement}:
        os.kill(os.getpid(), 9)
Metadata(sys.argv[1])
"""
    killed = subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"])
    assert killed.returncode == -9
    assert dump(path) == before
    Metadata(f"sqlite:///{path}").close()
    assert query(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
