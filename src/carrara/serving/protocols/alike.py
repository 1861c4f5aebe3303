"""Predictions over HTTP that look alike, asked as one: by columns, not one by one, as `blocks` does with gRPC's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from carrara.serving.protocols.blocks import Block
from carrara.serving.protocols.http import Asking
from carrara.serving.requests import concatenated, form_of, rows_of


def blocks_of(askings: Sequence[Asking], most_rows: int) -> list[Block]:
    """The blocks that askings make, each of at most `most_rows` rows; what is alone of its kind is in none."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for place, asking in enumerate(askings):
        if asking.split is not None:
            groups[_kind(asking)].append(place)
    found = []
    for (*_, rows), places in groups.items():
        size = max(1, most_rows // max(1, rows))
        for start in range(0, len(places), size):
            part = places[start : start + size]
            if len(part) > 1:
                found.append(_block(askings, part))
    return found


def _kind(asking: Asking) -> tuple[Any, ...]:
    request = asking.request
    form, rows = form_of(request.inputs), rows_of(request)
    return asking.split, request.choice, request.signature_name, request.output_filter, form, rows


def _block(askings: Sequence[Asking], places: Sequence[int]) -> Block:
    requests = [askings[place].request for place in places]
    inputs = concatenated([request.inputs for request in requests])
    return Block(tuple(places), requests[0]._replace(inputs=inputs, calls=len(places)))
