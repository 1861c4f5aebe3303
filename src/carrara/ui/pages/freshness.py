"""How fresh the feature views are, looked up for everybody at once: it reads every view's online mark."""

from __future__ import annotations

from carrara.pipelines.prepare import stored_views
from carrara.pipelines.status import FeatureStatus, feature_status
from carrara.ui.desk import Desk

_SECONDS = 15.0


def freshness(desk: Desk) -> list[FeatureStatus]:
    """Every view's status, at most seconds old. Raises what is wrong with the definitions."""
    definitions = desk.definitions()
    stores = desk.workspace.stores

    def look() -> list[FeatureStatus]:
        return feature_status(stores, definitions, stored_views(definitions, ()))

    return desk.kept(("freshness", id(definitions)), _SECONDS, look)
