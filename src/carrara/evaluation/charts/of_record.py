"""The charts of a model record: those that are stored, and those that are drawn from what is stored of its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carrara.core.errors import NotFoundError
from carrara.evaluation.charts.features import dependence, dependence_of_pair, distribution, shap_summary


def charts_of_record(record: Mapping[str, Any], feature: str | None = None) -> dict[str, dict[str, Any]]:
    """The charts of a version by name; with a `feature` its dependence and its distribution are among them.

    NotFoundError names the nearest feature.
    """
    features = {one["name"]: one for one in record["features"]}
    found, summary = dict(record["charts"]), record["summary"]
    if any(one.get("shap") for one in features.values()):
        found["contributions"] = shap_summary(record["features"], (summary.get("shap") or {}).get("scale", "margin"))
    for number, pair in enumerate(summary.get("dependence_of_pairs") or [], start=1):
        found[f"dependence_of_pair_{number}"] = dependence_of_pair(pair)
    if feature is not None:
        if feature not in features:
            raise NotFoundError("feature", feature, features, where=f"{record['model']}@{record['version']}")
        one = features[feature]
        if one.get("dependence"):
            found["dependence"] = dependence(one)
        if one.get("parts"):
            found["distribution"] = distribution(one)
    return found
