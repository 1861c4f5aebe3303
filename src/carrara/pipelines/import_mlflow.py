"""Imports a model of MLflow as a version like any other: shown, judged, deployed, served and monitored.

Its definitions are written here: each input of its signature is a field of the request. Judged on a dataset, it goes
the way of a training without the fit; without one it is tried on its example, and measured when outcomes come.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl

from carrara.core.clock import now
from carrara.core.definitions import Definitions, load_recorded_definitions
from carrara.core.digests import digest_bytes, digest_data
from carrara.core.environment import code_version
from carrara.core.errors import CarraraError
from carrara.core.identity import current_user
from carrara.core.names import check_name
from carrara.core.progress import Progress
from carrara.data.rows import split_table
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.evaluation.gates import judge_gates
from carrara.evaluation.trial import Trial
from carrara.features.service import ResolvedFeatures, resolve_features
from carrara.features.training_set import join_features
from carrara.metadata.model_values import TAG
from carrara.metadata.runs import run
from carrara.models.mlflow.folder import MlflowFolder
from carrara.models.mlflow.served import found_model
from carrara.models.mlflow.tracking import TrackedModel, TrackedRun
from carrara.models.record import ModelRecord
from carrara.models.registry import ModelVersion, register
from carrara.models.runtimes.onnx import zeros
from carrara.models.signature import DEFAULT_SIGNATURE, ENTITIES_SIGNATURE, Signature, entities_signature
from carrara.pipelines.evaluate_step import evaluate_step, open_fitted
from carrara.pipelines.judge_step import judge_step, tried
from carrara.pipelines.record import model_record
from carrara.pipelines.run_log import logged
from carrara.pipelines.steps import TrainingWork, remembered
from carrara.pipelines.train import assembled
from carrara.storage.stores import Stores
from carrara.training.imports.base import ImportedModel
from carrara.training.imports.definitions import Judged, definitions_text
from carrara.training.imports.read import read_model
from carrara.training.model import Model

_FILE = "imported.py"


def import_mlflow(
    stores: Stores,
    definitions: Definitions,
    source: str,
    *,
    which: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    judged: Judged | None = None,
    progress: Progress | None = None,
) -> ModelVersion:
    """Register a model of MLflow as the next version of `name`, by default the name that it has there.

    `source` and `which` are as in `found_model`. With `judged` it is measured on a dataset of the definitions. The same
    import again is the same version. Raises DataError for what cannot be opened without running code that came along.
    """
    judged, told = judged or Judged(), progress or Progress()
    with found_model(source, which) as found:
        return _imported(stores, definitions, source, found, name, kind, judged, told)


def _imported(
    stores: Stores,
    definitions: Definitions,
    source: str,
    found: TrackedModel,
    name: str | None,
    kind: str | None,
    judged: Judged,
    told: Progress,
) -> ModelVersion:
    folder, model_name = found.read(), check_name("model", name or _own_name(found))
    which = found.addresses[0] if found.addresses else None
    with (
        run(stores.metadata, "import", model_name, {"source": source, "which": which}) as run_id,
        logged(stores, run_id, told),
    ):
        with told.step("read") as step:
            flavor, imported = read_model(folder, kind)
            step.said = f"{flavor}, {imported.kind}, {len(imported.fields)} inputs"
        parameters = {key: _plain(text) for key, text in (found.run.params if found.run else {}).items()}
        text = definitions_text(model_name, flavor, imported.fields, parameters, imported.kind, judged)
        own = load_recorded_definitions({_FILE: text}, model_name)
        model = own.get("model", model_name, Model)
        service = resolve_features(own, model.features, where=f"model '{model_name}'")
        work = TrainingWork(
            stores, Definitions({**definitions.objects, **own.objects}, own.source), model, service, run_id
        )
        fitted = _fitted(stores, imported)
        if judged.dataset:
            record, sources = _measured(work, fitted, told)
        else:
            record, sources = _unmeasured(work, fitted, folder, imported, told), []
        with told.step("register") as step:
            made = register(
                stores,
                _with_history(record, found, folder),
                format=imported.format,
                servable=imported.files,
                learned=imported.learned,
                definitions=own.source,
                run_id=run_id,
                sources=[*sources, f"mlflow:{found.addresses[0] if found.addresses else found.folder.name}"],
                key=digest_data(["import", model_name, fitted["servable"], sources, digest_bytes(text.encode())]),
                said=_tags(found.run),
            )
            step.said = str(made)
    return made


def _own_name(found: TrackedModel) -> str:
    """A model's name in the registry there, else that of its experiment or folder."""
    registered = next((one for one in found.addresses if one.startswith("models:/")), None)
    if registered is not None:
        return registered.removeprefix("models:/").partition("@")[0].partition("/")[0]
    return found.run.experiment if found.run is not None and found.run.experiment else found.folder.resolve().name


