"""The client's wire over gRPC: TensorFlow Serving's Predict."""

from __future__ import annotations

from typing import Any

from carrara.core.plugins import require
from carrara.serving.client.base import Array, Busy, Columns, Refused
from carrara.serving.protocols.tensorflow_serving import PREDICT, decode_response, encode_request
from carrara.serving.transports.base import MAX_MESSAGE_BYTES

_AGAIN = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")


class GrpcWire:
    """One channel, which connects when it is first asked.

    With `tls` it is encrypted: PEM texts of the roots to trust, and of the key and the certificate that are shown, each
    None for what is usual.
    """

    def __init__(self, target: str, token: str, tls: tuple[bytes | None, bytes | None, bytes | None] | None) -> None:
        self._grpc: Any = require("grpc", extra="serve", purpose="the client over gRPC")
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if tls is None:
            self._channel = self._grpc.insecure_channel(target, options)
        else:
            self._channel = self._grpc.secure_channel(target, self._grpc.ssl_channel_credentials(*tls), options)
        self._predict = self._channel.unary_unary(PREDICT)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def predict(
        self, endpoint: str, inputs: Columns, *, version: int | None, signature_name: str, seconds: float
    ) -> tuple[int, dict[str, Array]]:
        data = encode_request(endpoint, inputs, signature_name, version)
        try:
            return decode_response(self._predict(data, timeout=seconds, metadata=self._metadata))
        except self._grpc.RpcError as error:
            code, text = error.code().name, error.details() or ""
            if code in _AGAIN:
                raise Busy(code, f"'{endpoint}': {text}", _pushback(error)) from None
            raise Refused(code, text, endpoint) from None

    def close(self) -> None:
        self._channel.close()


def _pushback(error: Any) -> float | None:
    """How long a server asks to wait, in seconds."""
    for name, value in error.trailing_metadata() or ():
        if name == "retry-after" and str(value).isdigit():
            return float(value)
    return None
