"""A trial of an artifact: another process serves it with the real servers, and asks it with real rows.

What dies, hangs or answers wrongly there does it there, and not where requests wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.evaluation.serving_gates import MOST_ROWS
from carrara.evaluation.trial import Trial
from carrara.models.runtimes.base import OF_FOLDERS, TRANSFORMS
from carrara.models.signature import Signature
from carrara.serving.trial_servers import try_server

SPEC, ROWS, EXPECTED, FOUND = "spec.json", "rows.parquet", "expected.npy", "found.json"
NAME = "trial"
"""What the artifact is called where it is tried."""

SERVABLE = f"{NAME}/1"
"""The artifact's folder: the first version in a folder of versions, as servers of folders have them."""

LACKING = "lacking.parquet"
WITHOUT = "_carrara_without"
"""The column that says which features a row lacks."""

_MOST_SAID = 300


def try_to_serve(
    files: Mapping[str, bytes],
    *,
    format: str,
    signature: Signature,
    rows: pl.DataFrame,
    expected: np.ndarray[Any, Any],
    within_seconds: float,
    servers: Sequence[str] = (),
    tries: int = 1,
    lacking: pl.DataFrame | None = None,
) -> Trial:
    """Serve `files` in a process of its own, and ask for each of `rows` (the signature's columns) alone; then in each
    of the `servers`, commands that `SafeToServe` has looked at. What fails is tried again, `tries` times in all.

    `expected` is what its first output was when it was evaluated, one element a row; of the rows that are `lacking`
    features (see WITHOUT) it is behind those.
    """
    with tempfile.TemporaryDirectory(prefix="carrara-trial-") as name:
        folder = Path(name)
        for path, data in files.items():
            target = folder / SERVABLE / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (folder / SPEC).write_bytes(msgspec.json.encode({"format": format, "signature": signature.as_dict()}))
        rows.write_parquet(folder / ROWS)
        if lacking is not None and lacking.height:
            lacking.write_parquet(folder / LACKING)
        np.save(folder / EXPECTED, expected, allow_pickle=False)
        trial, count = _tried(folder, format, servers, within_seconds), 1
        while trial["reason"] and count < tries:
            trial, count = _tried(folder, format, servers, within_seconds), count + 1
    size = sum(len(data) for data in files.values())
    return Trial.from_dict({**trial, "bytes": size, "tries": count})


def without_numbers(rows: pl.DataFrame, signature: Signature) -> pl.DataFrame:
    """Rows that lack one number each, in turn, and one that lacks all; WITHOUT says what."""
    numbers = [spec.name for spec in signature.inputs if spec.dtype.startswith("float") and spec.shape == (None,)]
    each = [[name] for name in numbers[:MOST_ROWS]]
    made = [
        rows.slice(place % rows.height, 1).with_columns(
            *(pl.lit(None, rows.schema[name]).alias(name) for name in names),
            pl.lit(f"'{names[0]}'" if len(names) == 1 else "any number").alias(WITHOUT),
        )
        for place, names in enumerate([*each, numbers] if numbers and rows.height else [])
    ]
    return pl.concat(made) if made else rows.clear().with_columns(pl.lit("").alias(WITHOUT))


def _tried(folder: Path, format: str, servers: Sequence[str], within_seconds: float) -> dict[str, Any]:
    """Once, in a process of ours and in each server; what is found first to be wrong is the reason."""
    asking, found = [sys.executable, "-m", "carrara.serving.trial_process", str(folder)], folder / FOUND
    found.unlink(missing_ok=True)
    reason = _served(asking, found, within_seconds)
    trial = msgspec.json.decode(found.read_bytes()) if found.exists() and not reason else {"reason": reason}
    if trial["reason"] or not servers:
        return dict(trial)
    if format not in OF_FOLDERS or (folder / SERVABLE / TRANSFORMS).exists():
        return {**trial, "reason": f"its format, {format}, is one that servers of folders do not open"}
    asked = [try_server(one, folder / NAME, asking, found, NAME, within_seconds) for one in servers]
    wrong = next((f"{one['command']}: {one['reason']}" for one in asked if one["reason"]), "")
    return {**trial, "servers": asked, "reason": wrong}


def _served(command: list[str], found: Path, within_seconds: float) -> str:
    """Run the trial; why it came to no result, if it did not."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            _, said = process.communicate(timeout=within_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"it had not answered after {within_seconds:g} s"
    if process.returncode < 0:
        return f"its process died of {signal.Signals(-process.returncode).name}"
    if process.returncode:
        last = said.strip().splitlines()[-1:] or ["it said nothing"]
        return f"its process ended with {process.returncode}: {last[0][:_MOST_SAID]}"
    return "" if found.exists() else "its process ended without a result"
