"""The catalogue: every declared feature with what is known of it, and a search over thousands of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from carrara.core.definitions import Definitions
from carrara.core.errors import NotFoundError
from carrara.core.html import card, figures, note, section
from carrara.data.columns_table import columns_table
from carrara.features.aggregates import AggregateView
from carrara.features.offline import KIND as TABLE
from carrara.features.service import View, definition_digest
from carrara.features.training_set import KIND as TRAINING_SET
from carrara.metadata.lineage import edges_from
from carrara.metadata.versions import Version, list_versions, state_of
from carrara.storage.stores import Stores

_WORD = re.compile(r"[a-z0-9]+")
_BLANKS = str.maketrans(dict.fromkeys("_-.,:;/()'", " "))
_MOST_READERS = 12
_WEIGHTS = (8.0, 4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0)
"""What a word counts in the name, the view, the description, the entity, the source, the owner, the kind, the tags."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One feature: what is declared of it, when its table was computed, what that holds, and which models read it.

    `computed_at` is None where the view as it is defined now has no table; `statistics` are those of the table.
    """

    feature: str
    view: str
    kind: str
    type: str
    entity: str | None
    source: str
    description: str
    unit: str
    tags: tuple[str, ...]
    pii: bool
    owner: str
    ttl: str | None
    schedule: str | None
    definition: str
    computed_at: datetime | None
    rows: int | None
    statistics: Mapping[str, Any] | None
    models: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**shown, "models": list(self.models), "tags": list(self.tags)}

    def _repr_html_(self) -> str:
        told = {"Kind": self.kind, "Type": self.type, "Entity": self.entity, "From": self.source, "Owner": self.owner}
        held = columns_table({self.feature: self.statistics}) if self.statistics else note("Not computed yet.")
        readers = ", ".join(self.models[-_MOST_READERS:])
        return card(
            self.feature,
            figures({name: value for name, value in told.items() if value}),
            section("What it holds", held),
            section("Read by", note(readers) if readers else ""),
            lead=self.description,
        )

    @cached_property
    def order(self) -> tuple[int, str]:
        """Where it stands among others of the same rank: what models read comes first."""
        return -len(self.models), self.feature

    @cached_property
    def said(self) -> str:
        """What a search looks through: a line for each of what `_WEIGHTS` counts, its words between blanks."""
        texts = (self.description, self.entity or "", self.source, self.owner, self.kind, " ".join(self.tags))
        lines = (self.feature.partition(":")[2], self.view, *(text.replace("\n", " ") for text in texts))
        return "\n".join(f" {line} " for line in lines).lower().translate(_BLANKS)

    @cached_property
    def weighed(self) -> tuple[tuple[float, str], ...]:
        """The lines of `said` by what a word in them counts, the most first."""
        lines = zip(_WEIGHTS, self.said.split("\n"), strict=True)
        return tuple(sorted(lines, key=lambda pair: -pair[0]))


def catalogue_state(stores: Stores) -> tuple[int, int]:
    """What changes whenever the catalogue of the same definitions does."""
    return state_of(stores.metadata, (TABLE, TRAINING_SET, "model"))


def catalogue(stores: Stores, definitions: Definitions) -> list[CatalogueEntry]:
    """Every declared feature, by view and as declared."""
    views: dict[str, View] = {**definitions.of_kind("feature view"), **definitions.of_kind("on-demand view")}
    tables = {(t.name, t.record["definition"]): t for t in list_versions(stores.metadata, TABLE)}
    models = _models(stores)
    return [entry for view in views.values() for entry in _entries(view, tables, models)]


def catalogue_entry(stores: Stores, definitions: Definitions, feature: str) -> CatalogueEntry:
    """One feature, by `view:feature`; NotFoundError names the nearest."""
    entries = {entry.feature: entry for entry in catalogue(stores, definitions)}
    if feature not in entries:
        raise NotFoundError("feature", feature, entries)
    return entries[feature]


def search(
    entries: Iterable[CatalogueEntry], text: str, *, tag: str | None = None, **facets: str | bool | None
) -> list[CatalogueEntry]:
    """The entries that hold every word of `text`, also as the beginning of a longer one, the best first.

    A word in the name counts more than one in the description, and features that models read come before others
    of the same rank. `facets` are exact values of an entry's fields, such as `entity="plane"`.
    """
    wanted = [(f" {word} ", f" {word}") for word in _WORD.findall(text.lower())]
    asked = [(name, value) for name, value in facets.items() if value is not None]
    chosen = [e for e in entries if all(getattr(e, name) == value for name, value in asked)]
    chosen = [e for e in chosen if tag in e.tags] if tag is not None else chosen
    ranked = [(_rank(entry, wanted), entry) for entry in chosen]
    found = [(rank, entry) for rank, entry in ranked if rank > 0 or not wanted]
    return [entry for _, entry in sorted(found, key=lambda pair: (-pair[0], pair[1].order))]


def _rank(entry: CatalogueEntry, wanted: list[tuple[str, str]]) -> float:
    total = 0.0
    for whole, beginning in wanted:
        # Most entries do not hold the word at all, which is seen at once.
        if beginning not in entry.said:
            return 0.0
        total += _counts(entry, whole, beginning)
    return total


def _counts(entry: CatalogueEntry, whole: str, beginning: str) -> float:
    """What a word counts where it counts the most: half where it is the beginning of a longer one."""
    best = 0.0
    for weight, line in entry.weighed:
        if weight <= best:
            break
        if whole in line:
            return weight
        if beginning in line:
            best = max(best, weight / 2)
    return best


def _entries(
    view: View, tables: Mapping[tuple[str, str], Version], models: Mapping[str, set[str]]
) -> Iterable[CatalogueEntry]:
    definition = definition_digest(view)
    table = tables.get((view.name, definition))
    for name, declared in view.declared.items():
        feature = f"{view.name}:{name}"
        held = table.record["statistics"].get(name) if table is not None else None
        yield CatalogueEntry(
            feature=feature,
            view=view.name,
            kind="aggregate view" if isinstance(view, AggregateView) else view.kind,
            type=declared.type,
            entity=getattr(view, "entity", None),
            source=getattr(view, "source", "") or ", ".join(getattr(view, "inputs", ())),
            description=declared.description or view.description,
            unit=declared.unit,
            tags=tuple(dict.fromkeys((*declared.tags, *view.tags))),
            pii=declared.pii,
            owner=view.owner,
            ttl=getattr(view, "ttl", None),
            schedule=getattr(view, "schedule", None),
            definition=definition,
            computed_at=table.created_at if table is not None else None,
            rows=table.record["rows"] if table is not None else None,
            statistics=held,
            models=tuple(sorted(models.get(feature, ()))),
        )


def _models(stores: Stores) -> dict[str, set[str]]:
    """The model versions that were trained on each feature."""
    found: dict[str, set[str]] = {}
    made: dict[str, set[str]] = {}
    for edge in edges_from(stores.metadata, TRAINING_SET):
        if edge.target.startswith("model:"):
            made.setdefault(edge.source, set()).add(edge.target.partition(":")[2])
    for training_set in list_versions(stores.metadata, TRAINING_SET):
        models = made.get(training_set.address, set())
        for column in training_set.record["columns"]:
            found.setdefault(column, set()).update(models)
    return found
