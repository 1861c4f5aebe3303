"""What a user declares of predictions that are made again and again: of which rows, by which model, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrara.core.errors import DefinitionError
from carrara.core.schedule import Schedule
from carrara.models.address import parse_address


@dataclass(frozen=True)
class BatchPrediction:
    """The dataset `name` holds what `model` predicts for the newest rows of `dataset`.

    A scheduler makes its next version at the moments of `schedule`. `model` is an address, a name alone means the
    champion; `time` is the column that says of when a row is, by default `event_time`, or the moment of the prediction.

    >>> BatchPrediction("scored", model="late@champion", dataset="trips", time="at", schedule="@daily").spec()["model"]
    'late@champion'
    """

    name: str
    model: str
    dataset: str
    time: str | None = None
    schedule: str | None = None

    kind = "batch prediction"

    def __post_init__(self) -> None:
        parse_address(self.model)
        if self.name == self.dataset:
            raise DefinitionError(f"the batch prediction '{self.name}' would write over the rows that it predicts")
        if self.schedule is not None:
            Schedule.of(self.schedule)

    def spec(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "name"}
