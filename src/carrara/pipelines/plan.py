"""Plan and apply: what the definition files would change of what the team has agreed on, and making it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrara.core.definitions import Definitions
from carrara.core.errors import CarraraError, DefinitionError, NotFoundError
from carrara.core.html import html_table
from carrara.data.ingest import in_order
from carrara.features.aggregates import AggregateView
from carrara.features.model_features import features_of_model
from carrara.features.service import resolve_features
from carrara.features.views import FeatureView
from carrara.metadata.applied import applied_specs, replace_applied
from carrara.metadata.versions import names
from carrara.models.address import parse_address
from carrara.pipelines.judged_columns import check_judged_columns
from carrara.storage.stores import Stores

_MISSING = object()


@dataclass(frozen=True)
class Change:
    """One definition that is added, changed or removed; `fields` holds (path, before, after)."""

    action: Literal["added", "changed", "removed"]
    kind: str
    name: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True)
class Plan:
    """All changes, and the specs that they start from and lead to."""

    changes: tuple[Change, ...]
    before: Mapping[str, dict[str, Any]]
    after: Mapping[str, dict[str, Any]]

    def _repr_html_(self) -> str:
        rows = [(c.action, c.kind, c.name, ", ".join(path for path, _, _ in c.fields)) for c in self.changes]
        return html_table(f"{len(self.changes)} changes", ["action", "kind", "name", "fields"], rows)


def plan(stores: Stores, definitions: Definitions, *, require: Sequence[str] = ()) -> Plan:
    """What `apply` would change; raises for definitions that do not fit together.

    `require` names what every view must say, such as `owner`.
    """
    check(definitions)
    for name, model in definitions.of_kind("model").items():
        check_judged_columns(stores, model, resolve_features(definitions, model.features, where=f"model '{name}'"))
    _require(definitions, require)
    registered = names(stores.metadata, "model")  # an imported model is declared by no file
    for kind in ("monitor", "agreement"):
        for name in definitions.of_kind(kind):
            if name not in registered:
                _known(definitions, "model", name, f"{kind} '{name}'")
    for name, batch in definitions.of_kind("batch prediction").items():
        where, model = f"batch prediction '{name}'", parse_address(batch.model).model
        _known(definitions, "dataset", batch.dataset, where)
        if model not in registered:
            _known(definitions, "model", model, where)
        if name in definitions.of_kind("dataset"):
            raise DefinitionError(f"{where} has the name of a dataset that is declared", hint="Choose another name.")
    before, after = applied_specs(stores.metadata), definitions.specs()
    changes = []
    for key in sorted({*before, *after}):
        kind, name = key.split(":", 1)
        if key not in before:
            changes.append(Change("added", kind, name))
        elif key not in after:
            changes.append(Change("removed", kind, name))
        elif before[key] != after[key]:
            fields = tuple(differences(before[key], after[key]))
            changes.append(Change("changed", kind, name, fields))
    return Plan(tuple(changes), before, after)


def apply(stores: Stores, planned: Plan) -> None:
    """Make a plan so, all or nothing; refuses when somebody else applied since it was made."""
    if not replace_applied(stores.metadata, planned.after, planned_from=planned.before):
        raise CarraraError(
            "the applied definitions have changed since the plan was made; nothing was applied",
            hint="Look at the new differences: carrara plan.",
        )


def check(definitions: Definitions) -> None:
    """Raise for a reference to something that is not defined, and for definitions in a circle."""
    in_order(definitions)
    for name, view in definitions.of_kind("feature view").items():
        where = f"feature view '{name}'"
        _known(definitions, "entity", view.entity, where)
        _known(definitions, "dataset", view.source, where)
        if isinstance(view, FeatureView | AggregateView):
            resolve_features(definitions, (name,), where=where)
    for name in definitions.of_kind("feature service"):
        resolve_features(definitions, (name,), where=f"feature service '{name}'")
    for name in definitions.of_kind("on-demand view"):
        resolve_features(definitions, (name,), where=f"on-demand view '{name}'")
    for name, model in definitions.of_kind("model").items():
        where = f"model '{name}'"
        _known(definitions, "dataset", model.label.dataset, where)
        features_of_model(definitions, model, where=where)


def _require(definitions: Definitions, fields: Sequence[str]) -> None:
    for kind in ("feature view", "on-demand view"):
        for name, view in definitions.of_kind(kind).items():
            spec = view.spec()
            for field in fields:
                if field not in spec:
                    raise NotFoundError("field of a view", field, spec, where="[features] require in carrara.toml")
                if not spec[field]:
                    raise DefinitionError(
                        f"{kind} '{name}' says no {field}, which [features] require in carrara.toml asks for",
                        hint=f"Add {field}=… to its declaration.",
                    )


def differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Each field that differs, as (path, before, after); None stands for a field that is not there.

    >>> differences({"ttl": "6h", "entity": "carrier"}, {"ttl": "1d", "entity": "carrier"})
    [('ttl', '6h', '1d')]
    >>> differences({"windows": ["6h", "1d"]}, {"windows": ["6h", "7d"]})
    [('windows[1]', '1d', '7d')]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in [*before, *(k for k in after if k not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            found += differences(before.get(key, _MISSING), after.get(key, _MISSING), inner)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [found for place, pair in pairs for found in differences(*pair, f"{path}[{place}]")]
    if before == after:
        return []
    return [(path, None if before is _MISSING else before, None if after is _MISSING else after)]


def _known(definitions: Definitions, kind: str, name: str, where: str) -> None:
    if name not in definitions.of_kind(kind):
        raise NotFoundError(kind, name, definitions.of_kind(kind), where=where)
