"""How much of an endpoint is let in at a time: what is beyond its limit is refused before its model is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from carrara.core.errors import Overloaded, RequestError


@dataclass(frozen=True)
class Limit:
    """Of one endpoint; `rows` are those of one request; 0 is no limit. What was not used may be made up for within one
    second."""

    requests_per_second: float = 0.0
    concurrent: int = 0
    rows: int = 0

    def shared_by(self, processes: int) -> Limit:
        """The part of one of several processes, over which the system spreads connections."""
        return Limit(self.requests_per_second / processes, -(-self.concurrent // processes), self.rows)


@dataclass
class _Use:
    """What is used of a limit: requests under way, and those that may come in at a moment."""

    limit: Limit
    moment: float
    allowance: float
    under_way: int = 0

    def take(self, calls: int, moment: float) -> str:
        """Let calls in, or say which limit they exceed."""
        rate = self.limit.requests_per_second
        most = max(1.0, rate)
        self.allowance = min(most, self.allowance + (moment - self.moment) * rate)
        self.moment = moment
        if self.limit.concurrent and self.under_way + calls > self.limit.concurrent:
            return f"{self.limit.concurrent} requests at a time"
        if rate and self.allowance < calls:
            return f"{rate:g} requests a second"
        self.allowance -= calls
        self.under_way += calls
        return ""


class Limits:
    """The limits of endpoints by name; one that has none is let in. Thread-safe."""

    def __init__(self, limits: Mapping[str, Limit], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._used = {name: _Use(limit, clock(), max(1.0, limit.requests_per_second)) for name, limit in limits.items()}

    def __bool__(self) -> bool:
        return bool(self._used)

    @property
    def endpoints(self) -> list[str]:
        return list(self._used)

    def enter(self, asked: Sequence[tuple[str, int]]) -> list[Overloaded | None]:
        """Let in requests of endpoints, each so many calls, in their order; an error for each that is refused."""
        moment = self._clock()
        with self._lock:
            return [self._enter(endpoint, calls, moment) for endpoint, calls in asked]

    def too_large(self, endpoint: str, rows: int) -> RequestError | None:
        """An error for a request of more rows than its endpoint takes."""
        use = self._used.get(endpoint)
        if use is None or not use.limit.rows or rows <= use.limit.rows:
            return None
        return RequestError(
            f"endpoint '{endpoint}' takes {use.limit.rows:,} rows a request, and this one has {rows:,}",
            hint="Ask with fewer rows at a time.",
        )

    def leave(self, asked: Sequence[tuple[str, int]]) -> None:
        """What was let in has ended."""
        with self._lock:
            for endpoint, calls in asked:
                if endpoint in self._used:
                    self._used[endpoint].under_way -= calls

    def _enter(self, endpoint: str, calls: int, moment: float) -> Overloaded | None:
        use = self._used.get(endpoint)
        exceeded = use.take(calls, moment) if use is not None else ""
        if not exceeded:
            return None
        return Overloaded(f"endpoint '{endpoint}' takes {exceeded}", hint="Ask again in a moment.")


NO_LIMITS = Limits({})
