"""JSON of everything that commands and pages show: dataclasses, times, NumPy's numbers."""

from __future__ import annotations

from typing import Any

import msgspec


def to_json(value: Any) -> bytes:
    """UTF-8 JSON; NaN is null, and what has `as_dict` is that.

    >>> to_json({"a": float("nan"), "b": (1, "é")})
    b'{"a":null,"b":[1,"\\xc3\\xa9"]}'
    """
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if hasattr(value, "item"):
        return value.item()
    if hasattr(value, "__dict__"):
        return vars(value)
    return str(value)
