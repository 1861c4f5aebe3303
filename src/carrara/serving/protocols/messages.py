"""Message classes of the wire, from our own descriptors in a pool of their own.

Generated classes would put TensorFlow's message names into the process-wide pool, where `import tensorflow`
fails on them; a private pool leaves it alone, in either order.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from carrara.core.plugins import require

_DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, e.g. `tensorflow.serving.PredictRequest`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@cache
def _pool() -> Any:
    require("google.protobuf", extra="serve", purpose="TensorFlow Serving's protocol")
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
