"""Writes the model record of a training run: all that is known, from what the steps left behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from carrara.core.clock import now
from carrara.core.columns import as_numpy
from carrara.core.definitions import Definitions
from carrara.core.digests import digest_data
from carrara.core.environment import code_version
from carrara.core.identity import current_user
from carrara.data.column_statistics import column_statistics
from carrara.data.rows import Rows
from carrara.data.versions import DatasetVersion, dataset_version
from carrara.evaluation.charts import feature_importance, learning_curve
from carrara.evaluation.losses import LOSS_OF
from carrara.features.service import ResolvedFeatures
from carrara.features.training_set import TrainingSet
from carrara.metadata.runs import get_run
from carrara.models.record import ModelRecord
from carrara.models.signature import DEFAULT_SIGNATURE, ENTITIES_SIGNATURE, Signature, entities_signature
from carrara.monitoring.drift import ReferenceDistribution
from carrara.storage.stores import Stores
from carrara.training.model import Model


def model_record(
    stores: Stores,
    definitions: Definitions,
    model: Model,
    service: ResolvedFeatures,
    training_set: TrainingSet,
    fitted: Mapping[str, Any],
    parts: Mapping[str, Rows],
    judged: Mapping[str, Any],
    gates: Mapping[str, Any],
    run_id: str,
) -> ModelRecord:
    """The record of what was trained: `fitted` and `judged` are what those steps recorded."""
    measured, shap = judged["evaluation"], judged["explanations"].get("shap", {})
    own = Signature.from_dict(fitted["signature"])
    importance = sorted(fitted["importance"].items(), key=lambda pair: -pair[1])
    charts = {**measured["charts"], "feature_importance": feature_importance(*zip(*importance, strict=True))}
    if fitted["curve"]:
        charts["learning_curve"] = learning_curve(fitted["curve"])
    return ModelRecord(
        model=model.name,
        trained_by=current_user(),
        started_at=get_run(stores.metadata, run_id).started_at.isoformat(),
        ended_at=now().isoformat(),
        configuration={**model.spec(), "run": run_id, "threshold": model.threshold},
        datasets=_datasets(stores, model, service, training_set, parts),
        features=_features(service, fitted["importance"], parts, judged["explanations"]),
        metrics={
            "test": measured["metrics"],
            "validation": judged["validation"],
            "baseline": measured["baseline"],
            "slices": measured["slices"],
            "weak_slices": measured["weak_slices"],
            "fairness": measured["fairness"],
            "segments": measured["segments"],
            "mistakes": judged["mistakes"],
            "loss": LOSS_OF.get(model.label.kind),
        },
        charts=charts,
        parameters={
            "format": fitted["format"],
            "learned": fitted["learned"],
            "export": fitted["export"],
            **fitted["summary"],
        },
        summary={
            "scores": judged["scores"],
            "curve": fitted["curve"],
            "fit": _span(fitted),
            "warnings": [*fitted["warnings"], *overlap_warnings(judged["overlap"])],
            "overlap": judged["overlap"],
            "shap": {key: value for key, value in shap.items() if key != "features"},
            "dependence_of_pairs": judged["explanations"].get("pairs", []),
            "tuning": fitted["tuning"],
            "start": fitted["start"],
            "seen": fitted["seen"],
            "retrained": fitted["retrained"],
            "rows_learned": fitted["rows"],
            "analyses": fitted.get("analyses"),
            "transformed": fitted.get("transformed", []),
            "libraries": fitted["libraries"],
            "why": fitted["why"],
            **fitted["team"],
            "stages": fitted["stages"],
        },
        signature={
            DEFAULT_SIGNATURE: fitted["signature"],
            ENTITIES_SIGNATURE: entities_signature(
                service.keys, service.request, own, query=model.label.group
            ).as_dict(),
        },
        gates=dict(gates),
        code={
            **code_version(stores.root),
            "definitions": {name: digest_data(text) for name, text in definitions.source.items()},
        },
        environment=fitted["environment"],
    )


def _datasets(
    stores: Stores,
    model: Model,
    service: ResolvedFeatures,
    training_set: TrainingSet,
    parts: Mapping[str, Rows],
) -> dict[str, Any]:
    time, known = model.label.time, model.label.known_at or model.label.time
    sources = {v.source for v, _ in service.stored} | {model.label.dataset}
    versions: list[DatasetVersion] = [dataset_version(stores, name) for name in sorted(sources)]
    return {
        "training_set": {
            "version": training_set.version,
            "digest": training_set.digest,
            "rows": training_set.rows,
            "until": max(
                moment.isoformat() for rows in parts.values() if isinstance(moment := rows[known].max(), datetime)
            ),
        },
        "parts": {
            name: {
                "rows": rows.height,
                "from": str(rows[time].min()),
                "to": str(rows[time].max()),
                "known": str(rows[known].max()),
            }
            for name, rows in parts.items()
        },
        "sources": {v.name: {"version": v.version, "digest": v.digest, "rows": v.rows} for v in versions},
        "feature_tables": training_set.tables,
    }


def _features(
    service: ResolvedFeatures,
    importance: Mapping[str, float],
    parts: Mapping[str, Rows],
    explanations: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Each feature: its distribution in every part, in the bins of the train part, and what the model makes of it. An
    array has no distribution."""
    shap = explanations.get("shap") or {}
    found = []
    for name in service.features:
        values = parts["train"][name]
        statistics = column_statistics(values.to_frame())[name]
        distribution = None if values.dtype.is_nested() else ReferenceDistribution.from_values(as_numpy(values))
        found.append(
            {
                "name": name,
                "view": name.partition(":")[0],
                "dtype": statistics["type"],
                "importance": importance[name],
                "permutation": explanations.get("permutation", {}).get(name),
                "shap": shap["features"].get(name) if shap else None,
                "dependence": explanations.get("dependence", {}).get(name),
                "statistics": statistics,
                "distribution": distribution.as_dict() if distribution is not None else None,
                "parts": {part: distribution.count(as_numpy(rows[name])).tolist() for part, rows in parts.items()}
                if distribution is not None
                else {},
            }
        )
    return found


def overlap_warnings(overlap: Mapping[str, Any]) -> list[str]:
    """What a person should know of test rows that the model has seen."""
    if not overlap["suspicious"]:
        return []
    said = f"{overlap['rows']:,} test rows ({overlap['share']:.1%}) have the features and the label of a training row"
    return [f"{said}: the metrics flatter the model"]


def _span(fitted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fitted[name] for name in ("started_at", "ended_at")}