def _fitted(stores: Stores, imported: ImportedModel) -> dict[str, Any]:
    """The artifact as the steps of a training know one that was fitted."""
    moment = now().isoformat()
    return {
        "format": imported.format,
        "signature": imported.signature.as_dict(),
        "classes": list(imported.classes),
        "importance": dict(imported.importance),
        "curve": {},
        "summary": {**imported.summary, **({"classes": list(imported.classes)} if imported.classes else {})},
        "export": {"format": imported.format, "reason": "imported as it is"},
        "warnings": [],
        "servable": stores.artifacts.put_files(imported.files),
        "learned": stores.artifacts.put_files(imported.learned),
        "libraries": {},
        "rows": 0,
        "team": {},
        "told": [],
        "started_at": moment,
        "ended_at": moment,
        "environment": {},
        "tuning": None,
        "start": None,
        "seen": None,
        "retrained": [],
        "why": [],
        "stages": [],
    }


def _measured(work: TrainingWork, fitted: Mapping[str, Any], told: Progress) -> tuple[ModelRecord, list[str]]:
    """The record of a model that was judged as one that was trained here, on all rows of its dataset."""
    model, stores = work.model, work.stores
    training_set = assembled(work, told)
    table = stores.lake.scan(training_set.lake_table)
    parts = dict(split_table(table, model.split, time=model.label.time, known_at=model.label.known_at))
    with told.step("evaluate") as step:
        evaluation, found = evaluate_step(work, training_set, fitted, parts, step)
        name, value = next(iter(evaluation.metrics.items()))
        step.said = f"{name} {value.value:.3f}, {evaluation.rows:,} rows"
    gates = judge_step(work, training_set, fitted, parts, evaluation)
    record = model_record(
        stores, work.definitions, model, work.service, training_set, fitted, parts, found, gates, work.run_id
    )
    return record, [training_set.address]


def _unmeasured(
    work: TrainingWork, fitted: Mapping[str, Any], folder: MlflowFolder, imported: ImportedModel, told: Progress
) -> ModelRecord:
    """The record of a model of which no rows are known; it is safe to serve where it answers its example, or zeros."""
    model, own = work.model, imported.signature
    trial = Trial.from_dict(_tried_on_example(work, fitted, folder, own, told))
    gates = judge_gates(model.gates, Evidence(Evaluation(0, {}), None, None, trial, None, None))
    return ModelRecord(
        model=model.name,
        trained_by=current_user(),
        started_at=fitted["started_at"],
        ended_at=fitted["ended_at"],
        configuration={**model.spec(), "run": work.run_id, "threshold": model.threshold},
        datasets={"training_set": None, "parts": {}, "sources": {}, "feature_tables": {}},
        features=[_feature(spec.name, imported) for spec in own.inputs],
        metrics={
            **{part: {} for part in ("test", "validation", "baseline")},
            **{part: [] for part in ("slices", "weak_slices", "fairness", "segments", "mistakes")},
            "loss": None,
        },
        charts={},
        parameters={name: fitted[name] for name in ("format", "learned", "export")} | fitted["summary"],
        summary={"scores": None, "curve": {}, "warnings": ["it was not measured here: no dataset was named"]},
        signature={
            DEFAULT_SIGNATURE: own.as_dict(),
            ENTITIES_SIGNATURE: entities_signature(work.service.keys, work.service.request, own).as_dict(),
        },
        gates={**gates, "champion": None, "unasked": "", "paired": {}, "trial": trial.as_dict()},
        code={
            **code_version(work.stores.root),
            "definitions": {name: digest_data(text) for name, text in work.definitions.source.items()},
        },
        environment={},
    )


