"""Counterfactual rows: as they were, but for a feature that should not decide, of which two values are swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from carrara.core.errors import DataError, DefinitionError, NotFoundError

_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Swap:
    """`pairs` are features with the two values that stand for each other; a row without any of them is not asked.

    >>> Swap.of({"driver:sex": ("f", "m")}).name
    'driver:sex f ↔ m'
    """

    pairs: tuple[tuple[str, Any, Any], ...]

    @classmethod
    def of(cls, swap: Mapping[str, Sequence[Any]]) -> Swap:
        """What a definition, a configuration or a record says; DefinitionError for other than two different values."""
        for name, values in swap.items():
            if isinstance(values, str) or len(values) != 2 or values[0] == values[1] or None in values:
                raise DefinitionError(
                    f"'{name}' is to be swapped between {values!r}", hint='{"driver:sex": ("f", "m")}: two values.'
                )
        if not swap:
            raise DefinitionError("no feature is to be swapped", hint='{"driver:sex": ("f", "m")}')
        return cls(tuple((name, one, other) for name, (one, other) in swap.items()))

    @property
    def name(self) -> str:
        return ", ".join(f"{name} {one} ↔ {other}" for name, one, other in self.pairs)

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.pairs)

    def spec(self) -> dict[str, list[Any]]:
        return {name: [one, other] for name, one, other in self.pairs}

    def typed(self, schema: Mapping[str, pl.DataType], where: str) -> Swap:
        """With values of the features' types, which a command line has as texts.

        NotFoundError names the nearest feature, DataError a value that is none of its type.
        """
        for name in self.features:
            if name not in schema:
                raise NotFoundError("feature", name, [one for one in schema if ":" in one] or schema, where=where)
        pairs = ((name, *(_typed(name, value, schema[name]) for value in both)) for name, *both in self.pairs)
        return Swap(tuple((name, one, other) for name, one, other in pairs))

    @property
    def asked(self) -> pl.Expr:
        """Of which rows there is a counterfactual one."""
        has = ((pl.col(name) == value).fill_null(False) for name, *both in self.pairs for value in both)
        return pl.any_horizontal(*has)

    def swapped(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The counterfactual rows."""
        return rows.with_columns(
            pl.when(pl.col(name) == pl.lit(one))
            .then(pl.lit(other, rows.schema[name]))
            .when(pl.col(name) == pl.lit(other))
            .then(pl.lit(one, rows.schema[name]))
            .otherwise(pl.col(name))
            .alias(name)
            for name, one, other in self.pairs
        )


def _typed(name: str, value: Any, dtype: pl.DataType) -> Any:
    if dtype.is_nested():
        raise DataError(f"'{name}' is an array, of which no two values are swapped")
    if dtype == pl.String:
        return str(value)
    try:
        if dtype == pl.Boolean:
            return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]
        number = float(value)
        return int(number) if number.is_integer() else number
    except (KeyError, TypeError, ValueError):
        kind = "true or false" if dtype == pl.Boolean else "a number"
        raise DataError(f"'{name}' is {kind}, and {str(value)[:40]!r} is not") from None
