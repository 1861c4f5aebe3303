"""Load in a process of its own: calls of gRPC that are due at moments of their own, whatever became of those before.

`python open_loop.py PORT RATE SECONDS < message` prints as JSON how they ended, and after how long.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

import grpc

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Offered:
    """How calls ended, by their status; `useful` are answered a second; the median wait of who was refused, seconds."""

    ended: dict[str, int]
    useful: float
    refused_after: float


def offered(port: int, data: bytes, rate: float, seconds: float) -> Offered:
    """What another process sees that asks a server at a rate."""
    command = [sys.executable, __file__, str(port), str(rate), str(seconds)]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return Offered(**json.loads(done.stdout))


def _offer(port: int, data: bytes, rate: float, seconds: float) -> Offered:
    ended: Counter[str] = Counter()
    refused: list[float] = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(PREDICT)
        ask(data, timeout=20)
        began, waiting = time.monotonic(), []
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent = time.monotonic()
            call = ask.future(data, timeout=20)
            call.add_done_callback(
                lambda one, sent=sent: (
                    refused.append(time.monotonic() - sent) if one.code() != grpc.StatusCode.OK else None
                )
            )
            waiting.append(call)
        ended.update(call.code().name for call in waiting)
        took = time.monotonic() - began
    return Offered(dict(ended), ended["OK"] / took, sorted(refused)[len(refused) // 2] if refused else 0.0)


if __name__ == "__main__":
    port, rate, seconds = sys.argv[1:]
    found = _offer(int(port), sys.stdin.buffer.read(), float(rate), float(seconds))
    print(json.dumps(found.__dict__))
