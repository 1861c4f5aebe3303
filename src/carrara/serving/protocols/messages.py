"""Message classes of the wire."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from carrara.core.messages import message_class

_DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, e.g. `tensorflow.serving.PredictRequest`."""
    return message_class(_DESCRIPTORS, name, extra="serve", purpose="TensorFlow Serving's protocol")
