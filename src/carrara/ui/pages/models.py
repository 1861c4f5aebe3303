"""Models: every one, one with its versions and aliases, and one version's whole record."""

from __future__ import annotations

from typing import Any

from carrara.core.drawings import curves
from carrara.core.errors import CarraraError
from carrara.metadata.aliases import current_aliases
from carrara.metadata.deployments import current_deployments
from carrara.metadata.versions import Version, count_names, count_versions, newest_of_each, versions_of
from carrara.models.registry import KIND, ModelVersion, read_record, resolve
from carrara.ui.desk import Desk
from carrara.ui.page import PAGE_ROWS, Asked, Page, paged

_MOST_FEATURES = 60
_MOST_SLICES = 80
_WITH_TREES = ("xgboost", "lightgbm")


def index(desk: Desk, asked: Asked) -> Page:
    metadata, text = desk.workspace.stores.metadata, asked.get("q") or ""
    newest = newest_of_each(metadata, KIND, text=text, limit=PAGE_ROWS, offset=asked.offset)
    live: dict[str, list[str]] = {}
    for one in current_deployments(metadata):
        live.setdefault(one.model, []).append(
            f"{one.endpoint}: {one.version}" + ("" if one.role == "primary" else f" ({one.role})")
        )
    rows = [{**_told(found), "versions": count, "live": live.get(found.name, [])} for found, count in newest]
    names = list(dict.fromkeys(metric for row in rows for metric in row["metrics"]))[:3]
    declared = [name for name in desk.declared("model") if not rows] if not text else []
    data = {"models": rows, **paged(asked, count_names(metadata, KIND, text=text))}
    return Page("models.html.j2", "Models", data, {"metric_names": names, "declared": declared})


def show(desk: Desk, asked: Asked) -> Page:
    stores, name = desk.workspace.stores, asked["name"]
    newest = resolve(stores, name) if "@" not in name else None
    found = versions_of(stores.metadata, KIND, name, limit=PAGE_ROWS, offset=asked.offset)
    if newest is None and not found:
        resolve(stores, name)
    rows = [_told(one) for one in found]
    names = list(dict.fromkeys(metric for row in rows for metric in row["metrics"]))
    live = [vars(one) for one in current_deployments(stores.metadata) if one.model == name]
    data = {
        "name": name,
        "model_versions": rows,
        "aliases": current_aliases(stores.metadata, name),
        "live": live,
        "can_train": name in desk.declared("model"),
        **paged(asked, count_versions(stores.metadata, KIND, name)),
    }
    chosen = asked.get("metric") if asked.get("metric") in names else (names[0] if names else None)
    points = [(row["version"], row["metrics"].get(chosen)) for row in reversed(rows)] if chosen else []
    drawn = curves({str(chosen): points}, height=120, said=f"{chosen} by version") if len(points) > 1 else None
    return Page("model.html.j2", name, data, {"metric_names": names, "chosen": chosen, "curves_drawn": drawn})


def version(desk: Desk, asked: Asked) -> Page:
    """The whole record; its charts have addresses of their own."""
    stores = desk.workspace.stores
    found = resolve_version(desk, asked)
    record = read_record(stores, found)
    aliases = [
        alias for alias, number in current_aliases(stores.metadata, found.model).items() if number == found.version
    ]
    live = [
        one for one in current_deployments(stores.metadata) if (one.model, one.version) == (found.model, found.version)
    ]
    features = sorted(record["features"], key=lambda feature: -(feature.get("importance") or 0.0))
    data = {
        **{name: value for name, value in record.items() if name not in ("charts", "lineage", "files")},
        "charts": {name: spec.get("description", name) for name, spec in record["charts"].items()},
        "files": record["files"],
        "features": features[:_MOST_FEATURES],
        "feature_count": len(features),
        "aliases": aliases,
        "live": [vars(one) for one in live],
        "run": found.run_id,
        "registered_at": found.registered_at,
    }
    slices = record["metrics"].get("slices") or []
    drawn = {
        "metric_names": list(record["metrics"]["test"]),
        "slices": slices[:_MOST_SLICES],
        "mistakes": record["metrics"].get("mistakes") or [],
        "slice_metrics": list(dict.fromkeys(name for one in slices for name in one.get("metrics") or {}))[:4],
        "most_important": max((f.get("importance") or 0.0 for f in features), default=0.0),
        "has_trees": record["configuration"]["trainer"].get("name") in _WITH_TREES,
        "newest": count_versions(stores.metadata, KIND, found.model),
        "named": str(found),
    }
    return Page("model_version.html.j2", str(found), data, drawn)


def resolve_version(desk: Desk, asked: Asked) -> ModelVersion:
    """The version of a path, by its number or by an alias."""
    stores, wanted = desk.workspace.stores, asked["version"]
    if any(sign in asked["name"] for sign in "@:"):
        raise CarraraError(f"'{asked['name'][:60]}' is not the name of a model")
    return resolve(stores, f"{asked['name']}@{wanted}")


def _told(found: Version) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "registered_at": found.created_at,
        "run": found.run_id,
        "format": found.record["format"],
        "metrics": found.record["metrics"],
        "gates_passed": found.record["gates_passed"],
    }
