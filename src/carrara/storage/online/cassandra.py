"""Cassandra and ScyllaDB. Experimental: written against the official driver, not yet tested against a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from carrara.core.errors import ConfigurationError, StorageError
from carrara.core.plugins import require

_PORT = 9042
_AT_ONCE = 64


class CassandraOnlineStore:
    """One table `carrara_online` of a keyspace that is there: `cassandra://HOST[,HOST…][:PORT]/KEYSPACE`.

    A row is replaced by a lightweight transaction of its own, and read at SERIAL consistency.
    """

    def __init__(self, address: str, root: Path) -> None:
        purpose = "the online store in Cassandra"
        cluster = require("cassandra.cluster", extra="cassandra", purpose=purpose)
        concurrent = require("cassandra.concurrent", extra="cassandra", purpose=purpose)
        from cassandra import ConsistencyLevel, DriverException

        self._errors = (DriverException, cluster.NoHostAvailable, OSError)
        self._concurrently = concurrent.execute_concurrent_with_args
        parsed = urlsplit(address)
        hosts, _, port = parsed.netloc.partition(":")
        keyspace = parsed.path.strip("/")
        if not hosts or not keyspace:
            raise ConfigurationError(
                f"'{address}' is not a Cassandra keyspace", hint="Write cassandra://HOST:9042/KEYSPACE."
            )
        self._place = f"{hosts}/{keyspace}"
        self._cluster = cluster.Cluster(hosts.split(","), port=int(port or _PORT), connect_timeout=3)
        with self._answering():
            self._session = self._cluster.connect(keyspace)
            self._session.execute("CREATE TABLE IF NOT EXISTS carrara_online (k blob PRIMARY KEY, v blob)")
            prepare = self._session.prepare
            self._select = prepare("SELECT v FROM carrara_online WHERE k = ?")
            self._select.consistency_level = ConsistencyLevel.SERIAL
            self._insert = prepare("INSERT INTO carrara_online (k, v) VALUES (?, ?) IF NOT EXISTS")
            self._update = prepare("UPDATE carrara_online SET v = ? WHERE k = ? IF v = ?")
            self._delete = prepare("DELETE FROM carrara_online WHERE k = ? IF v = ?")

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        named = [(table.encode() + b"\x00" + key,) for key in keys]
        with self._answering():
            answers = self._concurrently(self._session, self._select, named, concurrency=_AT_ONCE)
            rows = [answer.result_or_exc.one() for answer in answers]
        return [None if row is None else bytes(row.v) for row in rows]

    def swap(
        self, table: str, keys: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]
    ) -> list[int]:
        overtaken = []
        with self._answering():
            waiting = [
                self._session.execute_async(*self._step(table.encode() + b"\x00" + key, old, new))
                for key, old, new in zip(keys, before, after, strict=True)
            ]
            for place, future in enumerate(waiting):
                if not future.result().was_applied:
                    overtaken.append(place)
        return overtaken

    def close(self) -> None:
        self._cluster.shutdown()

    def _step(self, key: bytes, before: bytes | None, after: bytes | None) -> tuple[Any, tuple[Any, ...]]:
        if after is None:
            return self._delete, (key, before)
        return (self._insert, (key, after)) if before is None else (self._update, (after, key, before))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise StorageError(
                f"the online store in Cassandra at {self._place} does not answer: {error}",
                hint="See that the cluster runs, that the keyspace is there, and [stores] online of carrara.toml.",
            ) from error
