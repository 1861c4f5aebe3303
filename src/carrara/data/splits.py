"""Splits: which rows train, which stop the training, which are held out. Each is the same on every run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl

from carrara.core.clock import duration, parse_time
from carrara.core.columns import require_column
from carrara.core.errors import ConfigurationError, DataError
from carrara.core.hashing import hash_keys

PARTS = ("train", "validation", "test")


class Split(Protocol):
    """A rule that gives every row a part; `columns` are those that it looks at beside the times."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def spec(self) -> dict[str, Any]: ...

    def split(self, rows: pl.DataFrame, *, time: str, known_at: str | None) -> dict[str, pl.DataFrame]:
        """The parts train, validation and test; DataError when one is empty."""


@dataclass(frozen=True)
class TimeSplit:
    """Rows before `validation_from` train, those before `test_from` validate, the rest is the test.

    A row whose label became known only after the next part began is left out of its part: on that day it
    could not have been learned from. Rows before `train_from`, from `until` on, and of the spans of time to
    `exclude`, each `(from, until)`, are in no part.

    >>> TimeSplit(validation_from="2013-09-01", test_from="2013-08-01")
    Traceback (most recent call last):
    carrara.core.errors.ConfigurationError: the validation part starts at 2013-09-01, not before the test at 2013-08-01
    """

    validation_from: str
    test_from: str
    train_from: str | None = None
    until: str | None = None
    exclude: tuple[tuple[str, str], ...] = ()

    columns = ()

    def __post_init__(self) -> None:
        if parse_time(self.validation_from) >= parse_time(self.test_from):
            raise ConfigurationError(
                f"the validation part starts at {self.validation_from}, not before the test at {self.test_from}"
            )
        if self.train_from is not None:
            _check_span((self.train_from, self.validation_from), "the train part")
        if self.until is not None:
            _check_span((self.test_from, self.until), "the test part")
        _check_excluded(self.exclude)

    def spec(self) -> dict[str, Any]:
        return _told(self, train_from=None, until=None, exclude=())

    def split(self, rows: pl.DataFrame, *, time: str, known_at: str | None) -> dict[str, pl.DataFrame]:
        """The three parts by name; DataError when one is empty."""
        hint = f"Move validation_from ({self.validation_from}) or test_from ({self.test_from})."
        rows = _within(rows, time, self.train_from, self.until, self.exclude)
        return _by_time(rows, parse_time(self.validation_from), parse_time(self.test_from), time, known_at, hint)


@dataclass(frozen=True)
class RollingSplit:
    """The newest rows test, those before them validate, the rest trains; `validation` and `test` are durations, counted
    back from the newest row, so that the parts move on as data arrive.

    `train` is how far back the train part reaches, by default to the first row; the newest rows that are not to be
    looked at yet are within `skip`. As in `TimeSplit`, a row whose label became known only after the next part
    began is left out of its part, and rows of the spans of time to `exclude` are in none.
    """

    validation: str = "7d"
    test: str = "7d"
    train: str | None = None
    skip: str | None = None
    exclude: tuple[tuple[str, str], ...] = ()

    columns = ()

    def __post_init__(self) -> None:
        for length in (self.validation, self.test, *(one for one in (self.train, self.skip) if one is not None)):
            if not duration(length):
                raise ConfigurationError(f"a part of '{length}' has no rows")
        _check_excluded(self.exclude)

    def spec(self) -> dict[str, Any]:
        return _told(self, train=None, skip=None, exclude=())

    def split(self, rows: pl.DataFrame, *, time: str, known_at: str | None) -> dict[str, pl.DataFrame]:
        """The three parts by name; DataError when one is empty."""
        newest = rows[time].max()
        if not isinstance(newest, datetime):
            raise DataError("there are no rows to split by time")
        # The newest row itself is in the test, however short that is.
        end = newest + timedelta(microseconds=1) - (duration(self.skip) if self.skip is not None else timedelta())
        test = end - duration(self.test)
        validation = test - duration(self.validation)
        begin = validation - duration(self.train) if self.train is not None else None
        hint = f"Change validation ({self.validation}) or test ({self.test})."
        rows = _within(rows, time, begin, end if self.skip is not None else None, self.exclude)
        return _by_time(rows, validation, test, time, known_at, hint)


@dataclass(frozen=True)
class HashSplit:
    """Rows by the hash of their `key`: a row never changes its part as data grow, and rows of one key stay together.

    `validation` and `test` are the shares of the keys that go there. Another `salt` draws another split.

    >>> HashSplit(key=("user",), validation=0.5, test=0.6)
    Traceback (most recent call last):
    carrara.core.errors.ConfigurationError: a split cannot hold out 0.5 and 0.6 of the rows
      Shares are between 0 and 1, and leave something to train on.
    """

    key: tuple[str, ...]
    validation: float = 0.1
    test: float = 0.2
    salt: str = ""

    def __post_init__(self) -> None:
        _check_shares(self.validation, self.test)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key

    def spec(self) -> dict[str, Any]:
        return {**vars(self), "key": list(self.key)}

    def split(self, rows: pl.DataFrame, *, time: str = "", known_at: str | None = None) -> dict[str, pl.DataFrame]:
        """The three parts by name; `time` plays no part."""
        return _parted(rows, _places(rows, self.key, self.salt), self.validation, self.test)


