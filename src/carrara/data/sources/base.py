"""What a source is. To add one: a frozen dataclass with these three methods, and a case in the conformance tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from polars.exceptions import PolarsError

from carrara.core.errors import DataError


@dataclass(frozen=True)
class Opened:
    """A source that is being read: the batches all have the columns and types of `schema`.

    `rows` is how many there are, where that is known before they are read; `where` names the source, and `lines`
    says how many lines come before the first row, where a line is a row.
    """

    schema: pl.Schema
    batches: Iterator[pl.DataFrame]
    rows: int | None = None
    where: str = ""
    lines: int | None = None

    def place(self, row: int) -> str:
        """Where the row with this number (from 0) is, for messages."""
        return f"{self.where}, row {row + 1}" if self.lines is None else f"{self.where}, line {row + self.lines + 1}"


class Source(Protocol):
    """Where rows come from."""

    def describe(self) -> dict[str, Any]:
        """What it is, as plain data for definitions and records, without secrets."""

    def fingerprint(self, root: Path) -> str | None:
        """A digest that changes when the rows may have changed; None when only reading them can tell."""

    def open(self, root: Path, reading: Reading) -> AbstractContextManager[Opened]:
        """Begin to read; relative addresses start at `root`. Raises DataError for what cannot be read."""


@dataclass(frozen=True)
class Reading:
    """How the rows are to be read: `types` by column, and what a text source needs to know."""

    dataset: str
    types: Mapping[str, pl.DataType]
    null_values: tuple[str, ...] = ("",)
    encoding: str = "utf-8"
    separator: str = ""


def in_one_schema(batches: Iterable[pl.DataFrame], where: str) -> tuple[pl.Schema, Iterator[pl.DataFrame]]:
    """Batches whose types were guessed one by one, brought to the types that hold them all.

    A first batch whose column was all null has no type yet, so that all are kept in a temporary folder until the
    last one is known. Raises DataError when two types have none in common.
    """
    folder = tempfile.TemporaryDirectory(prefix="carrara-")
    parts: list[Path] = []
    schema: pl.DataFrame | None = None
    try:
        for batch in batches:
            part = Path(folder.name) / f"{len(parts)}.arrow"
            batch.write_ipc(part)
            parts.append(part)
            empty = batch.clear()
            schema = empty if schema is None else pl.concat([schema, empty], how="diagonal_relaxed")
    except PolarsError as error:
        folder.cleanup()
        raise DataError(f"the rows of {where} change their types on the way: {error}") from None
    except BaseException:
        folder.cleanup()
        raise
    final = schema.schema if schema is not None else pl.Schema()

    def read() -> Iterator[pl.DataFrame]:
        with folder:
            for part in parts:
                whole = pl.concat([pl.DataFrame(schema=final), pl.read_ipc(part)], how="diagonal_relaxed")
                yield whole.select(final.names())

    return final, read()
