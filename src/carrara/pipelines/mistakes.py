"""The rows that a model gets wrong, as its record keeps them: who and when, label, answer, the features that matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from carrara.data.rows import Rows, rows_at
from carrara.data.schema_file import schema_of
from carrara.data.versions import dataset_version
from carrara.evaluation.mistakes import mistakes
from carrara.features.service import ResolvedFeatures
from carrara.pipelines.scoring import row_columns
from carrara.storage.stores import Stores
from carrara.training.model import Model

_MOST_FEATURES, _MOST_TEXT = 12, 200


def mistaken_rows(
    stores: Stores,
    model: Model,
    service: ResolvedFeatures,
    rows: Rows,
    labels: Any,
    scores: Any,
    *,
    classes: Sequence[str],
    importance: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Each sort of mistake with its rows: by `place` among the test rows, with what they are told by, the label, the
    `score`, and the most important features. What is declared personal is left out: a record outlives a person's row.
    """
    found = mistakes(labels, scores, kind=model.label.kind, threshold=model.threshold, classes=classes, seed=model.seed)
    places = sorted({place for one in found for place in (*one.drawn, *one.worst)})
    names = _columns(stores, model, service, rows, importance)
    told = dict(zip(places, rows_at(rows, names, places).iter_rows(named=True), strict=True)) if places else {}

    def row(place: int) -> dict[str, Any]:
        cells = {name: _plain(value) for name, value in told[place].items()}
        return {"place": place, "score": np.asarray(scores[place]).tolist(), **cells}

    return [
        {
            "sort": one.sort,
            "count": one.count,
            "share": one.share,
            "drawn": [row(place) for place in one.drawn],
            "worst": [row(place) for place in one.worst],
        }
        for one in found
    ]


def _columns(
    stores: Stores, model: Model, service: ResolvedFeatures, rows: Rows, importance: Mapping[str, float]
) -> list[str]:
    features = sorted(importance, key=lambda name: -importance[name])[:_MOST_FEATURES]
    asked = dict.fromkeys((*model.label.columns, *row_columns(service, model.label.time), *features))
    personal = personal_columns(stores, model, service)
    return [name for name in asked if name in rows.schema and name not in personal]


def personal_columns(stores: Stores, model: Model, service: ResolvedFeatures) -> set[str]:
    """The features, and the columns of the label's dataset, that tell of a person."""
    views = (*(view for view, _ in service.stored), *service.on_demand)
    features = {f"{view.name}:{name}" for view in views for name, one in view.declared.items() if one.pii}
    dataset = model.label.dataset
    schema = schema_of(stores.root, dataset, {"schema": dataset_version(stores, dataset).schema})
    return features | {name for name, one in (schema.columns if schema else {}).items() if one.pii}


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value[:_MOST_TEXT] if isinstance(value, str) else value
