"""Which predictions are logged: a share of them, drawn by their id, and all that a rule names."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from carrara.core.errors import CarraraError, DefinitionError
from carrara.core.row_sql import row_expression
from carrara.metadata.applied import applied_specs
from carrara.metadata.store import Metadata
from carrara.models.signature import QUERY_ID

SAMPLED = "sampled"
"""The log's column that says why a row is there: `rate`, or `rule` for one that only the rule kept."""

_LOOK_AGAIN_SECONDS = 5.0


class _Batch(Protocol):
    @property
    def drawn_by(self) -> Sequence[str]: ...


_AnyBatch = TypeVar("_AnyBatch", bound=_Batch)


@dataclass(frozen=True)
class Sampling:
    """`rate` is the share of predictions to log, `always` a SQL condition on the logged columns of those to log anyhow.

    An id is always or never drawn, in whatever process; of a ranking that of the query, so with all of its rows.
    Metrics and drift read the rows that were drawn by the rate: the others are no fair sample.
    """

    rate: float = 1.0
    always: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise DefinitionError(f"a rate of {self.rate} is not a share of predictions", hint="Write 0 to 1.")
        if self.always is not None:
            try:
                row_expression(self.always)
            except PolarsError as error:
                raise DefinitionError(
                    f"'{self.always}' is not a SQL condition: {error}",
                    hint="""Write for example: probability > 0.9 OR "weather:temp" IS NULL""",
                ) from None

    def spec(self) -> dict[str, Any]:
        return dict(vars(self))

    def drawn(self, ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which ids the rate draws, shape (rows,)."""
        most = self.rate * 2**32
        return np.fromiter((zlib.crc32(name.encode()) < most for name in ids), np.bool_, len(ids))

    def with_drawn(self, batches: list[_AnyBatch]) -> list[_AnyBatch]:
        """The batches with an id that the rate draws."""
        if self.rate >= 1:
            return batches
        named = [batch.drawn_by for batch in batches]
        drawn = self.drawn([name for names in named for name in names])
        starts = np.cumsum([0, *map(len, named)])
        places = np.searchsorted(starts, np.flatnonzero(drawn), side="right") - 1
        return [batches[place] for place in np.unique(places)]

    def kept(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows to log, with why in SAMPLED."""
        if self.rate >= 1:
            return frame.with_columns(pl.lit("rate").alias(SAMPLED))
        drawn = self.drawn(frame[QUERY_ID if QUERY_ID in frame.columns else "prediction_id"].to_list())
        why = pl.Series(SAMPLED, np.where(drawn, "rate", "rule"))
        kept = pl.Series(drawn)
        if self.always is not None:
            kept = kept | frame.select(row_expression(self.always).cast(pl.Boolean).fill_null(False)).to_series()
        return frame.with_columns(why).filter(kept)


EVERYTHING = Sampling()


class AppliedSampling:
    """The sampling of each model by the definitions that are applied, looked for again every few seconds."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata, self._looked = metadata, -1e9
        self._of: Mapping[str, Sampling] = {}

    def __call__(self, model: str) -> Sampling:
        if time.monotonic() - self._looked > _LOOK_AGAIN_SECONDS:
            self._looked = time.monotonic()
            try:
                specs = applied_specs(self._metadata)
                named = {key.partition(":")[2]: spec for key, spec in specs.items() if key.startswith("monitor:")}
                self._of = {name: Sampling(**spec["log"]) for name, spec in named.items()}
            except CarraraError:
                pass  # Metadata that is away does not stop the log: what was known goes on.
        return self._of.get(model, EVERYTHING)
