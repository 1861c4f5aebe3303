"""TensorFlow Serving's own client, unchanged: its published stubs, in a process of their own.

They put TensorFlow's message names into protobuf's process-wide pool, and take seconds to import: one process asks
for all tests.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STUBS = Path(sys.prefix) / "stubs"
Call = tuple[str, dict[str, Any]]


class RealStubs:
    """Asks the server at a port; replies are protobuf's JSON, or a code and details."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, port: int, *calls: Call) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"port": port, "calls": calls}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def real_stubs() -> Iterator[RealStubs]:
    assert STUBS.is_dir(), "make test installs TensorFlow Serving's client stubs; see scripts/tensorflow-serving-stubs"
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("real_stubs_process.py"))],
        env={**os.environ, "PYTHONPATH": str(STUBS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield RealStubs(process)
        process.stdin.close()


def content(tensor: dict[str, Any], form: str = "f") -> list[float]:
    """The numbers of a tensor of a reply."""
    data = base64.b64decode(tensor["tensor_content"])
    return list(struct.unpack(f"<{len(data) // struct.calcsize(form)}{form}", data))
