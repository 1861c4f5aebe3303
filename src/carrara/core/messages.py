"""Message classes from descriptor files of our own, each file in a pool of its own.

Generated classes would put other projects' message names into the process-wide pool, where their own libraries
(`import tensorflow`, `import feast`) fail on them; a private pool leaves it alone, in either order.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

from carrara.core.plugins import require


def message_class(descriptors: Path, name: str, *, extra: str, purpose: str) -> Any:
    """The class of a message by its full name; MissingExtra names `extra` where protobuf is not installed."""
    require("google.protobuf", extra=extra, purpose=purpose)
    from google.protobuf import message_factory

    with _making:
        return message_factory.GetMessageClass(_pool(descriptors).FindMessageTypeByName(name))


def pool_of(descriptors: Path) -> Any:
    """The pool that the messages of a file are in."""
    with _making:
        return _pool(descriptors)


_making = threading.Lock()
"""Two threads that make a pool at once would make two, and messages of one do not fit into those of the other."""


@cache
def _pool(descriptors: Path) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
