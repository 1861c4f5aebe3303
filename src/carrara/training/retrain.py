"""When a model is trained again, beside its schedule: when enough has arrived, or when what is asked has changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from carrara.core.clock import duration
from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule


@dataclass(frozen=True)
class Retrain:
    """What a scheduler looks for at the moments of `check`, against the newest version of a model.

    `rows` is how many labels have to have become known since it was trained; `drift` is the population stability index
    that a feature has to have, in the predictions that were logged in the last `window`, against the version's training
    rows. Fewer than `least` predictions tell nothing. After a version was registered, its drift is looked at again when
    a whole `window` is over. With `new_rows` training goes on from the champion, or else from the newest version, on
    the rows alone that it has not seen.

    >>> Retrain()
    Traceback (most recent call last):
    carrara.core.errors.DefinitionError: Retrain() says neither after how many rows, nor at which drift
      e.g. Retrain(rows=10_000, drift=0.25)
    """

    rows: int | None = None
    drift: float | None = None
    window: str = "7d"
    least: int = 500
    new_rows: bool = False
    check: str = "@hourly"

    def __post_init__(self) -> None:
        if self.rows is None and self.drift is None:
            raise DefinitionError(
                "Retrain() says neither after how many rows, nor at which drift",
                hint="e.g. Retrain(rows=10_000, drift=0.25)",
            )
        for name in ("rows", "drift"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise DefinitionError(f"Retrain({name}={value}) would always train")
        duration(self.window)
        Schedule.of(self.check)

    def spec(self) -> dict[str, Any]:
        return asdict(self)
