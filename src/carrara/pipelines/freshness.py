"""How far every feature view is behind in the online store, for Prometheus."""

from __future__ import annotations

from carrara.core.clock import from_microseconds
from carrara.core.definitions import Definitions
from carrara.core.metrics import FEATURE_AGE_SECONDS
from carrara.features.online import online_table, read_mark
from carrara.pipelines.prepare import entity_of, stored_views
from carrara.storage.stores import Stores


def measure_freshness(stores: Stores, definitions: Definitions) -> None:
    """Set the age of each view that was materialised."""
    for view in stored_views(definitions):
        mark = read_mark(stores.online, online_table(view, entity_of(definitions, view)))
        if mark is not None and mark.since is not None:
            age = (stores.clock() - from_microseconds(mark.since)).total_seconds()
            FEATURE_AGE_SECONDS.labels(view.name).set(age)
