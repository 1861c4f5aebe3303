"""What serving needs of a loaded model version, and of what an endpoint should serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from carrara.core.stages import Stage
from carrara.models.signature import Signature
from carrara.serving.traffic import Traffic


class Prediction(NamedTuple):
    """Named output tensors of `row_count` rows; `record` is what the prediction log takes."""

    outputs: dict[str, np.ndarray[Any, Any]]
    signature_name: str
    row_count: int
    record: Any = None
    features: Mapping[str, np.ndarray[Any, Any]] = MappingProxyType({})
    """What was read for the entity keys of the request, by reference."""
    padding: int = 0
    """Rows that the run was made up with."""
    run: Stage | None = None
    """What the run spent its time on, where that is watched."""


class Predictor(Protocol):
    """One loaded model version, safe to call from many threads."""

    model: str
    version: int
    id: str
    """What no other version is called, whatever it is deployed as: the digest of its files, or what its lineage calls
    it; empty where it has none."""
    path: str
    """Where its files lie."""
    signatures: dict[str, Signature]
    file_bytes: int
    """What its files have, together: the least that it takes in memory."""
    most_rows: int
    """Of requests that are joined in one run; 0 where the server's number holds."""

    def signature_for(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> str:
        """The signature that is meant by inputs of these names, where a request names none."""

    def predict(self, inputs: Mapping[str, np.ndarray[Any, Any]], signature_name: str = "") -> Prediction:
        """Outputs for named input columns; RequestError or NotFoundError for what cannot be answered."""

    def warm_up(self) -> int:
        """Run once, so that the first request is not the slow one; how many recorded requests were run for that."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Target:
    """One version that an endpoint should serve."""

    endpoint: str
    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint should serve now; who asks for no version is answered by `primary`, else by the newest."""

    name: str
    targets: tuple[Target, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    """Names for versions, such as `stable` and `canary`."""
    primary: int | None = None
    traffic: Traffic | None = None
    """What other versions take of the traffic, and which are asked as shadows."""


class Choice(NamedTuple):
    """Which version of an endpoint a request asks for: a number, a label, or none, for the primary or the newest.

    `drawn` says that the number is the traffic's choice: where it cannot answer, the primary does.
    """

    endpoint: str
    version: int | None = None
    label: str = ""
    drawn: bool = False
