"""When a model is trained again, beside its schedule: when enough has arrived. When something has changed, an alert of
its monitor says so: `carrara.alert(…, then="retrain")`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule


@dataclass(frozen=True)
class Retrain:
    """What a scheduler looks for at the moments of `check`, against the newest version of a model.

    `rows` is how many labels have to have become known since it was trained. With `new_rows` training goes on from the
    champion, or else from the newest version, on the rows alone that it has not seen.

    >>> Retrain(rows=0)
    Traceback (most recent call last):
    carrara.core.errors.DefinitionError: Retrain(rows=0) would always train
    """

    rows: int
    new_rows: bool = False
    check: str = "@hourly"

    def __post_init__(self) -> None:
        if self.rows <= 0:
            raise DefinitionError(f"Retrain(rows={self.rows}) would always train")
        Schedule.of(self.check)

    def spec(self) -> dict[str, Any]:
        return asdict(self)
