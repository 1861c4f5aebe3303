"""Opens the metadata store and brings its tables up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError

from carrara.core.errors import ConfigurationError, MissingExtra, StorageError
from carrara.metadata.run_events import Listener, RunEvent
from carrara.metadata.tables import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"

_READING = "carrara_reading"
_LOCK = 0x63617272617261 % 2**31
"""The number of the lock under which PostgreSQL writes one transaction at a time."""


class Metadata:
    """A metadata store at a SQLAlchemy URL, of SQLite or PostgreSQL.

    Each `begin()` is one atomic transaction, and of all that write one goes after the other; `read()` sees one state
    of the store, waits for nobody, and holds nobody up. Without `at_once` the store is looked at when it is first used:
    it may be away until then.
    """

    def __init__(self, url: str, listener: Listener | None = None, *, at_once: bool = True) -> None:
        self.url = url
        self._listener = listener
        self._is_current = False
        self._engine = _engine(url)
        self._reading = self._engine.execution_options(**_reading_options(self._engine))
        self.where = self._engine.url.render_as_string(hide_password=True)
        if at_once:
            with self._told():
                self._upgrade()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or leaves nothing."""
        with self._told():
            self._upgrade()
            with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One state of the store, to read from."""
        with self._told():
            self._upgrade()
            with self._reading.begin() as connection:
                yield connection

    def tell(self, event: RunEvent) -> None:
        """Tell whoever listens of a run that has begun or ended."""
        if self._listener is not None:
            self._listener(self, event)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A store that does not do what it should, as an error for people."""
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise
        except DBAPIError as error:
            raise StorageError(
                f"the metadata store {self.where} does not answer: {str(error.orig).strip()}",
                hint="Look at its disk, its permissions and its server; nothing was changed.",
            ) from error

    def _upgrade(self) -> None:
        """Bring the tables up to date, once."""
        if self._is_current:
            return
        found = _revision(self._reading)
        self._is_current = found == HEAD
        if self._is_current:
            return
        if found is not None and found > HEAD:
            raise StorageError(
                f"the metadata store {self.where} was written by a newer Carrara (migration {found}, not {HEAD})",
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
        self._is_current = True


def _revision(bind: Engine | Connection) -> str | None:
    if isinstance(bind, Engine):
        with bind.begin() as connection:
            return _revision(connection)
    if not inspect(bind).has_table("alembic_version"):
        return None
    return bind.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            f"'{url}' is not a metadata store",
            hint="Write a SQLAlchemy URL, e.g. sqlite:///.carrara/metadata.db.",
        ) from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        return _serialised_sqlite(create_engine(parsed))
    if parsed.get_backend_name() == "postgresql":
        return _serialised_postgresql(_with_driver(parsed))
    raise ConfigurationError(
        f"metadata cannot be in '{parsed.get_backend_name()}'",
        hint="Write sqlite:///PATH, or postgresql+psycopg://USER@HOST/DATABASE.",
    )


def _with_driver(parsed: URL) -> Engine:
    """psycopg 3 is the driver where none is named."""
    parsed = parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
    try:
        return create_engine(parsed, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingExtra("psycopg", "postgresql", "a metadata store in PostgreSQL") from error


def _reading_options(engine: Engine) -> dict[str, Any]:
    if engine.dialect.name == "postgresql":
        return {_READING: True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {_READING: True}


def _serialised_sqlite(engine: Engine) -> Engine:
    """WAL, and a write lock from the first statement: two writers wait instead of failing half-way."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get(_READING)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _serialised_postgresql(engine: Engine) -> Engine:
    """One writer at a time, as on SQLite: a number that a transaction reads is the newest until its end."""

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(_READING):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    return engine
