"""The requests of a model's `logging_config`, sampled, as TFRecords of PredictionLog: what its warm-up file takes.

Requests only put what is theirs into a queue; a thread writes it, so that no request waits for a disk.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carrara.core.tfrecords import write_record
from carrara.serving.contract import Prediction
from carrara.serving.metrics import Metrics
from carrara.serving.outbox import Outbox
from carrara.serving.protocols.prediction_logs import LoggedCall, encode_log
from carrara.serving.requests import Request, rows_of

Array = np.ndarray[Any, Any]

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 10_000
_MOST_BYTES = 64 << 20
"""Of one file; then there is another."""

_logger = logging.getLogger("carrara.serving")


@dataclass(frozen=True)
class Logging:
    """Of one model: what the names of its files begin with, and which share of its requests they take."""

    prefix: str
    share: float


@dataclass(frozen=True)
class _Kept:
    """One call of a run: `part` is the first of its rows and their number, None where all are its own."""

    logging: Logging
    request: Request
    inputs: Mapping[str, Array]
    prediction: Prediction
    version: int
    part: tuple[int, int] | None
    moment: float = field(default_factory=time.time)

    def of(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        start, rows = self.part or (0, 0)
        return {name: array[start : start + rows] if self.part else array for name, array in arrays.items()}


class RequestLog:
    """Writes PREFIX-MODEL-TIME-PID.tfrecord files; `logged` says of which models, at any moment. Thread-safe.

    What a full disk does not take is lost and told in the server's log.
    """

    def __init__(
        self, logged: Callable[[], Mapping[str, Logging]], metrics: Metrics | None = None, *, seed: int | None = None
    ) -> None:
        self._logged, self._metrics, self._random = logged, metrics or Metrics(), random.Random(seed)
        self._files: dict[str, Path] = {}
        self._outbox = Outbox(
            "request-log",
            self._deliver,
            most=_MOST_WAITING,
            seconds=_FLUSH_SECONDS,
            told="the request logs lack %d requests",
        )

    def ran(
        self, requests: Sequence[Request], inputs: Mapping[str, Array], prediction: Prediction, version: int
    ) -> None:
        """Take a sample of the calls that shared a run of a version; their rows are one after the other."""
        found = self._logged().get(requests[0].choice.endpoint)
        if found is None:
            return
        start, calls = 0, sum(one.calls for one in requests)
        for request in requests:
            rows = rows_of(request) // request.calls
            for _ in range(request.calls):
                if self._random.random() < found.share:
                    self._outbox.put(
                        _Kept(found, request, inputs, prediction, version, (start, rows) if calls > 1 else None)
                    )
                start += rows

    def close(self) -> None:
        """Write what waits."""
        self._outbox.close()

    def _deliver(self, calls: list[_Kept]) -> int:
        lost = 0
        records: dict[tuple[str, Path], list[bytes]] = {}
        for kept in calls:
            endpoint = kept.request.choice.endpoint
            path = self._file(kept.logging.prefix, endpoint)
            records.setdefault((endpoint, path), []).append(write_record(_record(kept)))
        for (endpoint, path), written in records.items():
            status = "OK"
            try:
                with path.open("ab") as file:
                    file.write(b"".join(written))
            except OSError as error:
                lost += len(written)
                status = "UNAVAILABLE"
                _logger.warning("the request log %s is not written: %s", path, error)
            self._metrics.logged(endpoint, status, len(written))
        return lost

    def _file(self, prefix: str, endpoint: str) -> Path:
        """The file that takes a model's records now."""
        path = self._files.get(prefix + endpoint)
        if path is None or (path.exists() and path.stat().st_size > _MOST_BYTES):
            stamp = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{time.time_ns() % 1_000_000:06d}"
            path = self._files[prefix + endpoint] = Path(f"{prefix}-{endpoint}-{stamp}.tfrecord")
        return path


def _record(kept: _Kept) -> bytes:
    """A PredictionLog of one call: its rows of a run, with the inputs in the types of the signature."""
    inputs, outputs = kept.of(kept.inputs), kept.of(kept.prediction.outputs)
    endpoint, signature = kept.request.choice.endpoint, kept.prediction.signature_name
    call = LoggedCall(endpoint, kept.version, signature, inputs, outputs)
    return encode_log(call, seconds=kept.moment, share=kept.logging.share)
