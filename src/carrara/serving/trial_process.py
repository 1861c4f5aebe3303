"""The process of a trial: `python -m carrara.serving.trial_process FOLDER` serves what lies there, and asks it.

With an address, HOST:PORT, it asks a server there instead, once that says that the version is available.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.errors import CarraraError
from carrara.core.failpoints import reach
from carrara.models.runtimes.base import Servable, open_servable
from carrara.models.signature import DEFAULT_SIGNATURE, NUMPY_TYPES, Signature
from carrara.serving.contract import Choice, Endpoint, Prediction, Target
from carrara.serving.trial import EXPECTED, FOUND, LACKING, NAME, ROWS, SERVABLE, SPEC, WITHOUT

_NAME = NAME
_TIMEOUT_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5

Array = np.ndarray[Any, Any]
Ask = Callable[[Mapping[str, Array]], dict[str, Array]]


class _Wrong(Exception):
    """The artifact is not safe to serve."""


class _Predictor:
    """The artifact as a loaded version."""

    model, version, file_bytes, most_rows = _NAME, 1, 0, 0
    id = path = ""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable
        self.signatures = {DEFAULT_SIGNATURE: servable.signature}

    def signature_for(self, inputs: Mapping[str, Array]) -> str:
        return DEFAULT_SIGNATURE

    def predict(self, inputs: Mapping[str, Array], signature_name: str = "") -> Prediction:
        rows = self._servable.signature.check(inputs, _NAME)
        return Prediction(self._servable.run(inputs), DEFAULT_SIGNATURE, rows)

    def warm_up(self) -> int:
        self._servable.warm_up()
        return 0

    def close(self) -> None:
        self._servable.close()


def main(folder: Path, address: str = "") -> None:
    spec = msgspec.json.decode((folder / SPEC).read_bytes())
    signature = Signature.from_dict(spec["signature"])
    rows, expected = pl.read_parquet(folder / ROWS), np.load(folder / EXPECTED, allow_pickle=False)
    found: dict[str, Any] = {"reason": "", "rows": rows.height}
    try:
        with (
            _served_at(address, folder, signature) if address else _served_here(spec["format"], folder, signature) as (
                figures,
                ask,
            )
        ):
            found |= figures
            times = _ask_each(ask, signature, rows, expected)
            found |= _ask_without(ask, signature, folder / LACKING, expected[rows.height :])
        if times:
            found |= {"p50_ms": float(np.quantile(times, 0.5)), "p99_ms": float(np.quantile(times, 0.99))}
    except _Wrong as error:
        found["reason"] = str(error)
    except Exception as error:
        text = error.message if isinstance(error, CarraraError) else f"{type(error).__name__}: {error}"
        found["reason"] = text[:1_000]
    (folder / FOUND).write_bytes(msgspec.json.encode(found))


def _ask_without(ask: Ask, signature: Signature, path: Path, expected: Array) -> dict[str, Any]:
    """What came of asking for the rows that lack features, if there are any."""
    if not path.exists():
        return {}
    lacking = pl.read_parquet(path)
    called = [f"a row without {one}" for one in lacking[WITHOUT]]
    try:
        _ask_each(ask, signature, lacking, expected, called)
    except _Wrong as error:
        return {"null_rows": lacking.height, "nulls": str(error)}
    return {"null_rows": lacking.height, "nulls": ""}


def _ask_each(
    ask: Ask, signature: Signature, rows: pl.DataFrame, expected: Array, called: Sequence[str] = ()
) -> list[float]:
    """Ask for each row alone, and check its answer; the milliseconds of each, without the first of all. `called` is
    what each row is called."""
    inputs, times = signature.tensors(rows), []
    called = called or [f"row {place}" for place in range(rows.height)]
    for place in range(rows.height):
        one = {name: values[place : place + 1] for name, values in inputs.items()}
        begun = time.perf_counter()
        outputs = ask(one)
        times.append((time.perf_counter() - begun) * 1_000)
        _check(outputs, signature, expected[place : place + 1], called[place])
    return times[1:] or times


def _check(outputs: Mapping[str, Array], signature: Signature, expected: Array, row: str) -> None:
    for spec in signature.outputs:
        if spec.name not in outputs:
            raise _Wrong(f"its signature has an output '{spec.name}', and it answered {', '.join(outputs)}")
        found = outputs[spec.name]
        shape = spec.shape or (None,) * found.ndim  # a rank that is not known fits any
        fits = all(size is None or size == there for size, there in zip(shape[1:], found.shape[1:], strict=False))
        if found.ndim != len(shape) or len(found) != 1 or not fits:
            raise _Wrong(f"its output '{spec.name}' has the shape {list(found.shape)}, and not {list(shape)}")
        if found.dtype.kind != NUMPY_TYPES[spec.dtype].kind:
            raise _Wrong(f"its output '{spec.name}' is of {found.dtype}, and not of {spec.dtype}")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise _Wrong(f"its output '{spec.name}' is {found.ravel()[0]} for {row}")
    first = outputs[signature.outputs[0].name]
    if first.dtype.kind == "f" and not np.allclose(first, expected, _RELATIVE, _ABSOLUTE):
        raise _Wrong(f"it answers {first.ravel()[0]:.6g} to {row}, and was evaluated with {expected.ravel()[0]:.6g}")


@contextmanager
def _served_here(format_name: str, folder: Path, signature: Signature) -> Iterator[tuple[dict[str, Any], Ask]]:
    """The artifact in this process, behind the real servers: what it took to load, and how to ask."""
    before, begun = _memory(), time.perf_counter()
    servable = open_servable(format_name, folder / SERVABLE, signature)
    servable.warm_up()
    figures = {"load_seconds": time.perf_counter() - begun, "memory_bytes": max(_memory() - before, 0)}
    reach("trial.loaded")
    with _asking(servable) as (through, ask):
        yield {**figures, "through": through}, ask


@contextmanager
def _served_at(address: str, folder: Path, signature: Signature) -> Iterator[tuple[dict[str, Any], Ask]]:
    """A server that was started on the artifact's folder: how long until it was available, and how to ask."""
    import grpc

    from carrara.models.runtimes.onnx import folder_feed
    from carrara.serving.protocols import tensorflow_serving as wire

    feed, begun = folder_feed(folder / SERVABLE, signature), time.perf_counter()
    with grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        _until_available(channel.unary_unary(wire.GET_MODEL_STATUS))
        seconds = time.perf_counter() - begun
        ask = _through(channel.unary_unary(wire.PREDICT))
        yield {"load_seconds": seconds, "through": "its gRPC server"}, lambda inputs: ask(feed(inputs))


