"""What a run measures as files that TensorBoard reads while it runs: `tensorboard --logdir .carrara/tensorboard`.

An event file is TFRecords of the message `tensorflow.Event`. Of it only numbers are written here, by hand: a time, a
step, and a value under a tag. Each part and each process of a run has a folder of its own, so that TensorBoard draws
what has one tag, such as `loss`, into one chart.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from carrara.core.tfrecords import write_record
from carrara.storage.stores import Stores

_MOST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
"""Of a float32."""

_SECONDS = 1.0
_NOT_IN_NAMES = re.compile(r"[^\w.=@-]+")


def folder_of_run(stores: Stores, run_id: str) -> Path:
    """Where the event files of a run are, on the machine that ran it."""
    return stores.root / ".carrara" / "tensorboard" / run_id


def delete_events_of_no_run(stores: Stores, known: Collection[str], before: datetime) -> None:
    """Delete what is older than a moment and of a run that is not known any more, on this machine."""
    for folder in folder_of_run(stores, "any").parent.glob("*"):
        if folder.name not in known and folder.stat().st_mtime < before.timestamp():
            shutil.rmtree(folder, ignore_errors=True)


class EventFiles:
    """The files of one run, in its folder, written once a second; where one cannot be, the run goes on without it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._written = time.monotonic() - _SECONDS

    def add(self, name: str, step: int, value: float) -> None:
        """Take a value of a metric; of `validation loss` the folder is `validation` and the tag `loss`."""
        of, _, tag = name.rpartition(" ")
        self._waiting.setdefault(of, []).append(write_record(encode_event(time.time(), step, tag, value)))
        if time.monotonic() - self._written >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for of, records in self._waiting.items():
            with suppress(OSError), self._file(of).open("ab") as file:
                file.write(b"".join(records))
        self._waiting, self._written = {}, time.monotonic()

    def _file(self, of: str) -> Path:
        if of not in self._files:
            folder = self._folder / _NOT_IN_NAMES.sub("-", of)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
            path.write_bytes(write_record(_float64(1, time.time()) + _bytes(3, b"brain.Event:2")))
            self._files[of] = path
        return self._files[of]


def encode_event(at: float, step: int, tag: str, value: float) -> bytes:
    """A `tensorflow.Event` with a number: `wall_time` 1, `step` 2, `summary` 5, whose `value` 1 has a `tag` 1 and a
    `simple_value` 2.

    >>> encode_event(1.5, 300, "loss", 0.25).hex(" ")
    '09 00 00 00 00 00 00 f8 3f 10 ac 02 2a 0d 0a 0b 0a 04 6c 6f 73 73 15 00 00 80 3e'
    """
    number = b"\x15" + struct.pack("<f", value if not math.isfinite(value) else max(-_MOST, min(value, _MOST)))
    return _float64(1, at) + b"\x10" + _varint(step) + _bytes(5, _bytes(1, _bytes(1, tag.encode()) + number))


def _float64(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
