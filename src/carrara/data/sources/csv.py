"""CSV: looked over once, so that what readers accept in silence has a file, a line and a column."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import polars as pl

from carrara.core.errors import DataError, MalformedFile
from carrara.data.sources.base import Reading

_BLOCK = 1 << 22
_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNPARSED = re.compile(r"could not parse `(.*?)` as dtype `(\w+)` at column '(.*?)'", re.DOTALL)


@dataclass
class CsvLook:
    """What a look over a CSV's bytes found: its columns, and how many rows follow the header."""

    path: Path
    separator: int
    header: list[str] = field(default_factory=list)
    rows: int = 0
    blank_tail: int = 0
    _line: int = 1

    @property
    def lines_before(self) -> int | None:
        """How many lines come before the first row, where each row is a line: none holds a line break."""
        return 1 if self._line - 1 - self.blank_tail == self.rows + 1 else None


def look_over(file: IO[bytes], path: Path, separator: str = ",") -> CsvLook:
    """Read a CSV's bytes once, in blocks; MalformedFile names the line of what is wrong with its form.

    Wrong are: no header, two columns of one name, bytes that are not UTF-8, lines of more or fewer fields than the
    header, blank lines, quotes that do not close, and line ends of the old Mac.
    """
    look = CsvLook(path, ord(separator))
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = b""
    while True:
        block = file.read(_BLOCK)
        if not rest and not look.header:
            _refuse_other_encodings(block, path)
            block = block.removeprefix(codecs.BOM_UTF8)
        _decode(decoder, block, look, rest)
        data = rest + block
        rest = _take_lines(look, data, last=not block)
        if not block:
            return look


def scan(path: Path, reading: Reading, look: CsvLook, separator: str) -> pl.LazyFrame:
    """The rows of a CSV, with types guessed from all of them where none is declared."""
    # Texts such as 007 must not become numbers on the way to the type that was declared.
    texts = {name: t for name, t in reading.types.items() if name in look.header and t == pl.String()}
    return pl.scan_csv(
        path,
        separator=separator,
        null_values=list(reading.null_values),
        schema_overrides=texts,
        infer_schema_length=None,
        n_rows=look.rows if look.blank_tail else None,
        raise_if_empty=False,
        glob=False,
    )


def explained(error: Exception, plain: Path, path: Path, reading: Reading, separator: str) -> DataError:
    """What a reader's error means for the file: the line and column of the value that it stumbled over."""
    found = _UNPARSED.search(str(error))
    if found is None:
        return DataError(f"{path} (dataset '{reading.dataset}') cannot be read: {str(error).splitlines()[0]}")
    value, _, column = found.groups()
    texts = pl.scan_csv(plain, separator=separator, infer_schema=False, glob=False)
    place = texts.select(pl.col(column).eq(value).arg_true().first()).collect().item()
    line = (place or 0) + 2
    return MalformedFile(
        path,
        line,
        f"'{value}' in column '{column}' does not fit into the type of the values before it",
        column=column,
        hint=f'Declare a type that holds all: types={{"{column}": "string"}}.',
    )


def first_past_64_bits(plain: Path, path: Path, column: str, separator: str) -> DataError:
    """The line of the first whole number of a column that has no place in 64 bits."""
    texts = pl.scan_csv(plain, separator=separator, infer_schema=False, glob=False)
    texts = texts.select(column).with_row_index("_row")
    long = texts.filter(pl.col(column).str.contains(r"^\s*[+-]?\d{19,}\s*$")).collect()
    row, value = next((row, text) for row, text in long.iter_rows() if not -(2**63) <= int(text) < 2**63)
    return MalformedFile(
        path,
        row + 2,
        f"{value} in column '{column}' does not fit into 64 bits",
        column=column,
        hint=f'Declare what it is: types={{"{column}": "string"}} for an identifier, "float64" for a quantity.',
    )


def _refuse_other_encodings(block: bytes, path: Path) -> None:
    for mark, encoding in _MARKS.items():
        if block.startswith(mark):
            raise MalformedFile(
                path, 1, f"it is written in {encoding.upper()}", hint=f'encoding="{encoding}" reads it.'
            )


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, look: CsvLook, rest: bytes) -> None:
    try:
        decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        before = rest + error.object[: error.start]
        line = look._line + before.count(b"\n")
        fields = before.rpartition(b"\n")[2].count(bytes([look.separator]))
        header = look.header or _names(before.partition(b"\n")[0], look)
        column = header[fields] if line > 1 and fields < len(header) else ""
        raise MalformedFile(
            look.path,
            line,
            f"the byte 0x{error.object[error.start]:02x} is not UTF-8" + (f", in column '{column}'" if column else ""),
            column=column,
            hint='Say which encoding it is, e.g. encoding="latin-1" or "cp1252".',
        ) from None


