"""Message classes from descriptor files of our own, each file in a pool of its own.

Generated classes would put other projects' message names into the process-wide pool, where their own libraries
(`import tensorflow`, `import feast`) fail on them; a private pool leaves it alone, in either order.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from carrara.core.plugins import require


def message_class(descriptors: Path, name: str, *, extra: str, purpose: str) -> Any:
    """The class of a message by its full name; MissingExtra names `extra` where protobuf is not installed."""
    require("google.protobuf", extra=extra, purpose=purpose)
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(pool_of(descriptors).FindMessageTypeByName(name))


@cache
def pool_of(descriptors: Path) -> Any:
    """The pool that the messages of a file are in."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
