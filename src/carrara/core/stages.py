"""What a piece of work spends its time on, for whoever watches it: stages, and the stages within them.

Nobody watches by default, and then a stage costs a look at one variable.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(slots=True)
class Stage:
    """A stretch of work, in nanoseconds since 1970; `error` is the kind of the error that ended it."""

    name: str
    about: dict[str, Any]
    began: int = 0
    ended: int = 0
    error: str = ""
    parts: list[Stage] = field(default_factory=list)


_CURRENT: ContextVar[Stage | None] = ContextVar("stage", default=None)


class Watched:
    """A stage that is timed; an error that leaves it carries the outermost one with it (see `stage_of`)."""

    __slots__ = ("_token", "stage")

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __enter__(self) -> Stage:
        self._token: Token[Stage | None] = _CURRENT.set(self.stage)
        self.stage.began = time.time_ns()
        return self.stage

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stage.ended = time.time_ns()
        _CURRENT.reset(self._token)
        if error is not None:
            self.stage.error = type(error).__name__
            error.__dict__["stage"] = self.stage


class _Unwatched:
    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_UNWATCHED = _Unwatched()


def watched(name: str, **about: Any) -> Watched:
    """Watch a block of work and the stages in it.

    >>> with watched("answer") as found:
    ...     with stage("read", rows=2):
    ...         pass
    >>> [(part.name, part.about) for part in found.parts]
    [('read', {'rows': 2})]
    """
    return Watched(Stage(name, about))


def stage(name: str, **about: Any) -> Watched | _Unwatched:
    """A block that is a stage of what is being watched, if anything is."""
    current = _CURRENT.get()
    if current is None:
        return _UNWATCHED
    made = Stage(name, about)
    current.parts.append(made)
    return Watched(made)


def stage_of(error: BaseException) -> Stage | None:
    """The outermost watched stage that an error has left."""
    found: Stage | None = error.__dict__.get("stage")
    return found
