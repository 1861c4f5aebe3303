"""Calls of Predict that look alike, read and written as one: by columns, not one by one (see `layouts`)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

from carrara.core.named_columns import Columns
from carrara.serving.protocols.layouts import Layout
from carrara.serving.requests import Answer, Array, Request, rows_of

_MOST_LAYOUTS = 256
_MOST_OF_A_LENGTH = 8
_MOST_TRIES = 1_000
"""After so many calls of one length that fit no layout, none is looked for any more."""

_MOST_BYTES = 1 << 16
"""Larger messages gain nothing: what they take is the copy of their values."""

_INPUTS, _OUTPUTS = 2, 1


class Block(NamedTuple):
    """Calls, by their places, that one request stands for: its inputs are theirs, one after the other."""

    places: tuple[int, ...]
    request: Request

    def parts(self, most_rows: int) -> Iterator[Block]:
        """Blocks of at most so many rows each; a call is never cut."""
        rows = rows_of(self.request) // len(self.places) if len(self.places) > 1 else 0
        count = max(1, most_rows // max(1, rows))
        if count >= len(self.places):
            yield self
            return
        for start in range(0, len(self.places), count):
            places = self.places[start : start + count]
            inputs = _cut(self.request.inputs, slice(start * rows, (start + len(places)) * rows))
            yield Block(places, self.request._replace(inputs=inputs, calls=len(places)))


class _Known(NamedTuple):
    layout: Layout
    request: Request


class Blocks:
    """Reads and writes calls in blocks. Not thread-safe.

    `decode` and `encode` are the ordinary way; they read the first message of each layout and write the first answer.
    """

    def __init__(self, decode: Callable[[bytes], Request], encode: Callable[[Answer], bytes]) -> None:
        self._decode, self._encode = decode, encode
        self._known: OrderedDict[int, list[_Known]] = OrderedDict()
        self._seen: OrderedDict[int, int] = OrderedDict()
        self._answers: OrderedDict[Any, Layout] = OrderedDict()

    def read(self, calls: Sequence[bytes]) -> tuple[list[Block], list[int]]:
        """The blocks that calls make, and the places of those that go the ordinary way."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, data in enumerate(calls):
            by_length[len(data)].append(place)
        blocks: list[Block] = []
        others: list[int] = []
        for length, places in by_length.items():
            if length > _MOST_BYTES:
                others += places
            else:
                others += self._of_one_length(calls, places, blocks)
        return blocks, others

    def write(self, answer: Answer, count: int) -> list[bytes]:
        """An answer to a block, as one message for each of its `count` calls."""
        forms = tuple((name, array.dtype, array.shape[1:]) for name, array in answer.outputs.items())
        rows = len(next(iter(answer.outputs.values()))) // count
        key = answer.endpoint, answer.version, answer.signature_name, rows, forms
        layout = self._answers.get(key)
        if layout is None:
            first = {name: array[:rows] for name, array in answer.outputs.items()}
            try:
                layout = Layout(self._encode(answer._replace(outputs=first)), _OUTPUTS, first)
            except ValueError:
                return [self._encode(part) for part in parts_of(answer, count)]
            if layout.has_texts:
                return [self._encode(part) for part in parts_of(answer, count)]
            _keep(self._answers, key, layout)
        return layout.write(answer.outputs, count)

    def _of_one_length(self, calls: Sequence[bytes], places: list[int], blocks: list[Block]) -> list[int]:
        """Appends the blocks of calls of one length, and gives back the places that are in none."""
        length, messages = len(calls[places[0]]), [calls[place] for place in places]
        for one in self._known.get(length, ()):
            found = one.layout.matches(messages)
            if all(found):
                blocks.append(_block(one, messages, places))
                return []
            if any(found):
                blocks.append(_block(one, list(compress(messages, found)), list(compress(places, found))))
                rest = [place for place, is_like in zip(places, found, strict=True) if not is_like]
                places, messages = rest, [calls[place] for place in rest]
        self._learn(messages[0], length, len(places))
        return places

    def _learn(self, data: bytes, length: int, like: int) -> None:
        """Keep the layout of a message of a length that comes again, if the ordinary way can read it."""
        seen = self._seen.get(length, 0) + like
        _keep(self._seen, length, seen)
        if seen == 1 or seen > _MOST_TRIES:
            return
        try:
            request = self._decode(data)
            layout = Layout(data, _INPUTS, request.inputs)
        except Exception:
            # Whatever is wrong with it, the ordinary way says it to who has sent it.
            return
        self._seen[length] = 0
        _keep(self._known, length, [_Known(layout, request), *self._known.get(length, ())][:_MOST_OF_A_LENGTH])


def _cut(inputs: Mapping[str, Array], rows: slice) -> Mapping[str, Array]:
    if isinstance(inputs, Columns):
        return Columns(inputs.names, inputs.matrix[rows])
    return {name: array[rows] for name, array in inputs.items()}


def _block(known: _Known, messages: Sequence[bytes], places: Sequence[int]) -> Block:
    inputs = known.layout.read(messages)
    return Block(tuple(places), known.request._replace(inputs=inputs, calls=len(places)))


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _MOST_LAYOUTS:
        kept.popitem(last=False)


def parts_of(answer: Answer, count: int) -> list[Answer]:
    """The answers to `count` requests of equal numbers of rows, which `answer` has one after the other."""
    rows = len(next(iter(answer.outputs.values()))) // count
    return [
        answer._replace(
            outputs={name: array[part * rows : (part + 1) * rows] for name, array in answer.outputs.items()}
        )
        for part in range(count)
    ]
