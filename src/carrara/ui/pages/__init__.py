"""The pages, a file per noun: each a function from a desk and what was asked for to a `Page`.

To add one: write the function and its template, and name it here; its `.json` twin and its events come by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from carrara.ui.page import PageFunction
from carrara.ui.pages import (
    access,
    comparison,
    datasets,
    endpoints,
    features,
    lineage,
    models,
    monitoring,
    overview,
    predictions,
    runs,
    schedules,
    trees,
    tuning,
)


@dataclass(frozen=True)
class PageRoute:
    path: str
    function: PageFunction


PAGES = (
    PageRoute("/", overview.overview),
    PageRoute("/datasets", datasets.index),
    PageRoute("/datasets/{name}/diff", datasets.diff),
    PageRoute("/datasets/{name}/schema", datasets.schema),
    PageRoute("/datasets/{name}/schema/proposal", datasets.proposal),
    PageRoute("/datasets/{name}/{version}", datasets.show),
    PageRoute("/datasets/{name}", datasets.show),
    PageRoute("/features", features.index),
    PageRoute("/features/{feature}/over-time", features.over_time),
    PageRoute("/features/{feature}", features.show),
    PageRoute("/runs", runs.index),
    PageRoute("/runs/compare", runs.compare),
    PageRoute("/runs/{run}", runs.show),
    PageRoute("/models", models.index),
    PageRoute("/models/{name}", models.show),
    PageRoute("/models/{name}/compare", comparison.compare),
    PageRoute("/models/{name}/trials", tuning.trials),
    PageRoute("/models/{name}/{version}", models.version),
    PageRoute("/models/{name}/{version}/trees", trees.trees),
    PageRoute("/endpoints", endpoints.index),
    PageRoute("/endpoints/{name}", endpoints.show),
    PageRoute("/monitoring", monitoring.index),
    PageRoute("/monitoring/{name}/{version}", monitoring.show),
    PageRoute("/monitoring/{name}/{version}/predictions/{prediction}", predictions.show),
    PageRoute("/lineage", lineage.graph),
    PageRoute("/schedules", schedules.index),
    PageRoute("/audit", access.audit),
)
