"""Plug-ins by entry points, and libraries of extras with an error that names the extra."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from carrara.core.errors import MissingExtra, NotFoundError


def plugin(group: str, name: str, *, kind: str) -> Any:
    """The object that the entry point `name` of `group` stands for, imported now.

    >>> plugin("carrara.trainers", "xgbost", kind="trainer")
    Traceback (most recent call last):
    carrara.core.errors.NotFoundError: there is no trainer 'xgbost'
      Did you mean 'xgboost'?
    """
    found = _entry_points(group)
    if name not in found:
        raise NotFoundError(kind, name, found)
    return found[name].load()


def plugins(group: str) -> list[Any]:
    """Every object of a group, imported now; each once, in the order of their names."""
    return list(dict.fromkeys(point.load() for _, point in sorted(_entry_points(group).items())))


def require(library: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a library of an extra; MissingExtra names the extra when it is not installed."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != library.split(".")[0]:
            raise
        raise MissingExtra(library, extra, purpose) from error


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in _installed().select(group=group)}


@cache
def _installed() -> Any:
    """Those of all that is installed, read once: to read them takes as long for one group as for all."""
    return entry_points()
