"""A view's rows online: where they are, what their state was made of, and how several writers share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from carrara.core.digests import digest_data
from carrara.features.entities import Entity
from carrara.features.service import StoredView, definition_digest
from carrara.storage.online.base import OnlineStore

_MARK = b"\x00mark"
"""The key of a table's mark: no entity has it, since a key with a zero byte is escaped or hashed."""

Rows = list[bytes | None]

Remake = Callable[[list[int], Rows], Rows]
"""Makes the rows at some places among the keys, of what they are now."""


class Superseded(Exception):
    """Another writer has claimed something else meanwhile."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Up to which time (microseconds) and from which version of its feature table a view is online.

    `since` and `since_table` are those of the last writer that came to its end; while they differ from `until` and
    `table`, a writer is at work, or was killed at it. `numbers` names the keys that are whole numbers.
    """

    until: int
    table: int
    since: int | None = None
    since_table: int | None = None
    numbers: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return (self.since, self.since_table) == (self.until, self.table)

    @property
    def completed(self) -> Mark:
        return Mark(self.until, self.table, self.until, self.table, self.numbers)


def online_table(view: StoredView, entity: Entity) -> str:
    """The online table of exactly this definition of a view, by exactly these keys."""
    return f"{view.name}#{digest_data([definition_digest(view), list(entity.keys)])[:12]}"


def read_mark(online: OnlineStore, table: str) -> Mark | None:
    """What a table's rows stand for; None where it was never written."""
    packed = online.read(table, [_MARK])[0]
    return None if packed is None else msgspec.json.decode(packed, type=Mark)


def move_mark(online: OnlineStore, table: str, before: Mark | None, after: Mark) -> bool:
    """Replace the mark; False where it is no longer `before`."""
    packed = None if before is None else msgspec.json.encode(before)
    return not online.swap(table, [_MARK], [packed], [msgspec.json.encode(after)])


def rewrite(online: OnlineStore, table: str, keys: Sequence[bytes], remade: Remake) -> int:
    """Replace the rows of `keys` by what `remade` makes of them, and return how many have changed.

    `remade` gets places among the keys, and their rows as they are now; it is asked again for those that another
    writer has changed meanwhile.
    """
    places, changed = list(range(len(keys))), 0
    while places:
        before = online.read(table, [keys[place] for place in places])
        after = remade(places, before)
        new = [n for n, (old, row) in enumerate(zip(before, after, strict=True)) if old != row]
        chosen = [keys[places[n]] for n in new]
        overtaken = online.swap(table, chosen, [before[n] for n in new], [after[n] for n in new])
        changed += len(new) - len(overtaken)
        places = [places[new[n]] for n in overtaken]
    return changed


def rewrite_as_claimed(online: OnlineStore, table: str, keys: Sequence[bytes], claim: Mark, remade: Remake) -> int:
    """`rewrite` as long as the mark is `claim`; raises Superseded when it is no more."""

    def checked(places: list[int], before: Rows) -> Rows:
        # After the rows were read: whoever claims more has done so before it wrote any of them.
        if read_mark(online, table) != claim:
            raise Superseded
        return remade(places, before)

    return rewrite(online, table, keys, checked)
