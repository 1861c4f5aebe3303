"""Parts of an endpoint's traffic as people write them, on the command line and in a form."""

from __future__ import annotations

import math

from carrara.core.errors import CarraraError


def share_of(text: str) -> float:
    """A part of the traffic as people write it.

    >>> share_of("10%"), share_of("0.1")
    (0.1, 0.1)
    """
    number = text.strip().removesuffix("%")
    try:
        part = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        part = math.nan
    if not math.isfinite(part):
        raise CarraraError(f"'{text[:40]}' is not a part of the traffic", hint="Write e.g. 10% or 0.1.")
    return part


def shares_of(text: str) -> dict[str, float]:
    """The parts of a split as people write them.

    >>> shares_of("3=50, champion=50%")
    {'3': 50.0, 'champion': 0.5}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, separator, share = part.partition("=")
        if not separator or not name.strip() or name.strip() in found:
            raise CarraraError(
                f"'{text[:80]}' is not a split", hint="Write VERSION=SHARE,VERSION=SHARE, e.g. 3=50,4=50."
            )
        found[name.strip()] = share_of(share)
    return found
