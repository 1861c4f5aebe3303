"""The slices of a model, held against the columns that its rows will have, before anything is computed of them."""

from __future__ import annotations

import polars as pl

from carrara.core.columns import POLARS_TYPES, require_column
from carrara.core.errors import NotFoundError
from carrara.data.versions import read_dataset
from carrara.features.service import ResolvedFeatures
from carrara.storage.stores import Stores
from carrara.training.model import Model

_ARRAY = pl.List(pl.Float64())


def check_slices(stores: Stores, model: Model, service: ResolvedFeatures) -> None:
    """Raise for a slice of what the label's dataset and the features do not have, as soon as there is a dataset."""
    try:
        columns = read_dataset(stores, model.label.dataset).collect_schema()
    except NotFoundError:
        return
    schema = pl.Schema({**columns, **_feature_types(service)})
    where = f"model '{model.name}'"
    for name in model.slicing.names:
        if name not in model.slicing.expressions:
            require_column(schema, name, f"dataset '{model.label.dataset}', which {where} is sliced by,")
    model.slicing.check(schema, where)


def _feature_types(service: ResolvedFeatures) -> dict[str, pl.DataType]:
    views = (*(view for view, _ in service.stored), *service.on_demand)
    declared = {f"{view.name}:{name}": type_ for view in views for name, type_ in view.feature_types.items()}
    return {name: POLARS_TYPES.get(declared[name], _ARRAY) for name in service.features}
