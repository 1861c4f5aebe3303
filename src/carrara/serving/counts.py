"""What a server counts: numbers and histograms by what they are of, which add up over processes."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import msgspec

BOUNDS = [10 * 1.8**power for power in range(33)]
"""Microseconds, as TensorFlow Serving's histograms have them."""


@dataclass
class Histogram:
    """Counts of values by the first of `BOUNDS` that they do not exceed, and the sum of the values."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, value: float, times: int) -> None:
        self.counts[bisect_left(BOUNDS, value)] += times
        self.total += value * times

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram([a + b for a, b in zip(self.counts, other.counts, strict=True)], self.total + other.total)


class Call(NamedTuple):
    """A request that was answered: of which model, by which method and protocol, and how it ended."""

    model: str
    method: str
    protocol: str
    code: int = 0


@dataclass
class Counts:
    """Of one process, or of several.

    `latency` (microseconds) is by model, method and protocol; `runtime` (microseconds of the run that a request had its
    part in) by model and method; `examples` has the rows of requests, `batches` those of runs, and `padding`
    those that runs were made up with, by model. `warm_ups` (microseconds) are by path and status, and `warm_up_records`
    by path; `lineage` has each version that was loaded, by model, version and id; `logged` the records of request logs,
    by model and status.
    """

    requests: dict[Call, int] = field(default_factory=dict)
    latency: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    runtime: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    examples: dict[str, Histogram] = field(default_factory=dict)
    batches: dict[str, Histogram] = field(default_factory=dict)
    padding: dict[str, Histogram] = field(default_factory=dict)
    warm_ups: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    warm_up_records: dict[str, int] = field(default_factory=dict)
    lineage: dict[tuple[str, str, str], int] = field(default_factory=dict)
    logged: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            for key, value in theirs.items():
                mine[key] = mine[key] + value if key in mine else value

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode([list(getattr(self, one.name).items()) for one in fields(self)])

    @classmethod
    def decoded(cls, data: bytes) -> Counts:
        """
        >>> made = Counts({Call("m", "Predict", "GRPC"): 3})
        >>> Counts.decoded(made.encoded()) == made
        True
        """
        found: Any = msgspec.msgpack.decode(data, type=_ENCODED)
        return cls(*(dict(pairs) for pairs in found))


_ENCODED: Any = tuple[
    list[tuple[Call, int]],
    list[tuple[tuple[str, str, str], Histogram]],
    list[tuple[tuple[str, str], Histogram]],
    list[tuple[str, Histogram]],
    list[tuple[str, Histogram]],
    list[tuple[str, Histogram]],
    list[tuple[tuple[str, str], Histogram]],
    list[tuple[str, int]],
    list[tuple[tuple[str, str, str], int]],
    list[tuple[tuple[str, str], int]],
]