def _tried_on_example(
    work: TrainingWork, fitted: Mapping[str, Any], folder: MlflowFolder, own: Signature, told: Progress
) -> dict[str, Any]:
    """What a trial of the artifact found; the same artifact is tried once."""

    def answer() -> dict[str, Any]:
        rows = example_rows(work.stores, work.service, folder, own)
        with closing(open_fitted(work.stores, fitted)) as servable:
            expected = np.asarray(servable.run(own.tensors(rows))[own.outputs[0].name])
        return tried(work, fitted, rows, expected).as_dict()

    key = digest_data(["try", fitted["servable"], fitted["signature"], folder.example])
    with told.step("try") as step:
        found = remembered(work.stores, work.run_id, step, key, answer)
        step.said = f"{found['rows']:,} rows through {found['through']}" if found["rows"] else str(found["reason"])
    return found


def _feature(name: str, imported: ImportedModel) -> dict[str, Any]:
    told = ("permutation", "shap", "dependence", "distribution")
    return {
        "name": name,
        "view": name.partition(":")[0],
        "dtype": imported.fields[name.partition(":")[2]],
        "importance": imported.importance[name],
        **dict.fromkeys(told),
        "statistics": {"rows": 0, "nulls": 0},  # nobody has seen a row
        "parts": {},
    }


def example_rows(stores: Stores, service: ResolvedFeatures, folder: MlflowFolder, own: Signature) -> pl.DataFrame:
    """The example that came along, as rows of features; one row of zeros where there is none, or of another form."""
    example = folder.example
    try:
        if isinstance(example, Mapping) and {"columns", "data"} <= set(example):
            rows = pl.DataFrame(example["data"], schema=list(example["columns"]), orient="row", strict=False)
        else:
            rows = pl.DataFrame(example)
        at = rows.with_columns(pl.lit(stores.clock()).dt.cast_time_unit("us").alias("event_time"))
        return join_features(stores, service, at, "event_time", where="the example of an input")
    except (CarraraError, pl.exceptions.PolarsError, TypeError, ValueError):
        nothing = {name: values.tolist() for name, values in zeros(own).items()}
        return pl.DataFrame(nothing)


def _with_history(record: ModelRecord, found: TrackedModel, folder: MlflowFolder) -> ModelRecord:
    """With what MLflow knows: who, when, with which parameters, how good, and in which environment."""
    run_there, told = found.run, folder.described
    history = {
        "origin": "mlflow",
        "addresses": list(found.addresses),
        "run": run_there.id if run_there else told.get("run_id"),
        "run_name": run_there.name if run_there else "",
        "experiment": run_there.experiment if run_there else "",
        "status": run_there.status if run_there else "",
        "params": dict(run_there.params) if run_there else {},
        "metrics": dict(run_there.metrics) if run_there else {},
        "tags": dict(run_there.tags) if run_there else {},
        "imported_by": current_user(),
        "imported_at": now().isoformat(),
        "saved_at": str(told.get("utc_time_created", "")),
        "mlflow_version": str(told.get("mlflow_version", "")),
        "flavors": {name: _told(conf) for name, conf in folder.flavors.items()},
        "signature": folder.signature,
        "input_example": folder.example,
    }
    python = str((folder.flavors.get("python_function") or {}).get("python_version", ""))
    started = run_there.started_at if run_there else None
    ended = run_there.ended_at if run_there else None
    return replace(
        record,
        trained_by=(run_there.user if run_there else "") or record.trained_by,
        started_at=started.isoformat() if started else record.started_at,
        ended_at=(ended or started).isoformat() if started else record.ended_at,
        metrics={**record.metrics, "imported": history["metrics"]},
        summary={**record.summary, "imported": history},
        environment={"python": python, "distributions": folder.requirements},
    )


def _told(conf: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in conf.items() if isinstance(value, str | int | float | bool)}


def _tags(run_there: TrackedRun | None) -> dict[str, str]:
    """The tags that people gave; the record alone has those of MLflow, and names that cannot be written here."""
    found = {}
    for name, text in (run_there.tags if run_there else {}).items():
        if name == "mlflow.note.content":
            found["description"] = text
        elif not name.startswith("mlflow."):
            try:
                found[TAG + check_name("tag", name)] = text
            except CarraraError:
                continue
    return found


def _plain(text: str) -> Any:
    """A parameter as what it says: a number, a boolean, else the text.

    >>> _plain("2"), _plain("0.5"), _plain("True"), _plain("gbtree"), _plain("nan")
    (2, 0.5, True, 'gbtree', 'nan')
    """
    if text in ("True", "False"):
        return text == "True"
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return found if isinstance(found, int | float) else text
