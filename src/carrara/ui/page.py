"""What a page is: a function from a workspace and what was asked for to a template and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from carrara.core.errors import CarraraError
from carrara.metadata.access import Token
from carrara.ui.desk import Desk

PAGE_ROWS = 50


@dataclass(frozen=True)
class Page:
    """A page: `data` are what its `.json` twin holds and its template reads; `drawn` only the template reads."""

    template: str
    title: str
    data: dict[str, Any]
    drawn: dict[str, Any] = field(default_factory=dict)
    live: bool = False


@dataclass(frozen=True)
class Asked:
    """A request as pages see it: the names in its path, its filters, and who asks."""

    path: str
    names: Mapping[str, str]
    filters: Mapping[str, tuple[str, ...]]
    token: Token
    at: datetime

    def __getitem__(self, name: str) -> str:
        return self.names[name]

    def get(self, name: str) -> str | None:
        """A filter's value; None where it is not given, or empty."""
        return next((value for value in self.filters.get(name, ()) if value), None)

    def all(self, name: str) -> list[str]:
        return [value for value in self.filters.get(name, ()) if value]

    def number(self, name: str, default: int | None = None) -> int | None:
        text = self.names.get(name) or self.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise CarraraError(f"'{text[:40]}' is not a number", hint=f"Write {name}=1, for example.")
        return int(text)

    @property
    def page(self) -> int:
        return max(self.number("page", 1) or 1, 1)

    @property
    def offset(self) -> int:
        return (self.page - 1) * PAGE_ROWS

    def with_filters(self, **changed: Any) -> str:
        """The address of this page with some filters changed; None takes one away."""
        kept = {name: list(values) for name, values in self.filters.items() if name != "page"}
        for name, value in changed.items():
            kept[name] = [] if value is None else [str(value)]
        query = urlencode([(name, value) for name, values in kept.items() for value in values if value])
        return f"{self.path}?{query}" if query else self.path


PageFunction = Callable[[Desk, Asked], Page]


def address(*parts: object) -> str:
    """The path of an object; every name is one segment, whatever it holds.

    >>> address("datasets", "a/b", 3), address("datasets", "x.json"), address("datasets", "..")
    ('/datasets/a%2Fb/3', '/datasets/x%2Ejson', '/datasets/%2E%2E~')
    """
    return "/" + "/".join(_segment(str(part)) for part in parts)


def _segment(text: str) -> str:
    segment = quote(text, safe=":@~")
    if text in (".", ".."):  # Browsers take these for folders, encoded or not.
        return segment.replace(".", "%2E") + "~"
    return segment[:-5] + "%2Ejson" if segment.endswith(".json") else segment


def name_of(segment: str) -> str:
    """The name that a segment of a path stands for.

    >>> name_of("..~"), name_of("late")
    ('..', 'late')
    """
    return segment[:-1] if segment in (".~", "..~") else segment


def paged(asked: Asked, total: int) -> dict[str, Any]:
    """Where a list stands: which rows are shown, of how many."""
    last = max(1, -(-total // PAGE_ROWS))
    page = min(asked.page, last)
    return {"page": page, "pages": last, "total": total}
