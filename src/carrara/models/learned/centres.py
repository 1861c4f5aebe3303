"""The centres of clusters, and how far a row is from each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from carrara.models.learned.forest import Array, Floats


@dataclass(frozen=True)
class Centres:
    """`centres` have shape (clusters, columns); `rows` are the training rows of each cluster."""

    columns: tuple[str, ...]
    centres: Floats
    rows: tuple[int, ...]

    def distances(self, rows: Array) -> Floats:
        """Of shape (rows, clusters); `rows` have shape (rows, columns)."""
        away = rows.astype(np.float64)[:, None, :] - self.centres[None, :, :]
        return np.asarray(np.sqrt((away**2).sum(axis=2)))

    def as_dict(self) -> dict[str, Any]:
        """The columns by how far the centres are apart in them."""
        order = np.argsort(-np.ptp(self.centres, axis=0), kind="stable")
        named = [{"column": self.columns[n], "centres": self.centres[:, n].tolist()} for n in order]
        return {"kind": "clusters", "rows": list(self.rows), "centres": named}


def read_centres(learned: Mapping[str, bytes]) -> Centres | None:
    """The centres among the learned files of a version, None where there are none."""
    if not learned.get("learned.json", b"").startswith(b'{"centres"'):
        return None
    found = msgspec.json.decode(learned["learned.json"])
    return Centres(tuple(found["features"]), np.array(found["centres"], np.float64), tuple(found["rows"]))
