"""Redis and Valkey: a server that several machines read and write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from carrara.core.errors import StorageError
from carrara.core.plugins import require

_MOST_KEYS = 2_000
"""In one command: the server answers nobody else while it runs."""
_THERE, _ABSENT = b"1", b"0"
_SWAP = """
local overtaken = {}
for i, key in ipairs(KEYS) do
  local now = redis.call('GET', key)
  local before, after = ARGV[2 * i - 1], ARGV[2 * i]
  if (now and '1' .. now or '0') ~= before then
    overtaken[#overtaken + 1] = i - 1
  elseif after == '0' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.sub(after, 2))
  end
end
return overtaken
"""


class RedisOnlineStore:
    """One database of a server, by its URL: `redis://HOST:PORT/DB`, `rediss://` with TLS.

    How well rows outlive a crash of the server is the server's setting (`appendonly`).
    """

    def __init__(self, address: str, root: Path) -> None:
        redis = require("redis", extra="redis", purpose="the online store in Redis")
        self._error = redis.exceptions.RedisError
        self._place = urlsplit(address).hostname or address
        with self._answering():
            url = "redis" + address.removeprefix("valkey") if address.startswith("valkey") else address
            self._client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)
            self._swap = self._client.register_script(_SWAP)

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = []
        with self._answering():
            for start in range(0, len(keys), _MOST_KEYS):
                found += self._client.mget(_named(table, keys[start : start + _MOST_KEYS]))
        return found

    def swap(
        self, table: str, keys: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]
    ) -> list[int]:
        """Up to 2,000 rows are replaced in one step, by a script on the server."""
        overtaken: list[int] = []
        with self._answering():
            for start in range(0, len(keys), _MOST_KEYS):
                part = slice(start, start + _MOST_KEYS)
                pairs = zip(before[part], after[part], strict=True)
                told = [_ABSENT if row is None else _THERE + row for pair in pairs for row in pair]
                overtaken += [start + place for place in self._swap(_named(table, keys[part]), told)]
        return overtaken

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (self._error, ValueError) as error:
            raise StorageError(
                f"the online store at {self._place} does not answer: {error}",
                hint="See that the server runs and that [stores] online of carrara.toml is its address.",
            ) from error


def _named(table: str, keys: Sequence[bytes]) -> list[bytes]:
    prefix = table.encode() + b"\x00"
    return [prefix + key for key in keys]
