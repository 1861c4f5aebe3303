"""Spans: the stretches of a train part that are analysed each by itself, and the states of them that are kept."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from carrara.core.digests import digest_bytes, digest_data
from carrara.data.rows import Rows, StoredRows, batches

FOLDER = "analyses"
"""Where states are kept, below `.carrara`."""

PARTIAL = ".partial"


@dataclass(frozen=True)
class Day:
    """One day of a training set: which of its rows are of it, and their digest."""

    name: str
    first: int
    rows: int
    digest: str

    @classmethod
    def of(cls, days: Iterable[Sequence[Any]]) -> tuple[Day, ...]:
        """The days that a training set's record tells of, oldest first."""
        found: list[Day] = []
        for name, rows, digest in days:
            first = found[-1].first + found[-1].rows if found else 0
            found.append(Day(name, first, rows, digest))
        return tuple(found)


@dataclass
class Analyses:
    """The days of a training set, and the folder in which the states of each are kept under what they were made from;
    without days the rows are one span, and nothing is kept. `read` and `kept` are the days that were analysed, and
    those whose states were there."""

    days: tuple[Day, ...] = ()
    folder: Path | None = None
    read: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    def told(self) -> dict[str, Any] | None:
        """Which days were read and how many were not, as plain data; None where nothing was analysed by days."""
        if not (self.read or self.kept):
            return None
        return {"days": len(self.read | self.kept), "read": sorted(self.read), "kept": len(self.kept - self.read)}


def said(told: Mapping[str, Any] | None) -> str:
    """For people: how much of the train part the transforms had to read."""
    if told is None:
        return ""
    read = len(told["read"])
    return f"transforms from {told['days']:,} days, {read:,} of them read" if told["kept"] else ""


@dataclass
class Spans:
    """The rows of a train part by span. What is asked of a span is kept under its digest: that of its day's rows, and
    of which of them are in the part."""

    rows: Rows
    columns: Sequence[str]
    analyses: Analyses
    _days: list[tuple[Day, StoredRows]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if isinstance(self.rows, StoredRows):
            found = ((day, self.rows.stretch(day.first, day.rows)) for day in self.analyses.days)
            self._days = [(day, rows) for day, rows in found if rows.height]

    @property
    def count(self) -> int:
        return len(self._days) or 1

    def read_state(self, number: int, request: str) -> Any:
        """What is kept of a span under a request; None where there is nothing, or it is not what was written."""
        path = self._path(number, request)
        if path is None:
            return None
        try:
            digest, _, data = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if digest.decode(errors="replace") != digest_bytes(data):
            return None
        with suppress(OSError):
            os.utime(path)  # it is wanted again: garbage collection looks at when it was last
        self.analyses.kept.add(self._days[number][0].name)
        return msgspec.msgpack.decode(zlib.decompress(data))

    def keep_state(self, number: int, request: str, state: Any) -> None:
        """Keep it, whole or not at all; where there is no room it is found anew the next time."""
        path = self._path(number, request)
        if path is None:
            return
        self.analyses.read.add(self._days[number][0].name)
        data = zlib.compress(msgspec.msgpack.encode(state), 1)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=path.parent, suffix=PARTIAL)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(digest_bytes(data).encode() + b"\n" + data)
                os.replace(partial, path)
            except OSError:
                os.unlink(partial)
                raise

    def batches(self, numbers: Sequence[int]) -> Iterator[tuple[int, int, pl.DataFrame]]:
        """The rows of some spans, in batches: the span, the place of the batch's first row in the part, and the batch.
        Spans that follow one another are read at once."""
        if not numbers:
            return
        if not self._days:
            place = 0
            for batch in batches(self.rows, self.columns):
                yield 0, place, batch
                place += batch.height
            return
        for run in _runs(numbers):
            yield from self._together(run)

    def _together(self, run: Sequence[int]) -> Iterator[tuple[int, int, pl.DataFrame]]:
        assert isinstance(self.rows, StoredRows)
        first, last = self._days[run[0]][0], self._days[run[-1]][0]
        place = sum(rows.height for _, rows in self._days[: run[0]])
        number, left = run[0], self._days[run[0]][1].height
        for batch in self.rows.stretch(first.first, last.first + last.rows - first.first).batches(self.columns):
            while batch.height:
                if not left:
                    number += 1
                    left = self._days[number][1].height
                taken, batch = batch.head(left), batch.slice(left)
                yield number, place, taken
                place, left = place + taken.height, left - taken.height

    def _path(self, number: int, request: str) -> Path | None:
        if self.analyses.folder is None or not self._days:
            return None
        day, rows = self._days[number]
        return self.analyses.folder / digest_data([day.digest, rows.wanted_digest, request])


def _runs(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Numbers that follow one another, together.

    >>> list(_runs([1, 2, 3, 7, 8]))
    [[1, 2, 3], [7, 8]]
    """
    key: Callable[[tuple[int, int]], int] = lambda pair: pair[1] - pair[0]  # noqa: E731
    for _, run in groupby(enumerate(numbers), key=key):
        yield [number for _, number in run]
