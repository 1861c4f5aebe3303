"""MLflow's model folder: a version as MLflow loads, serves and registers it, written without MLflow.

MLmodel               flavors (python_function, and that of its format) and the signature
model/                the files that are served here, too
code/                 how MLflow opens them; a model in ONNX needs no Carrara
requirements.txt      what it needs, in the versions that it was trained with
conda.yaml, python_env.yaml
carrara/              record.json, the whole record; model.json, the digests and how to open it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.digests import digest_bytes
from carrara.core.errors import CarraraError, StorageError
from carrara.models.mlflow import python_function
from carrara.models.registry import ModelVersion, read_record
from carrara.models.runtimes.base import TRANSFORMS
from carrara.models.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from carrara.models.version_files import SERVABLE
from carrara.storage.stores import Stores

_LOADER = "carrara_exported"
"""The name of the module in `code/`; not `carrara`, which may be installed there, too."""

_NEEDED = ("numpy", "pandas", "onnxruntime", "onnx")


def export_mlflow(stores: Stores, version: ModelVersion, folder: Path) -> Path:
    """Write a version as a folder that `mlflow.pyfunc.load_model` opens, and the loader of its format, such as
    `mlflow.onnx`; a data frame of its features gets the answers that it gets here.

    CarraraError where the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CarraraError(f"{folder} is not empty", hint="Name a folder that is not there yet.")
    record, files = read_record(stores, version), stores.artifacts.get_files(version.manifest)
    servable = {name.removeprefix(SERVABLE): data for name, data in files.items() if name.startswith(SERVABLE)}
    needed = _requirements(record, version.format)
    texts = {
        "MLmodel": _yaml(_mlmodel(version, record, servable)),
        f"code/{_LOADER}.py": Path(python_function.__file__).read_text(encoding="utf-8"),
        "requirements.txt": "\n".join(needed) + "\n",
        "python_env.yaml": _yaml({"python": _python(record), "dependencies": ["-r requirements.txt"]}),
        "conda.yaml": _yaml(
            {
                "name": "mlflow-env",
                "channels": ["conda-forge"],
                "dependencies": [f"python={_python(record)}", "pip", {"pip": needed}],
            }
        ),
        "carrara/record.json": msgspec.json.encode(record).decode(),
        python_function.TOLD: _yaml(
            {
                "format": version.format,
                "signature": record["signature"][DEFAULT_SIGNATURE],
                "files": {name: digest_bytes(data) for name, data in servable.items()},
            }
        ),
    }
    models = {f"{python_function.FILES}/{name}": data for name, data in servable.items()}
    try:
        for name, data in {**{name: text.encode() for name, text in texts.items()}, **models}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    return folder


def _mlmodel(version: ModelVersion, record: Mapping[str, Any], servable: Mapping[str, bytes]) -> dict[str, Any]:
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    features = {one["name"]: one for one in record["features"]}
    return {
        "artifact_path": "model",
        "flavors": {
            **_native(version.format, _versions(record), whole=TRANSFORMS not in servable),
            "python_function": {
                "code": "code",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": _LOADER,
                "python_version": _python(record),
            },
        },
        "model_uuid": version.manifest[:32],
        "signature": {
            "inputs": json.dumps([_column(spec, features.get(spec.name, {})) for spec in signature.inputs]),
            "outputs": json.dumps([{"name": spec.name, **_cell(spec, "float")} for spec in signature.outputs]),
            "params": None,
        },
        "metadata": {
            "carrara_version": str(version),
            "metrics": version.metrics,
            "gates_passed": version.gates_passed,
            "classes": list(record["parameters"].get("classes", ())),
        },
        "utc_time_created": f"{version.registered_at:%Y-%m-%d %H:%M:%S.%f}",
    }


def _native(format_: str, versions: Mapping[str, str], *, whole: bool) -> dict[str, Any]:
    """The flavor that opens the file alone; none where transforms come before it, or where MLflow has none."""
    place = python_function.FILES
    flavors: dict[str, dict[str, Any]] = {
        "onnx": {
            "onnx": {
                "data": f"{place}/model.onnx",
                "onnx_version": versions.get("onnx", ""),
                "providers": ["CPUExecutionProvider"],
            }
        },
        "xgboost": {
            "xgboost": {
                "data": f"{place}/model.ubj",
                "model_class": "xgboost.core.Booster",
                "model_format": "ubj",
                "xgb_version": versions.get("xgboost-cpu", versions.get("xgboost", "")),
            }
        },
        "lightgbm": {
            "lightgbm": {
                "data": f"{place}/model.txt",
                "model_class": "lightgbm.basic.Booster",
                "lgb_version": versions.get("lightgbm", ""),
            }
        },
        "torch": {"pytorch": {"model_data": place, "pytorch_version": versions.get("torch", "")}},
        "tensorflow": {"tensorflow": {"saved_model_dir": place, "model_type": "tf2-module"}},
    }
    return flavors.get(format_, {}) if whole else {}


def _column(spec: TensorSpec, feature: Mapping[str, Any]) -> dict[str, Any]:
    """An input as MLflow infers it of the training rows: a whole number that may be missing is a double."""
    declared, missing = str(feature.get("dtype", "")), (feature.get("statistics") or {}).get("nulls", 1)
    number = "boolean" if declared == "bool" else "long" if declared.startswith("int") and not missing else "double"
    return {"name": spec.name, **_cell(spec, number), "required": True}


def _cell(spec: TensorSpec, number: str) -> dict[str, Any]:
    """The type of what is in a cell: a text or a number, or arrays of numbers."""
    axes = (spec.shape or (None,))[1:]
    found: dict[str, Any] = {"type": "string" if spec.dtype == "string" else "double" if axes else number}
    for _ in axes:
        found = {"type": "array", "items": found}
    return found


def _requirements(record: Mapping[str, Any], format_: str) -> list[str]:
    versions, libraries = _versions(record), record["summary"].get("libraries") or ()
    needed = _NEEDED if format_ == "onnx" else ("carrara", *_NEEDED, *libraries)
    return ["mlflow", *(f"{n}=={versions[n]}" if n in versions else n for n in dict.fromkeys(needed))]


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    return dict(record["environment"].get("distributions", {}))


def _python(record: Mapping[str, Any]) -> str:
    return str(record["environment"].get("python", "3.11"))


def _yaml(value: Any) -> str:
    """JSON is YAML, and needs no library to write."""
    return json.dumps(value, indent=2) + "\n"
