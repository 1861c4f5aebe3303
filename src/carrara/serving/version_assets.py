"""What a version's folder says beside its model, as TensorFlow Serving has it: requests to be warmed up with, settings
of its session, and what its lineage calls it."""

from __future__ import annotations

import logging
from pathlib import Path

from carrara.core.errors import DataError
from carrara.serving.protocols.messages import message
from carrara.serving.warm_up import WARM_UP_FILE

LINEAGE_FILE = "assets.extra/mlmd_uuid"
SESSION_FILE = "assets.extra/saved_model_config.pb"

_INSTEAD = {
    "remote_op_remap_config": "no graph is run on other machines",
    "batch_op_rewriter_config": "operations of a graph that batch by themselves do so as the graph says",
    "disable_meta_optimizer": "TensorFlow optimises the graphs of all versions, or with its own variables of none",
    "tfrt_runtime_config": "a SavedModel is run by TensorFlow's own runtime",
}
"""What holds instead of each setting that a session may have."""

_MOST_LINEAGE = 256

_logger = logging.getLogger("carrara.serving")


def recorded_requests(folder: Path) -> bytes:
    """The requests that a version brings to be warmed up with, if it does."""
    path = folder / WARM_UP_FILE
    return path.read_bytes() if path.is_file() else b""


def lineage_id(folder: Path) -> str:
    """What ML Metadata calls a version, where its folder says that; DataError where that is no name."""
    path = folder / LINEAGE_FILE
    if not path.is_file():
        return ""
    found = path.read_bytes()[: 2 * _MOST_LINEAGE].decode("utf-8", "replace").strip()
    if not found.isprintable() or not 0 < len(found) <= _MOST_LINEAGE:
        raise DataError(f"{path} names no lineage", hint=f"It holds one name of at most {_MOST_LINEAGE} characters.")
    return found


def session_settings(folder: Path) -> list[str]:
    """The settings that a version has for its session, by name; DataError where they cannot be read."""
    path = folder / SESSION_FILE
    if not path.is_file():
        return []
    try:
        found = message("tensorflow.serving.SavedModelConfig").FromString(path.read_bytes())
    except Exception as error:
        raise DataError(f"Unable to parse SavedModelConfig: {path}: {error}") from error
    names = [field.name for part in (found.session_overrides, found) for field, _ in part.ListFields()]
    return [name for name in names if name in _INSTEAD]


def tell_session_settings(folder: Path, where: str) -> None:
    """Say in the log what a version asks of its session that has no effect here; DataError as `session_settings`."""
    for name in session_settings(folder):
        _logger.warning("%s asks for %s, which has no effect: %s", where, name, _INSTEAD[name])