def _take_lines(look: CsvLook, data: bytes, last: bool) -> bytes:
    """Check the whole lines of `data` and return what is left of the last one."""
    if last and data and not data.endswith(b"\n"):
        data += b"\n"
    array = np.frombuffer(data, np.uint8)
    outside = _outside_quotes(array)
    ends = np.flatnonzero((array == _LINE_FEED) if outside is None else (array == _LINE_FEED) & outside)
    if last and outside is not None and data and not outside[-1]:
        opened = int(np.flatnonzero(array == _QUOTE)[-1])
        line = look._line + data.count(b"\n", 0, opened)
        raise MalformedFile(
            look.path, line, "a quote is opened here, and never closed", hint='Write " as "" in a text.'
        )
    if not ends.size:
        if last and not look.header:
            raise MalformedFile(look.path, 1, "it is empty", hint="A CSV begins with the names of its columns.")
        return data
    if not look.header:
        _take_header(look, data, ends)
    _check_lines(look, array, outside, ends)
    done = int(ends[-1]) + 1
    # Line breaks inside quotes are lines of the file as well.
    look._line += data.count(b"\n", 0, done)
    return data[done:]


def _take_header(look: CsvLook, data: bytes, ends: npt.NDArray[np.int64]) -> None:
    head = data[: int(ends[0])]
    if b"\r" in head.rstrip(b"\r"):
        raise MalformedFile(look.path, 1, "its lines end with a carriage return alone", hint="Convert them to \\n.")
    look.header = _names(head, look)
    repeated = sorted(name for name, times in Counter(look.header).items() if times > 1)
    if not look.header:
        raise MalformedFile(look.path, 1, "it has no names of columns", hint="A CSV begins with them.")
    if repeated:
        places = [str(n + 1) for n, name in enumerate(look.header) if name == repeated[0]]
        raise MalformedFile(
            look.path,
            1,
            f"the column '{repeated[0]}' is there {len(places)} times, at places {', '.join(places)}",
            column=repeated[0],
            hint="Give each column a name of its own.",
        )


def _names(head: bytes, look: CsvLook) -> list[str]:
    return next(csv.reader([head.decode(errors="replace").rstrip("\r")], delimiter=chr(look.separator)), [])


def _check_lines(
    look: CsvLook, array: npt.NDArray[np.uint8], outside: npt.NDArray[np.bool_] | None, ends: npt.NDArray[np.int64]
) -> None:
    separators = array == look.separator
    places = np.flatnonzero(separators if outside is None else separators & outside)
    until = np.searchsorted(places, ends)
    fields = np.diff(until, prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    lengths -= (array[np.maximum(ends - 1, 0)] == _RETURN) & (lengths > 0)
    blank = (lengths == 0) if len(look.header) > 1 else np.zeros(ends.size, bool)
    wrong = np.flatnonzero((fields != len(look.header)) & ~blank)
    if look.blank_tail and not blank.all():
        raise _blank(look, look._line - look.blank_tail)
    filled = np.flatnonzero(~blank)
    final = int(filled[-1]) if filled.size else -1
    inner = np.flatnonzero(blank[: final + 1])
    first = min([*wrong[:1].tolist(), *inner[:1].tolist()], default=None)
    if first is not None:
        line = look._line + int(np.count_nonzero(array[: int(ends[first])] == _LINE_FEED))
        if blank[first]:
            raise _blank(look, line)
        raise MalformedFile(
            look.path,
            line,
            f"it has {fields[first]} fields, and the header has {len(look.header)}",
            hint="Complete the line, or quote a text that holds the separator.",
        )
    look.blank_tail += int(ends.size - 1 - final)
    header = 1 if look._line == 1 else 0
    look.rows += int(filled.size) - header


def _blank(look: CsvLook, line: int) -> MalformedFile:
    return MalformedFile(look.path, line, "the line is blank", hint="Remove it: it would be a row of nulls.")


def _outside_quotes(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
    quotes = array == _QUOTE
    if not quotes.any():
        return None
    outside: npt.NDArray[np.bool_] = np.bitwise_xor.accumulate(quotes.view(np.uint8)) == 0
    return outside