def _until_available(status: Any) -> None:
    """Wait until the server has the version; whoever started this process ends it where that is never.

    Raises _Wrong with what the server says where it cannot load it.
    """
    import grpc

    from carrara.serving.protocols.messages import message

    asked = message("tensorflow.serving.GetModelStatusRequest")()
    asked.model_spec.name = _NAME
    while True:
        try:
            answer = status(asked.SerializeToString(), timeout=_TIMEOUT_SECONDS)
            found = message("tensorflow.serving.GetModelStatusResponse").FromString(answer).model_version_status
            if any(one.state == one.AVAILABLE for one in found):
                return
            errors = [one.status.error_message for one in found if one.status.error_code]
            if errors:
                raise _Wrong(f"the server cannot load it: {errors[0][:500]}")
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
                raise _Wrong(f"the server answered {error.code().name}: {error.details()}") from None
        time.sleep(_PAUSE_SECONDS)


def _through(call: Any) -> Ask:
    import grpc

    from carrara.serving.protocols import tensorflow_serving as wire

    def ask(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return wire.decode_response(call(wire.encode_request(_NAME, inputs), timeout=_TIMEOUT_SECONDS))[1]
        except grpc.RpcError as error:
            raise _Wrong(f"the server answered {error.code().name}: {error.details()}") from None

    return ask


@contextmanager
def _asking(servable: Servable) -> Iterator[tuple[str, Ask]]:
    """How to ask the servable, and through what: over gRPC, where the servers are installed."""
    if any(importlib.util.find_spec(name) is None for name in ("grpc", "httptools")):
        yield "its runtime (carrara[serve] is not installed)", servable.run
        return
    import grpc

    from carrara.serving.manager import ModelManager
    from carrara.serving.protocols import tensorflow_serving as wire
    from carrara.serving.server import ModelServer

    target = Target(_NAME, _NAME, 1)
    manager = ModelManager(lambda: [Endpoint(_NAME, (target,))], lambda wanted: _Predictor(servable))
    server = ModelServer(manager, grpc_port=0, rest_port=0)
    server.start()
    try:
        with manager.acquire(Choice(_NAME)), grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            yield "the gRPC server", _through(channel.unary_unary(wire.PREDICT))
    finally:
        server.stop(0)


def _memory() -> int:
    """The memory of this process in bytes, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
