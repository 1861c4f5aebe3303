"""DynamoDB: a table that AWS keeps, read and written by key."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from carrara.core.errors import ConfigurationError, StorageError
from carrara.core.plugins import require

_MOST_KEYS = 100
"""What one BatchGetItem takes."""
_AT_ONCE = 16
_PATIENCE_SECONDS = 10.0
_OVERTAKEN = "ConditionalCheckFailedException"


class DynamoDBOnlineStore:
    """One table: `dynamodb://TABLE?region=eu-west-1&endpoint=http://…`, made at first use, billed by request.

    Credentials are found as boto3 finds them: the environment, a profile, the machine's role. A row is replaced by a
    conditional write of its own, and reads are consistent. A row may have 400 KB.
    """

    def __init__(self, address: str, root: Path) -> None:
        boto3 = require("boto3", extra="dynamodb", purpose="the online store in DynamoDB")
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self._errors, self._refused = (BotoCoreError, ClientError), ClientError
        parsed = urlsplit(address)
        self._name = parsed.netloc or parsed.path
        if not self._name:
            raise ConfigurationError(f"'{address}' names no table", hint="Write dynamodb://TABLE?region=REGION.")
        options = {name: values[-1] for name, values in parse_qs(parsed.query).items()}
        config = Config(max_pool_connections=_AT_ONCE, connect_timeout=2, read_timeout=5, retries={"mode": "standard"})
        with self._answering():
            self._client = boto3.client(
                "dynamodb", region_name=options.get("region"), endpoint_url=options.get("endpoint"), config=config
            )
            self._make_table()
        self._threads = ThreadPoolExecutor(_AT_ONCE)

    def read(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        named = _named(table, keys)
        distinct = list(dict.fromkeys(named))
        parts = [distinct[start : start + _MOST_KEYS] for start in range(0, len(distinct), _MOST_KEYS)]
        found: dict[bytes, bytes] = {}
        with self._answering():
            for rows in self._threads.map(self._read_part, parts) if len(parts) > 1 else map(self._read_part, parts):
                found |= rows
        return [found.get(key) for key in named]

    def swap(
        self, table: str, keys: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]
    ) -> list[int]:
        with self._answering():
            done = list(self._threads.map(self._swap_one, _named(table, keys), before, after))
        return [place for place, replaced in enumerate(done) if not replaced]

    def close(self) -> None:
        self._threads.shutdown()
        self._client.close()

    def _read_part(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        asked: Any = {self._name: {"Keys": [{"k": {"B": key}} for key in keys], "ConsistentRead": True}}
        found: dict[bytes, bytes] = {}
        until, pause = time.monotonic() + _PATIENCE_SECONDS, 0.02
        while asked:
            answer = self._client.batch_get_item(RequestItems=asked)
            found |= {item["k"]["B"]: item["v"]["B"] for item in answer["Responses"].get(self._name, ())}
            asked = answer.get("UnprocessedKeys")
            if asked:
                if time.monotonic() > until:
                    raise StorageError(f"DynamoDB table '{self._name}' answers only a part of what is read")
                time.sleep(pause)
                pause *= 2
        return found

    def _swap_one(self, key: bytes, before: bytes | None, after: bytes | None) -> bool:
        if before is None:
            guard: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(k)"}
        else:
            guard = {"ConditionExpression": "v = :before", "ExpressionAttributeValues": {":before": {"B": before}}}
        try:
            if after is not None:
                self._client.put_item(TableName=self._name, Item={"k": {"B": key}, "v": {"B": after}}, **guard)
            elif before is not None:
                self._client.delete_item(TableName=self._name, Key={"k": {"B": key}}, **guard)
        except self._refused as error:
            if error.response["Error"]["Code"] == _OVERTAKEN:
                return False
            raise
        return True

    def _make_table(self) -> None:
        try:
            self._client.describe_table(TableName=self._name)
            return
        except self._client.exceptions.ResourceNotFoundException:
            pass
        with suppress(self._client.exceptions.ResourceInUseException):  # Another process makes it.
            self._client.create_table(
                TableName=self._name,
                KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "B"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self._client.get_waiter("table_exists").wait(TableName=self._name, WaiterConfig={"Delay": 1})

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise StorageError(
                f"the online store in DynamoDB table '{self._name}' does not answer: {error}",
                hint="See the credentials, and the region and endpoint in [stores] online of carrara.toml.",
            ) from error


def _named(table: str, keys: Sequence[bytes]) -> list[bytes]:
    prefix = table.encode() + b"\x00"
    return [prefix + key for key in keys]
