"""Versions under many writers, migrations, and a newer store."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from carrara.core.errors import NotFoundError, StorageError
from carrara.metadata import lineage
from carrara.metadata.runs import list_runs, run
from carrara.metadata.store import Metadata
from carrara.metadata.tables import tables
from carrara.metadata.versions import add_version, get_version, list_versions
from forked import Python


@pytest.fixture
def metadata(metadata_url):
    made = Metadata(metadata_url)
    yield made
    made.close()


def add(metadata: Metadata, name: str = "a", **more):
    values = {"digest": "d", "run_id": "r", "record": {}, **more}
    return add_version(metadata, "dataset", name, **values)


def test_the_migrations_make_exactly_the_tables(metadata):
    with metadata.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables) == []


def test_a_store_of_a_newer_release_is_refused_and_left_alone(metadata):
    """P10."""
    with metadata.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer Carrara"):
        Metadata(metadata.url)
    with metadata.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_many_processes_that_register_at_once_get_unique_numbers(metadata):
    """P2, on SQLite, with nobody told that the database is locked."""
    code = (
        "import sys\nfrom carrara.metadata.store import Metadata\nfrom carrara.metadata.versions import add_version\n"
        "m = Metadata(sys.argv[1])\n"
        "for _ in range(10):\n    add_version(m, 'model', 'a', digest='d', run_id='r', record={}, sources=['x'])\n"
    )
    processes = [Python(code, metadata.url) for _ in range(8)]
    assert [process.communicate()[1] for process in processes] == [""] * 8
    assert [v.version for v in list_versions(metadata, "model", "a")] == list(range(1, 81))


def test_two_processes_that_open_a_new_store_at_once_both_can(tmp_path):
    code = "import sys; from carrara.metadata.store import Metadata; Metadata(sys.argv[1])"
    processes = [Python(code, f"sqlite:///{tmp_path}/new.db") for _ in range(6)]
    assert [process.communicate()[1] for process in processes] == [""] * 6


def test_a_version_and_its_lineage_come_together_or_not_at_all(metadata):
    with pytest.raises(IntegrityError):
        add(metadata, sources=["x", None])
    assert list_versions(metadata, "dataset") == []


def test_lineage_leads_from_a_version_to_its_sources_and_back(metadata):
    first = add(metadata, "a", sources=["file:x"])
    second = add(metadata, "b", sources=[first.address])
    assert [edge.source for edge in lineage.upstream(metadata, second.address)] == ["dataset:a@1", "file:x"]
    assert [edge.target for edge in lineage.downstream(metadata, "file:x")] == ["dataset:a@1", "dataset:b@1"]


def test_an_unknown_name_and_an_unknown_version_are_told_apart(metadata):
    add(metadata, "flights")
    with pytest.raises(NotFoundError, match="Did you mean 'flights'"):
        get_version(metadata, "dataset", "flight")
    with pytest.raises(NotFoundError, match="There are versions 1"):
        get_version(metadata, "dataset", "flights", 7)


def test_a_run_that_raises_is_recorded_as_failed_with_its_error(metadata):
    with pytest.raises(ValueError, match="broken"), run(metadata, "train", "m", {"a": 1}):
        raise ValueError("broken")
    (found,) = list_runs(metadata)
    assert (found.state, found.error, found.parameters) == ("failed", "ValueError: broken", {"a": 1})
    assert found.ended_at >= found.started_at
