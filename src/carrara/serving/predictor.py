"""A loaded model version that predicts by features or by entity keys, in a server and in the caller's process."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from carrara.core.clock import Clock, microseconds
from carrara.core.definitions import Definitions
from carrara.core.errors import NotFoundError, RequestError
from carrara.core.identity import new_ids
from carrara.core.stages import stage
from carrara.features.model_features import features_of_model
from carrara.features.retrieval import FeatureValues, Retriever
from carrara.models.registry import ModelVersion, open_version, recorded_definitions, warm_up_of
from carrara.models.runtimes.base import Servable
from carrara.models.signature import (
    DEFAULT_SIGNATURE,
    ENTITIES_SIGNATURE,
    EVENT_TIME,
    PREDICTION_ID,
    QUERY_ID,
    entities_signature,
)
from carrara.models.version_files import SERVABLE
from carrara.monitoring.logged_predictions import LoggedPredictions
from carrara.serving.contract import Prediction
from carrara.storage.stores import Stores

Array = np.ndarray[Any, Any]


class ModelPredictor:
    """One version: its servable, and the features that it reads. Thread-safe."""

    def __init__(
        self,
        version: ModelVersion,
        servable: Servable,
        retriever: Retriever,
        clock: Clock,
        file_bytes: int = 0,
        *,
        query: str | None = None,
        warm_up_requests: bytes = b"",
    ) -> None:
        self.file_bytes, self.most_rows = file_bytes, 0
        self.model, self.version, self.id, self.path = version.model, version.version, version.manifest, str(version)
        self.retriever, self._warm_up_requests = retriever, warm_up_requests
        self._query = query
        """The column that names the query of a ranking."""
        self._servable, self._clock = servable, clock
        self._own = {spec.name for spec in servable.signature.inputs}
        self.signatures = {
            DEFAULT_SIGNATURE: servable.signature,
            ENTITIES_SIGNATURE: entities_signature(
                retriever.service.keys, retriever.service.request, servable.signature, query=query
            ),
        }

    def predict(self, inputs: Mapping[str, Array], signature_name: str = "") -> Prediction:
        """Predict from features, or from entity keys whose features are read; RequestError names a bad input."""
        name = signature_name or self.signature_for(inputs)
        if name not in self.signatures:
            raise NotFoundError("signature", name, self.signatures, where=f"{self.model}@{self.version}")
        if name == DEFAULT_SIGNATURE:
            rows = self._servable.signature.check(inputs, f"{self.model}@{self.version}")
            return self._answered(name, rows, inputs, inputs, {}, {}, {})
        return self._by_entities(inputs)

    def read_features(self, entities: Any) -> FeatureValues:
        """What this version reads for entities, a mapping of columns or a list of mappings; RequestError else."""
        return self.retriever.ask(entities, self._clock())

    def warm_up(self) -> int:
        """Run once, and each of the requests that came with the version; DataError where one cannot be."""
        self._servable.warm_up()
        if not self._warm_up_requests:
            return 0
        from carrara.serving.warm_up import warm_up

        return warm_up(self, self._warm_up_requests)

    def close(self) -> None:
        self._servable.close()

    def signature_for(self, inputs: Mapping[str, Array]) -> str:
        """By features where all that is given are features, else by entity keys."""
        return DEFAULT_SIGNATURE if inputs and self._own.issuperset(inputs) else ENTITIES_SIGNATURE

    def _by_entities(self, inputs: Mapping[str, Array]) -> Prediction:
        service = self.retriever.service
        full = self._with_defaults(inputs)
        rows = self.signatures[ENTITIES_SIGNATURE].check(full, f"{self.model}@{self.version}")
        keys = {name: full[name] for name in service.keys}
        request = {name: full[name] for name in service.request}
        at = _times(full)
        with stage("features.read", rows=rows):
            features = self.retriever.features(keys, request, at)
        given = {EVENT_TIME: at, PREDICTION_ID: full[PREDICTION_ID]}
        if self._query is not None:
            given[QUERY_ID] = full[self._query] if self._query in full else full[QUERY_ID]
        return self._answered(ENTITIES_SIGNATURE, rows, features.columns, features, keys, request, given)

    def _with_defaults(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values()))) if inputs else 0
        full = dict(inputs)
        if EVENT_TIME not in full:
            full[EVENT_TIME] = self._now(rows).view("datetime64[us]")
        if PREDICTION_ID not in full:
            full[PREDICTION_ID] = np.array(new_ids(rows), dtype=object)
        if self._query is not None and not {self._query, QUERY_ID} & set(full):
            full[QUERY_ID] = _one_query(rows)
        for key in self.retriever.service.keys:
            if key not in full:
                raise self._missing(key, inputs)
        return full

    def _now(self, rows: int) -> Array:
        """This moment for each row, int64 microseconds."""
        found: Array = np.empty(rows, np.int64)
        found.fill(microseconds(self._clock()))
        return found

    def _missing(self, key: str, inputs: Mapping[str, Array]) -> RequestError:
        known = [spec.name for spec in self.signatures[ENTITIES_SIGNATURE].inputs]
        unknown = [name for name in inputs if name not in known]
        written = difflib.get_close_matches(key, unknown, n=1)
        message = f"the entity key '{key}' of {self.model}@{self.version} is missing"
        hint = f"'{written[0]}' was given." if written else f"Give {', '.join(self.retriever.service.keys)}."
        return RequestError(message, field=key, hint=hint)

    def _answered(
        self,
        name: str,
        rows: int,
        inputs: Mapping[str, Array],
        features: Mapping[str, Array],
        keys: Mapping[str, Array],
        request: Mapping[str, Array],
        given: Mapping[str, Array],
    ) -> Prediction:
        with stage("model.run", rows=rows):
            outputs = self._servable.run(inputs)
        record = LoggedPredictions(
            model=self.model,
            version=self.version,
            ids=list(given[PREDICTION_ID]) if given else new_ids(rows),
            event_times=given[EVENT_TIME] if given else self._now(rows),
            keys=keys,
            request=request,
            features=features,
            outputs=outputs,
            queries=None if self._query is None else given.get(QUERY_ID, _one_query(rows)),
        )
        return Prediction(outputs, name, rows, record, features if keys else {})


def open_predictor(stores: Stores, version: ModelVersion) -> ModelPredictor:
    """Load a registered version; DataError when features that it reads were never materialised."""
    definitions = recorded_definitions(stores, version)
    retriever = _retriever(stores, version, definitions)
    retriever.check()
    files = stores.artifacts.manifest(version.manifest)
    size = sum(int(one["bytes"]) for name, one in files.items() if name.startswith(SERVABLE))
    label = definitions.of_kind("model")[version.model].label
    query = getattr(label, "group", None)
    servable, requests = open_version(stores, version), warm_up_of(stores, version)
    return ModelPredictor(version, servable, retriever, stores.clock, size, query=query, warm_up_requests=requests)


def retriever_of(stores: Stores, version: ModelVersion) -> Retriever:
    """What reads a version's features, by the definitions that were recorded with it."""
    return _retriever(stores, version, recorded_definitions(stores, version))


def _retriever(stores: Stores, version: ModelVersion, definitions: Definitions) -> Retriever:
    model = definitions.of_kind("model")[version.model]
    return Retriever(features_of_model(definitions, model, where=f"model '{version}'"), stores.online)


def _one_query(rows: int) -> Array:
    """The rows of a call that names no query are one."""
    return np.full(rows, new_ids(1)[0], object)


def _times(inputs: Mapping[str, Array]) -> Array:
    return inputs[EVENT_TIME].astype("datetime64[us]", copy=False).astype(np.int64)
