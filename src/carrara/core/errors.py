"""The tree of errors: each says what happened, where, the nearest right name, and what to do.

CarraraError
├── ConfigurationError         carrara.toml cannot be used                    exit 2
├── DefinitionError            a definitions file cannot be used              exit 2
│   ├── DefinitionCycle        definitions that need each other
│   └── DuplicateDefinition    two definitions of one name
├── NotFoundError              an unknown dataset, view, model, version, …    exit 1
├── DataError                  a table that is not what was declared          exit 1
│   ├── ColumnMissing          a column that is not there
│   ├── ColumnTypeMismatch     a column of another type
│   ├── MalformedFile          a line of a file that is not what its format says
│   └── TimeWithoutZone        a time that names no zone
├── CheckFailed                a validation or a gate said no                 exit 3
├── MissingExtra               a library of an extra is not installed         exit 1
├── StorageError               bytes that cannot be read or written           exit 1
│   ├── CorruptArtifact        bytes that are not what was recorded
│   └── Overtaken              another writer made the next version first
├── TrainingError              a model that cannot be trained                 exit 1
├── RequestError               a prediction request that cannot be answered   exit 1
├── AccessError                who asks may not                               exit 1
│   ├── Unauthenticated        no token, or one that is not valid
│   └── Forbidden              a token whose role does not reach
└── UnavailableError           a server or version that is not ready          exit 1
    ├── BeingLoaded            a model that is asked is on its way into memory
    ├── Overloaded             more is asked than is let in
    └── DeadlinePassed         the client no longer waits for the answer
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class CarraraError(Exception):
    """Base of all errors that Carrara raises for a user.

    `message` says what happened and where, `hint` what to do; both are for people.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigurationError(CarraraError):
    exit_code = 2


class DefinitionError(CarraraError):
    exit_code = 2


class DefinitionCycle(DefinitionError):
    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(
            f"definitions need each other in a circle: {' → '.join(path)}",
            hint="Remove one of these inputs.",
        )
        self.path = tuple(path)


class DuplicateDefinition(DefinitionError):
    def __init__(self, kind: str, name: str, places: Sequence[str]) -> None:
        super().__init__(f"{kind} '{name}' is defined twice: {' and '.join(places)}", hint="Rename one of them.")
        self.kind, self.name, self.places = kind, name, tuple(places)


class NotFoundError(CarraraError):
    """Something that was named is not there; carries the nearest right name.

    >>> str(NotFoundError("model", "late_arival", ["late_arrival", "fare"]))
    "there is no model 'late_arival'\\n  Did you mean 'late_arrival'?"
    """

    def __init__(
        self, kind: str, name: str, candidates: Iterable[str] = (), *, where: str = "", hint: str = ""
    ) -> None:
        known = sorted(set(candidates))
        message = f"there is no {kind} '{name}'" + (f" (asked by {where})" if where else "")
        super().__init__(message, hint=hint or did_you_mean(name, known) or f"Known: {_listed(known)}.")
        self.kind, self.name, self.candidates, self.where = kind, name, known, where


class DataError(CarraraError):
    pass


class ColumnMissing(DataError):
    def __init__(self, column: str, where: str, columns: Iterable[str]) -> None:
        known = list(columns)
        super().__init__(
            f"{where} has no column '{column}'",
            hint=did_you_mean(column, known) or f"It has: {_listed(known)}.",
        )
        self.column, self.where, self.columns = column, where, known


class ColumnTypeMismatch(DataError):
    def __init__(self, column: str, where: str, expected: str, found: str, *, hint: str = "") -> None:
        super().__init__(
            f"column '{column}' of {where} is {found}, and {expected} was declared",
            hint=hint or "Correct the declaration, or cast the column where it is made.",
        )
        self.column, self.where, self.expected, self.found = column, where, expected, found


class TimeWithoutZone(DataError):
    def __init__(self, column: str, where: str) -> None:
        super().__init__(
            f"the times in '{column}' of {where} name no zone",
            hint='Say which they are in: .dt.replace_time_zone("UTC") in a function, 2013-10-01T06:00:00Z in a file.',
        )
        self.column, self.where = column, where


class MalformedFile(DataError):
    def __init__(self, path: object, line: int, what: str, *, column: str = "", hint: str = "") -> None:
        super().__init__(f"{path}, line {line}: {what}", hint=hint)
        self.path, self.line, self.column = str(path), line, column


class CheckFailed(CarraraError):
    """A validation or a gate said no; `reasons` lists every one."""

    exit_code = 3

    def __init__(self, message: str, reasons: Sequence[str] = (), *, hint: str = "") -> None:
        super().__init__("\n  ".join([message, *reasons]), hint=hint)
        self.reasons = tuple(reasons)


class MissingExtra(CarraraError):
    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the library '{library}', which is not installed",
            hint=f"pip install 'carrara[{extra}]'",
        )
        self.library, self.extra = library, extra


class StorageError(CarraraError):
    pass


class CorruptArtifact(StorageError):
    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(
            f"artifact '{name}' is corrupt: its digest is {found[:12]}… and {expected[:12]}… was recorded",
            hint="It was changed or damaged after it was registered; restore it from a backup or train again.",
        )
        self.name, self.expected, self.found = name, expected, found


class Overtaken(StorageError):
    def __init__(self, kind: str, name: str, newest: int | None) -> None:
        super().__init__(
            f"{kind} '{name}' got version {newest} from another writer meanwhile; nothing was recorded",
            hint="Run it again: it goes on from that version.",
        )
        self.kind, self.name, self.newest = kind, name, newest


class TrainingError(CarraraError):
    pass


class RequestError(CarraraError):
    """A prediction request that cannot be answered; `field` names the input at fault."""

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class AccessError(CarraraError):
    pass


class Unauthenticated(AccessError):
    """What was wrong with a token is not said: who has none learns nothing."""

    def __init__(self) -> None:
        super().__init__("this needs a valid token", hint="carrara token create NAME makes one.")


class Forbidden(AccessError):
    def __init__(self, name: str, role: str, needed: str) -> None:
        super().__init__(
            f"'{name}' is {_article(role)}, and this needs {_article(needed)}", hint="Ask an admin for such a token."
        )
        self.name, self.role, self.needed = name, role, needed


class UnavailableError(CarraraError):
    pass


class BeingLoaded(UnavailableError):
    def __init__(self, endpoint: str) -> None:
        super().__init__(f"endpoint '{endpoint}' is being loaded", hint="Ask again in a moment.")
        self.endpoint = endpoint


class Overloaded(UnavailableError):
    pass


class DeadlinePassed(UnavailableError):
    pass


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A sentence that names the nearest candidate, or an empty string when none is near.

    >>> did_you_mean("weathr:temp", ["weather:temp", "plane:seats"])
    "Did you mean 'weather:temp'?"
    """
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else ""


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _listed(names: Sequence[str], limit: int = 12) -> str:
    if not names:
        return "none yet"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
