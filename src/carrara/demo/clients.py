"""Two clients of the demo's server: TensorFlow Serving's gRPC, and its REST."""

from __future__ import annotations

import http.client
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.columns import as_numpy
from carrara.core.errors import UnavailableError
from carrara.core.plugins import require
from carrara.serving.protocols import tensorflow_serving as wire


class GrpcClient:
    """Asks by entity keys over gRPC."""

    def __init__(self, port: int) -> None:
        grpc = require("grpc", extra="serve", purpose="the gRPC client")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._predict = self._channel.unary_unary(wire.PREDICT)

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def predict(self, endpoint: str, rows: pl.DataFrame) -> np.ndarray[Any, Any] | None:
        """The probability of each row; None for no rows."""
        if rows.is_empty():
            return None
        inputs = {name: _sent(rows[name]) for name in rows.columns}
        _, outputs = wire.decode_response(self._predict(wire.encode_request(endpoint, inputs), timeout=30))
        return outputs["probability"]


class RestClient:
    """Asks by entity keys over REST, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def predict(self, endpoint: str, rows: pl.DataFrame) -> list[float]:
        """The probability of each row; UnavailableError with the server's reason when it refuses."""
        body = msgspec.json.encode({"instances": rows.to_dicts()})
        self._connection.request("POST", f"/v1/models/{endpoint}:predict", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = msgspec.json.decode(response.read())
        if response.status != 200:
            raise UnavailableError(f"the server answered {response.status}: {answer.get('error')}")
        found: list[float] = answer["predictions"]
        return found


def _sent(values: pl.Series) -> np.ndarray[Any, Any]:
    """Times travel as microseconds since the epoch."""
    array: np.ndarray[Any, Any] = as_numpy(values)
    return array.astype(np.int64) if array.dtype.kind == "M" else array
