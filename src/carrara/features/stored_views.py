"""What is read of feature views online: the packed rows of all of them side by side, taken apart at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from carrara.core.clock import duration, microseconds
from carrara.core.errors import RequestError
from carrara.core.named_columns import Columns
from carrara.features.online import Rows
from carrara.features.packing import NO_TIME, RowLayout, side_by_side, unpack_texts
from carrara.features.service import Policy
from carrara.features.views import FeatureView

Array = np.ndarray[Any, Any]

_FOR_EVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class StoredViews:
    """Feature views that are read together; `first` are features that come before all others, in their order."""

    views: tuple[FeatureView, ...]
    first: tuple[str, ...] = ()

    def columns(
        self, rows: Sequence[Rows], at: Array, policies: Sequence[Policy]
    ) -> tuple[Mapping[str, Array], dict[str, Array]]:
        """The features by `view:feature`, and the event times by view; both of what holds at the time of each row.

        `rows` and `policies` are those of each view. Raises RequestError where a policy is to fail.
        """
        packed = side_by_side(self._layouts, rows)
        stamps, now = packed.view("<i8"), at[:, None]
        event_times = stamps[:, self._stamps]
        known = stamps[:, self._known_at] <= now
        fresh = known & (now - event_times <= self._ttls) if self._expire else known
        self._check(known, fresh, policies)
        given = np.where([policy.expired == "stale" for policy in policies], known, fresh) if self._expire else known
        numbers = np.take(packed, self._places, axis=1)
        if not given.all():
            event_times = np.where(given, event_times, NO_TIME)
            numbers[~given[:, self._owners]] = np.nan
        for place, default in self._default_numbers:
            missing = np.isnan(numbers[:, place])
            numbers[missing, place] = default
        times = dict(zip(self._view_names, event_times.T, strict=True))
        columns = Columns(self._numbers, numbers)
        return (self._with_texts(columns, rows, given) if self._texts else columns), times

    def _with_texts(self, columns: Columns, rows: Sequence[Rows], given: Array) -> dict[str, Array]:
        found: dict[str, Array] = dict(zip(columns.names, columns.matrix.T, strict=True))
        for place in self._texts:
            view = self.views[place]
            for name, texts in unpack_texts(self._layouts[place], rows[place]).items():
                texts[~given[:, place]] = None
                default = view.declared[name].default
                found[f"{view.name}:{name}"] = texts if default is None else _with_default(texts, default)
        return found

    def _check(self, known: Array, fresh: Array, policies: Sequence[Policy]) -> None:
        for place, (view, policy) in enumerate(zip(self.views, policies, strict=True)):
            if policy.missing == "fail" and not known[:, place].all():
                row = int(known[:, place].argmin())
                raise RequestError(f"feature view '{view.name}' has nothing for row {row}")
            if policy.expired == "fail" and (known & ~fresh)[:, place].any():
                row = int((known & ~fresh)[:, place].argmax())
                raise RequestError(
                    f"what feature view '{view.name}' has for row {row} has expired",
                    hint=f"Its TTL is {view.ttl}: is it brought up to date? carrara feature status {view.name}",
                )

    @cached_property
    def _layouts(self) -> tuple[RowLayout, ...]:
        return tuple(RowLayout.of(view) for view in self.views)

    @cached_property
    def _view_names(self) -> tuple[str, ...]:
        return tuple(view.name for view in self.views)

    @cached_property
    def _stamps(self) -> Array:
        """Where each view's event time is in a row; when it became known is behind it."""
        widths = [layout.fixed // 8 for layout in self._layouts]
        return np.cumsum([0, *widths[:-1]])

    @cached_property
    def _known_at(self) -> Array:
        """Where in a row is when each view's row became known."""
        return self._stamps + 1

    @cached_property
    def _ordered(self) -> list[tuple[str, int, int]]:
        """The name of each number, its place in a row, and that of its view."""
        found = [
            (f"{layout.view}:{name}", int(start) + 2 + n, place)
            for place, (layout, start) in enumerate(zip(self._layouts, self._stamps, strict=True))
            for n, name in enumerate(layout.numbers)
        ]
        order = {name: place for place, name in enumerate(self.first)}
        return sorted(found, key=lambda one: order.get(one[0], len(order)))

    @cached_property
    def _numbers(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self._ordered)

    @cached_property
    def _places(self) -> Array:
        return np.array([place for _, place, _ in self._ordered], np.intp)

    @cached_property
    def _owners(self) -> Array:
        return np.array([view for _, _, view in self._ordered], np.intp)

    @cached_property
    def _texts(self) -> list[int]:
        """The views that have texts, by their places."""
        return [place for place, layout in enumerate(self._layouts) if layout.texts]

    @cached_property
    def _ttls(self) -> Array:
        """Of each view, in microseconds."""
        ttls = [_FOR_EVER if view.ttl is None else microseconds(duration(view.ttl)) for view in self.views]
        return np.array(ttls, np.int64)

    @cached_property
    def _expire(self) -> bool:
        return bool((self._ttls < _FOR_EVER).any())

    @cached_property
    def _default_numbers(self) -> list[tuple[int, float]]:
        """The numbers that have a default, by their places among them."""
        declared = {f"{view.name}:{name}": one.default for view in self.views for name, one in view.declared.items()}
        found = ((place, declared.get(name)) for place, name in enumerate(self._numbers))
        return [(place, float(default)) for place, default in found if default is not None]


def _with_default(texts: Array, default: bool | float | str) -> Array:
    return np.where(np.array([text is None for text in texts]), default, texts)
