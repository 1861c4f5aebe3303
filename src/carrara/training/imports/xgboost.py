"""XGBoost's flavor: a booster in UBJSON or JSON, up to its best tree where the fit was stopped early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from carrara.core.errors import DataError
from carrara.core.plugins import require
from carrara.evaluation.metrics import Kind
from carrara.models.mlflow.folder import MlflowFolder
from carrara.models.signature import Signature
from carrara.training.imports.base import (
    ImportedModel,
    described,
    matrix_fields,
    matrix_specs,
    numbered,
    output_spec,
)
from carrara.training.trainers.xgboost import gain_shares, summary_of


def read(folder: MlflowFolder, conf: Mapping[str, Any], kind: Kind | None) -> ImportedModel:
    """The booster as the class that logged it predicts with it."""
    xgboost = require("xgboost", extra="xgboost", purpose="a model of XGBoost")
    path = folder.file(str(conf.get("data", "")))
    if not path.is_file() or path.suffix not in (".ubj", ".json", ".xgb", ".deprecated"):
        raise DataError(f"{folder.path} holds no model of XGBoost that is safe to open")
    try:
        booster = xgboost.Booster(model_file=str(path))
    except xgboost.core.XGBoostError as error:
        raise DataError(f"{path} is no model of XGBoost: {str(error).splitlines()[0]}") from error
    booster = _best(booster, str(conf.get("model_class", "")))
    learner = msgspec.json.decode(booster.save_config())["learner"]
    objective, classes = learner["objective"]["name"], int(learner["learner_model_param"]["num_class"])
    if "c" in (booster.feature_types or ()):
        raise DataError(f"{path} splits by pandas' categories, whose numbers it does not tell")
    if objective == "multi:softmax":  # answers a class, and not how probable each is
        booster.set_param({"objective": "multi:softprob"})
        objective = "multi:softprob"
    found: Kind = "multiclass" if classes > 1 else "binary" if objective == "binary:logistic" else "regression"
    fields = matrix_fields(folder, booster.num_features(), booster.feature_names or ())
    order = _order(fields, booster.feature_names)
    specs, names = matrix_specs({name: fields[name] for name in order}, "float32"), numbered(classes)
    files, importance = described(specs, lambda columns: gain_shares(booster, columns))
    # What is served is asked by place: the names are the signature's.
    booster.feature_names = booster.feature_types = None
    saved = bytes(booster.save_raw("json"))
    has_trees = learner["gradient_booster"]["name"] != "gblinear"
    return ImportedModel(
        format="xgboost",
        files={"model.ubj": bytes(booster.save_raw("ubj"))},
        learned={"learned.json": saved, **files},
        fields=fields,
        signature=Signature(specs, (output_spec(kind or found, names),)),
        kind=kind or found,
        classes=names if found == "multiclass" else (),
        importance=importance,
        libraries=("xgboost-cpu", "xgboost"),
        summary=summary_of(booster, saved) if has_trees else {},
    )


def _best(booster: Any, model_class: str) -> Any:
    """As XGBClassifier and its kin predict; a Booster by itself predicts with all trees that it has."""
    best = booster.attributes().get("best_iteration")
    if best is None or "sklearn" not in model_class or int(best) + 1 >= booster.num_boosted_rounds():
        return booster
    return booster[: int(best) + 1]


def _order(fields: Mapping[str, str], names: list[str] | None) -> list[str]:
    """The fields in the order of the booster's columns; by place where it knows no names, or others."""
    known = list(names or ())
    return known if set(known) == set(fields) else list(fields)
