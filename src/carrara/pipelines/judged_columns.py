"""What a model is judged by, held against the columns that its rows will have, before anything is computed of them."""

from __future__ import annotations

import polars as pl

from carrara.core.columns import POLARS_TYPES, require_column
from carrara.core.errors import DefinitionError, NotFoundError
from carrara.data.versions import read_dataset
from carrara.evaluation.flip_gates import FlipsAtMost, FlipsFromChampionAtMost
from carrara.features.service import ResolvedFeatures
from carrara.storage.stores import Stores
from carrara.training.model import Model

_ARRAY = pl.List(pl.Float64())


def check_judged_columns(stores: Stores, model: Model, service: ResolvedFeatures) -> None:
    """Raise for a gate that swaps what is no feature, and for a slice of what the label's dataset and the features do
    not have, as soon as there is a dataset."""
    check_swaps(model, service)
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


def require_binary(model: Model, whose: str) -> None:
    """Raise for a model whose answers cannot turn, as they are not true or false."""
    if model.label.kind != "binary":
        raise DefinitionError(
            f"the answers of {whose} cannot turn: its label is a {model.label.kind} one",
            hint="Flips are of answers that are true or false.",
        )


def check_swaps(model: Model, service: ResolvedFeatures) -> None:
    """Raise for a gate that swaps what is no feature, or of a model whose answers cannot turn."""
    for gate in model.gates:
        if isinstance(gate, FlipsAtMost | FlipsFromChampionAtMost):
            require_binary(model, f"model '{model.name}'")
        if isinstance(gate, FlipsAtMost):
            gate.swap.typed(_feature_types(service), f"the gates of model '{model.name}'")


def _feature_types(service: ResolvedFeatures) -> dict[str, pl.DataType]:
    views = (*(view for view, _ in service.stored), *service.on_demand)
    declared = {f"{view.name}:{name}": type_ for view in views for name, type_ in view.feature_types.items()}
    return {name: POLARS_TYPES.get(declared[name], _ARRAY) for name in service.features}
