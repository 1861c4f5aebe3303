"""What a model is trained on, where its definition says it: how many processes of which jobs, and their GPUs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from carrara.core.errors import DefinitionError


@dataclass(frozen=True)
class Compute:
    """So many `workers`, with so many parameter `servers` and an `evaluator` beside them, of which each has `gpus` of a
    Ray cluster. Where workers are lost for good, at least `min_workers` go on; 0 says that all are needed. Cores are
    shared evenly; memory and time are limits of the model.

    >>> Compute(workers=0)
    Traceback (most recent call last):
    carrara.core.errors.DefinitionError: Compute(workers=0) has nobody who trains
    """

    workers: int = 1
    servers: int = 0
    evaluator: bool = False
    gpus: int = 0
    min_workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise DefinitionError(f"Compute(workers={self.workers}) has nobody who trains")
        if self.servers < 0 or self.gpus < 0:
            raise DefinitionError(f"Compute(servers={self.servers}, gpus={self.gpus}): 0 is the least")
        if not 0 <= self.min_workers <= self.workers:
            raise DefinitionError(
                f"Compute(workers={self.workers}, min_workers={self.min_workers}): at least so many go on where some "
                "are lost, and no more than there are"
            )
        if self.evaluator and not self.servers:
            raise DefinitionError(
                "an evaluator measures what parameter servers hold, and there are none",
                hint="Compute(workers=2, servers=1, evaluator=True)",
            )

    def spec(self) -> dict[str, Any]:
        return asdict(self)
