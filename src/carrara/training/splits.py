"""Splits: which rows train, which stop the training, which are held out. By time, so that the test is the future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from carrara.core.clock import parse_time
from carrara.core.errors import ConfigurationError, TrainingError


@dataclass(frozen=True)
class TimeSplit:
    """Rows before `validation_from` train, those before `test_from` validate, the rest is the test.

    A row whose label became known only after the next part began is left out of its part: on that day it
    could not have been learned from.

    >>> TimeSplit(validation_from="2013-09-01", test_from="2013-08-01")
    Traceback (most recent call last):
    carrara.core.errors.ConfigurationError: the validation part starts at 2013-09-01, not before the test at 2013-08-01
    """

    validation_from: str
    test_from: str

    def __post_init__(self) -> None:
        if parse_time(self.validation_from) >= parse_time(self.test_from):
            raise ConfigurationError(
                f"the validation part starts at {self.validation_from}, not before the test at {self.test_from}"
            )

    def spec(self) -> dict[str, Any]:
        return dict(vars(self))

    def split(self, rows: pl.DataFrame, *, time: str, known_at: str | None) -> dict[str, pl.DataFrame]:
        """The three parts by name; TrainingError when one is empty."""
        validation, test = parse_time(self.validation_from), parse_time(self.test_from)
        at = pl.col(time)
        known = pl.col(known_at or time)
        parts = {
            "train": rows.filter((at < validation) & (known < validation)),
            "validation": rows.filter((at >= validation) & (at < test) & (known < test)),
            "test": rows.filter(at >= test),
        }
        for name, part in parts.items():
            if part.is_empty():
                span = f"{rows[time].min()!s} to {rows[time].max()!s}"
                raise TrainingError(
                    f"the {name} part has no rows: the training set spans {span}",
                    hint=f"Move validation_from ({self.validation_from}) or test_from ({self.test_from}).",
                )
        return parts