@dataclass(frozen=True)
class StratifiedSplit:
    """Rows so that each value of the column `by` has the same shares in every part, to the row.

    Within a value the rows go by the hash of their `key`, so that a run repeats; as data grow, rows at the cut may
    move to the next part, which `HashSplit` rules out.
    """

    by: str
    key: tuple[str, ...]
    validation: float = 0.1
    test: float = 0.2
    salt: str = ""

    def __post_init__(self) -> None:
        _check_shares(self.validation, self.test)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.by, *self.key)

    def spec(self) -> dict[str, Any]:
        return {**vars(self), "key": list(self.key)}

    def split(self, rows: pl.DataFrame, *, time: str = "", known_at: str | None = None) -> dict[str, pl.DataFrame]:
        """The three parts by name; `time` plays no part."""
        require_column(rows.schema, self.by, "the rows to split")
        place = pl.Series("_place", _places(rows, self.key, self.salt))
        ranks = pl.DataFrame([place, rows[self.by].alias("_by")]).select(
            (pl.col("_place").rank("ordinal") - 0.5).over("_by") / pl.len().over("_by")
        )
        return _parted(rows, ranks.to_series().to_numpy(), self.validation, self.test)


@dataclass(frozen=True)
class NoSplit:
    """Every row is in every part: of a model that was trained elsewhere, all rows are test rows.

    >>> NoSplit().split(pl.DataFrame({"x": [1, 2]}))["test"].height
    2
    """

    columns = ()

    def spec(self) -> dict[str, Any]:
        return {}

    def split(self, rows: pl.DataFrame, *, time: str = "", known_at: str | None = None) -> dict[str, pl.DataFrame]:
        """The rows, three times; DataError for none."""
        if rows.is_empty():
            raise DataError("there are no rows")
        return dict.fromkeys(PARTS, rows)


def _told(split: Any, **usual: Any) -> dict[str, Any]:
    """A split as plain data; what nobody changed is not told, so that a definition of before is the same one."""
    told = {name: value for name, value in vars(split).items() if name not in usual or value != usual[name]}
    return {name: [list(span) for span in value] if name == "exclude" else value for name, value in told.items()}


def _check_excluded(spans: tuple[tuple[str, str], ...]) -> None:
    for span in spans:
        if isinstance(span, str) or len(span) != 2:
            raise ConfigurationError(
                f"exclude={spans!r} is no list of spans", hint='Write (("2024-05-01", "2024-05-03"),).'
            )
        _check_span(span, "a span to exclude")


def _check_span(span: tuple[str, str], what: str) -> None:
    if parse_time(span[0]) >= parse_time(span[1]):
        raise ConfigurationError(f"{what} begins at {span[0]}, not before its end at {span[1]}")


def _within(
    rows: pl.DataFrame,
    time: str,
    begin: str | datetime | None,
    end: str | datetime | None,
    excluded: tuple[tuple[str, str], ...],
) -> pl.DataFrame:
    """The rows of a time that are in any part."""
    at, kept = pl.col(time), []
    kept += [at >= _moment(begin)] if begin is not None else []
    kept += [at < _moment(end)] if end is not None else []
    kept += [(at < parse_time(first)) | (at >= parse_time(last)) for first, last in excluded]
    return rows.filter(kept) if kept else rows


def _moment(time: str | datetime) -> datetime:
    return parse_time(time) if isinstance(time, str) else time


def _by_time(
    rows: pl.DataFrame, validation: datetime, test: datetime, time: str, known_at: str | None, hint: str
) -> dict[str, pl.DataFrame]:
    at, known = pl.col(time), pl.col(known_at or time)
    parts = {
        "train": rows.filter((at < validation) & (known < validation)),
        "validation": rows.filter((at >= validation) & (at < test) & (known < test)),
        "test": rows.filter(at >= test),
    }
    for name, part in parts.items():
        if part.is_empty():
            span = f"{rows[time].min()!s} to {rows[time].max()!s}"
            raise DataError(f"the {name} part has no rows: the training set spans {span}", hint=hint)
    return parts


def _check_shares(validation: float, test: float) -> None:
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ConfigurationError(
            f"a split cannot hold out {validation} and {test} of the rows",
            hint="Shares are between 0 and 1, and leave something to train on.",
        )


def _places(rows: pl.DataFrame, key: tuple[str, ...], salt: str) -> np.ndarray[Any, Any]:
    """Where each row's key lies between 0 and 1."""
    for name in key:
        require_column(rows.schema, name, "the rows to split")
    salted = rows.select(*key).with_columns(_salt=pl.lit(salt))
    return hash_keys(salted, ["_salt", *key]) / 2.0**64


def _parted(
    rows: pl.DataFrame, places: np.ndarray[Any, Any], validation: float, test: float
) -> dict[str, pl.DataFrame]:
    """The parts by the rows' places between 0 and 1: training comes first, the test last."""
    train = 1 - validation - test
    part = pl.Series(np.digitize(places, [train, train + validation]))
    parts = {name: rows.filter(part == place) for place, name in enumerate(PARTS)}
    for name, found in parts.items():
        if found.is_empty():
            raise DataError(f"the {name} part has no rows: {rows.height:,} rows are too few for its share")
    return parts
