"""Message classes of the wire."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from carrara.core.messages import message_class, pool_of

_DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, e.g. `tensorflow.serving.PredictRequest`."""
    return message_class(_DESCRIPTORS, name, extra="serve", purpose="TensorFlow Serving's protocol")


def descriptor_pool() -> Any:
    """The pool that the messages are in."""
    return pool_of(_DESCRIPTORS)


@cache
def services() -> tuple[str, ...]:
    """The full names of the gRPC services that the files define."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes())
    return tuple(f"{file.package}.{service.name}" for file in files.file for service in file.service)
