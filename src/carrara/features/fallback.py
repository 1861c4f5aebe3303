"""What is read where the online store does not answer: nothing, or what was read last."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from carrara.core.errors import StorageError
from carrara.core.metrics import FEATURE_FALLBACKS
from carrara.features.online import Rows
from carrara.features.service import OnUnavailable
from carrara.storage.online.base import OnlineStore

_REST_SECONDS = 1.0
"""How long a store that did not answer is left alone, so that requests do not wait for it one by one, and do not come
back to it all at once."""
_MOST_KEPT = 100_000


class FallbackReader:
    """Reads rows by the policy for a store that does not answer: `fail`, `default` (no rows), or `stale` (as read last
    by this process, of up to 100,000 entities). Thread-safe."""

    def __init__(self, online: OnlineStore, policy: OnUnavailable) -> None:
        self._online, self._policy = online, policy
        self._rest_until = 0.0
        self._kept: OrderedDict[tuple[str, bytes], bytes | None] = OrderedDict()
        self._lock = Lock()

    def read(self, table: str, keys: Sequence[bytes]) -> tuple[Rows, str]:
        """The rows, and the policy that they are by, empty where the store answered."""
        if self._policy == "fail":
            return self._online.read(table, keys), ""
        if time.monotonic() >= self._rest_until:
            try:
                rows = self._online.read(table, keys)
            except StorageError:
                self._rest_until = time.monotonic() + _REST_SECONDS
            else:
                self._keep(table, keys, rows)
                return rows, ""
        FEATURE_FALLBACKS.labels(table.partition("#")[0], self._policy).inc()
        with self._lock:
            return [self._kept.get((table, key)) for key in keys], self._policy

    def _keep(self, table: str, keys: Sequence[bytes], rows: Rows) -> None:
        if self._policy != "stale":
            return
        with self._lock:
            for key, row in zip(keys, rows, strict=True):
                self._kept[table, key] = row
                self._kept.move_to_end((table, key))
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
