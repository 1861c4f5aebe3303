"""LightGBM's flavor: a booster in LightGBM's text format."""

from __future__ import annotations

import re
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
from carrara.training.trainers.lightgbm import gain_shares

_CATEGORIES = re.compile(r"^pandas_categorical:(.+)$", re.MULTILINE)


def read(folder: MlflowFolder, conf: Mapping[str, Any], kind: Kind | None) -> ImportedModel:
    """The booster; it compares in float64, and so does what is served."""
    lightgbm = require("lightgbm", extra="lightgbm", purpose="a model of LightGBM")
    path = folder.file(str(conf.get("data", "")))
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not text.startswith("tree\n"):
        raise DataError(
            f"{folder.path} holds LightGBM's wrapper for scikit-learn, which is a pickle, and is not opened",
            hint="Log its booster: mlflow.lightgbm.log_model(model.booster_, name=…).",
        )
    if (found := _CATEGORIES.search(text)) and found[1] not in ("null", "[]"):
        raise DataError(f"{path} splits by pandas' categories, which a request does not know")
    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise DataError(f"{path} is no model of LightGBM: {error}") from error
    told = booster.dump_model()
    objective, classes = str(told.get("objective", "")).split(" ")[0], int(told["num_class"])
    own: Kind = "multiclass" if classes > 1 else "binary" if objective == "binary" else "regression"
    fields, names = matrix_fields(folder, booster.num_feature(), booster.feature_name()), numbered(classes)
    specs = matrix_specs(fields, "float64")
    files, importance = described(specs, lambda columns: gain_shares(booster, columns))
    return ImportedModel(
        format="lightgbm",
        files={"model.txt": text.encode()},
        learned={"learned.json": msgspec.json.encode(told), "learned.txt": text.encode(), **files},
        fields=fields,
        signature=Signature(specs, (output_spec(kind or own, names),)),
        kind=kind or own,
        classes=names if own == "multiclass" else (),
        importance=importance,
        libraries=("lightgbm",),
        summary={"trees": booster.num_trees()},
    )
