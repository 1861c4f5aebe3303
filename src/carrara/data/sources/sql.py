"""A query over any database that SQLAlchemy speaks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from carrara.core.errors import ConfigurationError, DataError
from carrara.data.sources.base import Opened, Reading, in_one_schema

_ROWS = 50_000


@dataclass(frozen=True)
class Sql:
    """The rows of `query` at a SQLAlchemy `url`; a password comes from the environment, as `${NAME}` in the url.

    >>> Sql("postgresql+psycopg://reader:${ORDERS_PASSWORD}@db/orders", "select * from orders").describe()["url"]
    'postgresql+psycopg://reader:${ORDERS_PASSWORD}@db/orders'
    """

    url: str
    query: str

    def describe(self) -> dict[str, Any]:
        return {"kind": "sql", "url": self._public_url(), "query": self.query}

    def fingerprint(self, root: Path) -> str | None:
        return None

    def _public_url(self) -> str:
        """The url without a password that was written into it."""
        if "${" in self.url:
            return self.url
        try:
            return make_url(self.url).render_as_string(hide_password=True)
        except ArgumentError:
            return self.url

    @contextmanager
    def open(self, root: Path, reading: Reading) -> Iterator[Opened]:
        where = f"the query of dataset '{reading.dataset}'"
        try:
            engine = create_engine(_resolved(self.url, root))
        except (ArgumentError, ModuleNotFoundError) as error:
            raise ConfigurationError(f"the database of dataset '{reading.dataset}' cannot be opened: {error}") from None
        try:
            with engine.connect().execution_options(stream_results=True) as connection:
                found = pl.read_database(
                    text(self.query), connection, iter_batches=True, batch_size=_ROWS, infer_schema_length=None
                )
                schema, batches = in_one_schema(found, where)
                yield Opened(schema, batches, where=where)
        except SQLAlchemyError as error:
            said = getattr(error, "orig", None) or error
            raise DataError(f"{where} failed: {said}", hint="Correct its query, or its url.") from None
        finally:
            engine.dispose()


def _resolved(url: str, root: Path) -> str:
    import os
    import re

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ConfigurationError(f"a database url needs the environment variable {match[1]}, which is not set")
        return os.environ[match[1]]

    parsed = make_url(re.sub(r"\$\{(\w+)\}", value, url))
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        path = root / parsed.database
        if not path.is_file():
            raise DataError(f"there is no SQLite database at {path}")
        parsed = parsed.set(database=str(path))
    return parsed.render_as_string(hide_password=False)
