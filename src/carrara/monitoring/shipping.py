"""Brings journals to the lake: each segment once, whoever ships it and however often it is tried."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path

import polars as pl

from carrara.core.clock import from_microseconds, now
from carrara.metadata.prediction_losses import add_loss
from carrara.monitoring.journal import JournalRecord, abandoned, number_of, read_segment, segments
from carrara.storage.stores import Stores

_COMPACT_EVERY = 64


def ship(stores: Stores, folder: Path) -> int:
    """Append the segments of a journal to the lake and remove them; the number of rows."""
    rows = 0
    for segment in segments(folder):
        number, tables = number_of(segment), defaultdict[str, list[JournalRecord]](list)
        for record in read_segment(segment):
            tables[record.table].append(record)
        for table, records in tables.items():
            rows += _append(stores, table, records, f"journal {folder.name}", number)
        segment.unlink()
    return rows


def ship_abandoned(stores: Stores, root: Path) -> int:
    """Ship what processes that are no more have left, and record what they lost; the number of rows."""
    rows = 0
    for journal in abandoned(root):
        try:
            lost = journal.lost()
            rows += ship(stores, journal.folder)
            if lost:
                began = from_microseconds(int((journal.folder / "lock").stat().st_mtime * 1e6))
                add_loss(stores.metadata, lost, began, now(), "the process was killed", id=journal.folder.name)
            journal.forget()
        finally:
            journal.close()
    return rows


def _append(stores: Stores, table: str, records: list[JournalRecord], position: str, number: int) -> int:
    """One commit, which moves the journal's position in the table: a segment that is there is not written again."""
    frames = [pl.read_ipc_stream(io.BytesIO(record.data)) for record in records]
    frame = pl.concat(frames, how="diagonal_relaxed")
    if not stores.lake.append_once(table, frame, position, number):
        return 0
    if number % _COMPACT_EVERY == 0:
        stores.lake.compact(table)
    return frame.height
