"""The process in which a user's own Python answers: this file is run alone, by whichever Python the model brings.

It needs NumPy and nothing of Carrara. Messages go both ways over a pair of pipes: a length, JSON, and raw bytes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]

LENGTHS = struct.Struct("<II")


def read(stream: BinaryIO) -> tuple[Any, bytes] | None:
    """The JSON and the bytes of the next message, or None at the end."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, raw = LENGTHS.unpack(lengths)
    return json.loads(stream.read(head)), stream.read(raw)


def write(stream: Any, head: Any, raw: bytes = b"") -> None:
    """One message; OSError where nobody reads it."""
    data = json.dumps(head).encode()
    stream.write(LENGTHS.pack(len(data), len(raw)) + data + raw)
    stream.flush()


def pack(tensors: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bytes]:
    """Named arrays as a description and bytes; texts go in the description."""
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, values in tensors.items():
        array = np.asarray(values)
        one: dict[str, Any] = {"name": name, "shape": array.shape, "dtype": array.dtype.name}
        if array.dtype.kind in "OUS":
            texts = [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in array.ravel()]
            is_bytes = any(isinstance(value, bytes) for value in array.ravel())
            one |= {"dtype": "bytes" if is_bytes else "string", "texts": texts}
        else:
            raw.append(np.ascontiguousarray(array).tobytes())
            one["size"] = len(raw[-1])
        described.append(one)
    return described, b"".join(raw)


def unpack(described: Sequence[Mapping[str, Any]], raw: bytes) -> dict[str, Array]:
    """The arrays that `pack` has described."""
    tensors: dict[str, Array] = {}
    start = 0
    for one in described:
        if "texts" in one:
            texts = [text.encode("latin-1") for text in one["texts"]] if one["dtype"] == "bytes" else one["texts"]
            array: Array = np.empty(len(texts), dtype=object)
            array[:] = texts
        else:
            array = np.frombuffer(raw[start : start + one["size"]], one["dtype"])
            start += one["size"]
        tensors[one["name"]] = array.reshape(one["shape"])
    return tensors


def load(folder: str) -> Any:
    """The `Model` of a folder's model.py."""
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location("model", os.path.join(folder, "model.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model(folder)


def main(folder: str, requests: BinaryIO, replies: BinaryIO) -> None:
    """Load the model, say what it is, and answer until the requests end."""
    try:
        model = load(folder)
        write(replies, {"inputs": model.inputs, "outputs": model.outputs})
    except BaseException as error:
        traceback.print_exc()
        write(replies, {"error": f"{type(error).__name__}: {error}"})
        return
    while (message := read(requests)) is not None:
        try:
            described, raw = pack(model.predict(**unpack(message[0], message[1])))
            write(replies, {"outputs": described}, raw)
        except Exception as error:
            traceback.print_exc()
            write(replies, {"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "rb") as incoming, os.fdopen(int(sys.argv[3]), "wb") as outgoing:
        main(sys.argv[1], incoming, outgoing)
