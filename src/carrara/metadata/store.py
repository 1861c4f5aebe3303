"""Opens the metadata store and brings its tables up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from carrara.core.errors import ConfigurationError, StorageError
from carrara.metadata.tables import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"


class Metadata:
    """A metadata store at a SQLAlchemy URL; each `begin()` is one atomic, serialised transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self._upgrade()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves nothing."""
        with self._answering(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: it sees one moment, and waits for no writer."""
        with self._answering(), self._engine.connect().execution_options(reads=True) as connection:
            yield connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise StorageError(
                f"the metadata store {where} does not answer: {error.orig}",
                hint="Look at its disk, its permissions and its server; nothing was changed.",
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def _upgrade(self) -> None:
        found = _revision(self._engine)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise StorageError(
                f"the metadata store {self.url} was written by a newer Carrara (migration {found}, not {HEAD})",
                hint="Upgrade: pip install -U carrara. Nothing was changed.",
            )
        # Alembic takes a third of a second to import: only a store that needs it pays.
        from alembic import command
        from alembic.config import Config

        with self._engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            if _revision(connection) != HEAD:
                command.upgrade(config, "head")


def _revision(bind: Engine | Connection) -> str | None:
    if not inspect(bind).has_table("alembic_version"):
        return None
    query = text("SELECT version_num FROM alembic_version")
    if isinstance(bind, Connection):
        return bind.execute(query).scalar()
    with bind.connect() as connection:
        return connection.execute(query).scalar()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            f"'{url}' is not a metadata store",
            hint="Write a SQLAlchemy URL, e.g. sqlite:///.carrara/metadata.db.",
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    if parsed.get_backend_name() == "sqlite":
        _serialise_sqlite(engine)
    return engine


def _serialise_sqlite(engine: Engine) -> None:
    """WAL, and a write lock from the first statement: two writers wait instead of failing half-way."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
