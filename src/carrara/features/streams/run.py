"""The loop of a stream: read, check, commit with the position, bring online."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from carrara.core.columns import UTC_TIME
from carrara.core.errors import DataError, DefinitionError, Overtaken
from carrara.features.entities import Entity
from carrara.features.materialise import materialise
from carrara.features.offline import key_types, newest_table, push_log
from carrara.features.pushes import as_frame, bring_online
from carrara.features.rows import pushable
from carrara.features.service import StoredView
from carrara.features.streams.base import Message, StreamReader
from carrara.storage.stores import Stores

_WAIT_SECONDS = 1.0
"""How long messages are gathered into one commit, and how soon one of them is read at the latest."""
_LOOK_SECONDS = 0.1
"""The same where nobody waits for more than what is there."""
_DEAD = {"at": UTC_TIME, "origin": pl.String(), "payload": pl.Binary(), "error": pl.String()}


@dataclass(frozen=True)
class Streamed:
    """What one batch brought: rows in the push log, entities changed online, and messages that are no rows."""

    view: str
    rows: int
    entities: int
    rejected: int


def run_stream(
    stores: Stores,
    view: StoredView,
    entity: Entity,
    told: threading.Event,
    said: Callable[[Streamed], None],
    *,
    until_empty: bool = False,
) -> None:
    """Read a view's stream from where it was read to, until told to stop, or with `until_empty` to its present end.

    A batch's rows and its position are one commit, so that each message counts once whatever is killed when. What was
    committed and did not come online is brought there first. Of two processes on one stream each batch is one's.
    """
    if view.stream is None:
        raise DefinitionError(
            f"feature view '{view.name}' declares no stream", hint='Declare one: stream=carrara.Kafka("HOST:9092", …).'
        )
    if newest_table(stores, view) is not None:
        materialise(stores, view, entity, stores.clock())
    while not told.is_set():
        try:
            with view.stream.open(stores.root, lambda name: stores.lake.position(push_log(view), name)) as reader:
                _read(stores, view, entity, reader, told, said, until_empty)
                return
        except Overtaken:
            # Another process reads this stream too: go on from where it is.
            told.wait(_WAIT_SECONDS)


def dead_letters(stores: Stores, view: StoredView) -> pl.DataFrame:
    """The messages of a view's stream that are no rows of it, with the reasons, oldest first."""
    if not stores.lake.exists(_dead(view)):
        return pl.DataFrame(schema=_DEAD)
    # A batch that was killed before its commit was read again, and rejected again.
    return stores.lake.scan(_dead(view)).collect().unique("origin", keep="first", maintain_order=True).sort("at")


def _read(
    stores: Stores,
    view: StoredView,
    entity: Entity,
    reader: StreamReader,
    told: threading.Event,
    said: Callable[[Streamed], None],
    until_empty: bool,
) -> None:
    moves: dict[str, tuple[int | None, int]] = {}
    while not told.is_set():
        batch = reader.next(_LOOK_SECONDS if until_empty else _WAIT_SECONDS)
        if batch.moves:
            moves |= {name: (moves.get(name, move)[0], move[1]) for name, move in batch.moves.items()}
            done = _take(stores, view, entity, batch.messages, moves)
            # Before the first row there is no log that could hold a position; what is rejected again counts once.
            moves = moves if stores.lake.newest(push_log(view)) is None else {}
            said(done)
        elif until_empty and reader.at_end():
            return


def _take(
    stores: Stores,
    view: StoredView,
    entity: Entity,
    messages: Sequence[Message],
    moves: Mapping[str, tuple[int | None, int]],
) -> Streamed:
    rejected: list[tuple[Message, str]] = []
    rows = [row for message in messages if (row := _decoded(message, rejected)) is not None]
    frames = _checked(stores, view, entity, rows, rejected, key_types(stores, view, entity))
    if rejected:
        stores.lake.append(_dead(view), _as_dead(stores, rejected))
    if not frames:
        if stores.lake.exists(push_log(view)):
            stores.lake.append(push_log(view), stores.lake.scan(push_log(view)).clear().collect(), moves=moves)
        return Streamed(view.name, 0, 0, len(rejected))
    frame = pl.concat(frames)
    stores.lake.append(push_log(view), frame, moves=moves)
    return Streamed(view.name, frame.height, bring_online(stores, view, entity, frame), len(rejected))


def _decoded(message: Message, rejected: list[tuple[Message, str]]) -> tuple[Message, dict[str, Any]] | None:
    try:
        row = msgspec.json.decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        rejected.append((message, f"it is not JSON: {error}"))
        return None
    if not isinstance(row, dict):
        rejected.append((message, f"it is a JSON {type(row).__name__}, and an object is expected"))
        return None
    return message, row


def _checked(
    stores: Stores,
    view: StoredView,
    entity: Entity,
    rows: Sequence[tuple[Message, dict[str, Any]]],
    rejected: list[tuple[Message, str]],
    keys: dict[str, pl.DataType],
) -> list[pl.DataFrame]:
    """Rows as they are pushed; where a batch is refused, its halves are looked at, down to the row at fault.

    Where the types of the `keys` are not known yet, those of the first row count.
    """
    if not rows:
        return []
    try:
        frame = as_frame(view, entity, [row for _, row in rows])
        checked = pushable(view, entity, frame, stores.clock(), keys, last_wins=True)
        keys |= {key: checked.schema[key] for key in entity.keys}
        return [checked]
    except DataError as error:
        if len(rows) == 1:
            rejected.append((rows[0][0], error.message))
            return []
    middle = len(rows) // 2
    return [
        *_checked(stores, view, entity, rows[:middle], rejected, keys),
        *_checked(stores, view, entity, rows[middle:], rejected, keys),
    ]


def _as_dead(stores: Stores, rejected: Sequence[tuple[Message, str]]) -> pl.DataFrame:
    rows = [(stores.clock(), message.origin, message.payload, error) for message, error in rejected]
    return pl.DataFrame(rows, schema=_DEAD, orient="row")


def _dead(view: StoredView) -> str:
    return f"dead_letters/{view.name}"
