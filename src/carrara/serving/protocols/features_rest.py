"""/v1/features:get: the features that a model reads, or any others, for entity keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from carrara.core.errors import NotFoundError, RequestError
from carrara.serving.contract import Choice
from carrara.serving.manager import ModelManager
from carrara.serving.protocols.http import HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_tensors import decode_json
from carrara.serving.protocols.problem import problem

if TYPE_CHECKING:
    from carrara.features.retrieval import FeatureValues

Read = Callable[[Sequence[str], Any], "FeatureValues"]
"""The values of features, by their references, for entities."""


def routes(manager: ModelManager, read: Read | None = None) -> list[Route]:
    """Without a `read` only what loaded models read can be asked."""

    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        data = as_mapping(decode_json(request.body), "the body")
        entities, wanted = data.get("entities"), data.get("features")
        if not isinstance(entities, dict | list) or not entities:
            raise RequestError("'entities' must be a list of objects, or an object of columns", field="entities")
        if wanted is not None and (not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted)):
            raise RequestError("'features' must be a list of references, such as view:feature", field="features")
        if "model" in data:
            return json_reply(_of_model(manager, data, entities, wanted))
        if read is None or not wanted:
            raise RequestError("the request names neither a 'model' nor 'features'", field="model")
        return json_reply(_as_json(read(wanted, entities), wanted))

    return [Route("POST", re.compile("/v1/features:get"), answer, problem)]


def _of_model(
    manager: ModelManager, data: Mapping[str, Any], entities: Any, wanted: list[str] | None
) -> dict[str, Any]:
    name, version, label = data["model"], data.get("version"), data.get("label", "")
    if not isinstance(name, str) or not isinstance(label, str) or not (version is None or type(version) is int):
        raise RequestError("'model' and 'label' are strings, and 'version' is a number", field="model")
    with manager.acquire(Choice(name, version, label)) as predictor:
        read = getattr(predictor, "read_features", None)
        if read is None:
            raise RequestError(f"{name} is served from a folder and reads no features", field="model")
        values: FeatureValues = read(entities)
        return {"model": name, "version": predictor.version, **_as_json(values, wanted)}


def _as_json(values: FeatureValues, wanted: Sequence[str] | None) -> dict[str, Any]:
    """The features as columns; a missing one is null."""
    for reference in wanted or ():
        if reference not in values.columns:
            raise NotFoundError("feature", reference, values.columns)
    columns = {reference: values.columns[reference].tolist() for reference in wanted or values.columns}
    return {"features": columns, "fallbacks": dict(values.fallbacks)}
