"""Names: of Feast's, which may be any text, to Python identifiers that are each given once."""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import dataclass, field

_RESERVED = {"carrara", "nw"}
"""What the written module imports."""


def identifier(name: str) -> str:
    """The Python identifier nearest to a name.

    >>> identifier("vendor-2"), identifier("2nd"), identifier("class"), identifier("über")
    ('vendor_2', '_2nd', 'class_', 'über')
    """
    # Python itself reads identifiers in this form, so that a function's name would differ from what is written.
    made = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name)) or "_"
    if not made.isidentifier():
        made = f"_{made}"
    if not made.isidentifier():
        made = re.sub(r"[^A-Za-z0-9_]", "_", made)
    return f"{made}_" if keyword.iskeyword(made) or made in _RESERVED or _is_modules_own(made) else made


def _is_modules_own(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@dataclass
class Names:
    """Names that were given, so that none is given twice."""

    taken: set[str] = field(default_factory=set)

    def give(self, *wanted: str) -> str:
        """The first of `wanted` that is free, or the last with a number."""
        last = wanted[-1]
        number = 2
        for name in wanted:
            if name not in self.taken:
                self.taken.add(name)
                return name
        while f"{last}_{number}" in self.taken:
            number += 1
        self.taken.add(f"{last}_{number}")
        return f"{last}_{number}"
