"""The two samples of the data benchmark: a reference, and a current one with anomalies that are known.

Thirty columns of the kinds that tables have, drawn by chunks, so that tables larger than memory can be written, and
from a seed, so that every system reads the same bytes. `INJECTED` says what is wrong with the current sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

CHUNK_ROWS = 500_000
SECONDS_A_ROW = 5
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())

CATEGORIES = (5, 50, 1_000, 50_000, 500_000)
ZIPF_EXPONENTS = (0.8, 0.8, 0.8, 0.6, 0.4)
INTEGERS = ((0, 10), (0, 100), (-1_000, 1_000), (0, 1_000_000), (0, 10**12))
FLAG_SHARES = (0.3, 0.5, 0.05)
SKEWED: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (
    lambda random, rows: random.lognormal(1.0, 1.0, rows),
    lambda random, rows: random.exponential(20.0, rows),
    lambda random, rows: 1.0 + random.pareto(3.0, rows),
    lambda random, rows: random.lognormal(5.0, 0.5, rows),
    lambda random, rows: random.gamma(0.7, 3.0, rows),
)


@dataclass(frozen=True)
class Injected:
    """What was done to one column of the current sample ("" is the whole table), and what Carrara calls it."""

    name: str
    column: str
    carrara_kinds: tuple[str, ...]


INJECTED = [
    Injected("mean shift of one standard deviation", "float_1", ("drift",)),
    Injected("0.1 % of values at 100 sigma", "float_2", ("out of range",)),
    Injected("nulls from 5 % to 40 %", "float_3", ("presence",)),
    Injected("infinities in 0.5 % of rows", "float_4", ("not finite",)),
    Injected("unit change, x 1000", "skewed_1", ("unit change",)),
    Injected("type change, integers as strings", "int_1", ("type change",)),
    Injected("new category in 2 % of rows", "category_0", ("new categories",)),
    Injected("shares of categories permuted", "category_1", ("drift",)),
    Injected("flag from 30 % true to all true", "flag_0", ("drift",)),
    Injected("renamed to float_nine", "float_9", ("renamed column",)),
    Injected("missing column", "int_4", ("missing column",)),
    Injected("unexpected column", "extra_0", ("unexpected column",)),
    Injected("time gap of 10 % of the span", "time_0", ("time gap",)),
    Injected("half of the rows", "", ("volume",)),
]


def write_tables(folder: Path, rows: int, seed: int = 0) -> tuple[Path, Path]:
    """Write reference.parquet of so many rows, and current.parquet of half as many, the next in time."""
    folder.mkdir(parents=True, exist_ok=True)
    reference, current = folder / "reference.parquet", folder / "current.parquet"
    _write(reference, rows, lambda start, size: _reference(start, size, seed))
    _write(current, rows // 2, lambda start, size: _current(start, size, rows, seed))
    return reference, current


def _write(path: Path, rows: int, chunk: Callable[[int, int], pl.DataFrame]) -> None:
    """A file appears whole or not at all, so that a run which was stopped leaves none that is half."""

    def chunks(columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        for start in range(0, rows, CHUNK_ROWS):
            table = chunk(start, min(CHUNK_ROWS, rows - start))
            yield table if columns is None else table.select(columns)

    unfinished = path.with_suffix(".unfinished")
    register_io_source(chunks, schema=chunk(0, 1).schema).sink_parquet(unfinished)
    unfinished.replace(path)


def _reference(start: int, rows: int, seed: int) -> pl.DataFrame:
    return _sample(np.random.default_rng([seed, 0, start]), start, rows)


def _current(start: int, rows: int, reference_rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng([seed, 1, start])
    table = _sample(random, reference_rows + start, rows)
    changed = table.with_columns(
        pl.col("float_1") + _scale(1),
        pl.when(_chance(random, rows, 0.001)).then(_mean(2) + 100 * _scale(2)).otherwise("float_2").alias("float_2"),
        pl.when(~_chance(random, rows, 1 - 0.6 / 0.95)).then("float_3").alias("float_3"),
        pl.when(_chance(random, rows, 0.005)).then(float("inf")).otherwise("float_4").alias("float_4"),
        pl.col("skewed_1") * 1_000,
        pl.col("int_1").cast(pl.String),
        pl.when(_chance(random, rows, 0.02)).then(pl.lit("brand new")).otherwise("category_0").alias("category_0"),
        _category(random, 1, rows, permuted=True),
        pl.lit(True).alias("flag_0"),
        _after_gap(pl.col("time_0"), start, reference_rows // 2).alias("time_0"),
        pl.Series("extra_0", random.normal(size=rows)),
    )
    return changed.drop("int_4").rename({"float_9": "float_nine"})


def _sample(random: np.random.Generator, start: int, rows: int) -> pl.DataFrame:
    floats = [_float(random, number, rows) for number in range(10)]
    skewed = [pl.Series(f"skewed_{number}", draw(random, rows)) for number, draw in enumerate(SKEWED)]
    integers = [pl.Series(f"int_{n}", random.integers(low, high, rows)) for n, (low, high) in enumerate(INTEGERS)]
    categories = [_category(random, number, rows) for number in range(len(CATEGORIES))]
    flags = [_chance(random, rows, share).alias(f"flag_{number}") for number, share in enumerate(FLAG_SHARES)]
    seconds = START + SECONDS_A_ROW * np.arange(start, start + rows, dtype=np.int64)
    time = pl.Series("time_0", seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))
    rounded = pl.Series("rounded_0", np.round(random.normal(size=rows), 2))
    return pl.DataFrame([*floats, *skewed, *integers, *categories, *flags, time, rounded])


def _float(random: np.random.Generator, number: int, rows: int) -> pl.Series:
    values = pl.Series(f"float_{number}", random.normal(_mean(number), _scale(number), rows))
    return values.set(_chance(random, rows, 0.05), None)


def _mean(number: int) -> float:
    return 10.0 * number - 20.0


def _scale(number: int) -> float:
    return 0.5 * (number + 1)


def _chance(random: np.random.Generator, rows: int, share: float) -> pl.Series:
    return pl.Series(random.random(rows) < share)


def _category(random: np.random.Generator, number: int, rows: int, *, permuted: bool = False) -> pl.Series:
    names, cumulated = _categories(number)
    codes = np.searchsorted(cumulated, random.random(rows)).astype(np.uint32)
    if permuted:
        codes = (CATEGORIES[number] - 1 - codes).astype(np.uint32)
    return names.gather(codes).alias(f"category_{number}")


@cache
def _categories(number: int) -> tuple[pl.Series, np.ndarray]:
    """The names of a column's categories, and the cumulated shares of the rows that hold them, as Zipf has it."""
    shares = np.arange(1, CATEGORIES[number] + 1) ** -ZIPF_EXPONENTS[number]
    cumulated = np.cumsum(shares) / shares.sum()
    cumulated[-1] = 1.0
    return pl.Series([f"value {code}" for code in range(CATEGORIES[number])]), cumulated


def _after_gap(time: pl.Expr, start: int, rows: int) -> pl.Expr:
    """Times with the second half moved on by so much that a tenth of the whole span is empty."""
    moved = pl.int_range(start, start + pl.len()) >= rows // 2
    gap = pl.duration(seconds=SECONDS_A_ROW * rows // 9)
    return pl.when(moved).then(time + gap).otherwise(time)
