"""What a run measures while it runs: to the metadata store, for whoever watches, and to files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

from carrara.metadata.run_metrics import LiveMetrics
from carrara.pipelines.event_files import EventFiles, folder_of_run
from carrara.storage.stores import Stores


class Measures:
    """Of one run; `logs` is its folder for TensorBoard."""

    def __init__(self, stores: Stores, run_id: str) -> None:
        self.logs = folder_of_run(stores, run_id)
        self._live, self._events = LiveMetrics(stores.metadata, run_id), EventFiles(self.logs)

    def add(self, name: str, step: int, value: float) -> None:
        self._live.add(name, step, value)
        self._events.add(name, step, value)

    def report(self, number: int, loss: float) -> None:
        """The validation loss after a round."""
        self.add("validation loss", number, loss)

    def paced(self, number: int, figures: Mapping[str, float]) -> None:
        """How long the steps of a round took, by the name of a metric."""
        for name, value in figures.items():
            self.add(name, number, value)

    def flush(self) -> None:
        self._live.flush()
        self._events.flush()
