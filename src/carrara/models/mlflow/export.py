"""MLflow's model folder: a version as MLflow loads, serves and registers it, written without MLflow.

MLmodel               flavors (onnx, and python_function over it) and the signature
model.onnx            the graph that is served here, too
requirements.txt      what it needs, in the versions that it was trained with
conda.yaml, python_env.yaml
carrara/record.json   the whole record
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from carrara.core.errors import CarraraError, StorageError
from carrara.models.registry import SERVABLE, ModelVersion, read_record
from carrara.models.runtimes.onnx import read_signature
from carrara.models.signature import DEFAULT_SIGNATURE, Signature
from carrara.storage.stores import Stores

_NEEDED = ("onnx", "onnxruntime", "numpy", "pandas")
_DTYPES = {"string": "object"}
_COLUMNS = {"float32": "float"}


def export_mlflow(stores: Stores, version: ModelVersion, folder: Path) -> Path:
    """Write a version as a folder that `mlflow.onnx.load_model` and `mlflow.pyfunc.load_model` open.

    CarraraError where it is in another format than ONNX, or the folder is not empty.
    """
    files = stores.artifacts.get_files(version.manifest)
    servable = {name.removeprefix(SERVABLE): data for name, data in files.items() if name.startswith(SERVABLE)}
    if version.format != "onnx" or set(servable) != {"model.onnx"}:
        raise CarraraError(
            f"{version} has no form that MLflow opens: its format is {version.format}", hint="Export it as a bundle."
        )
    if folder.exists() and any(folder.iterdir()):
        raise CarraraError(f"{folder} is not empty", hint="Name a folder that is not there yet.")
    record = read_record(stores, version)
    signature = Signature.from_dict(record["signature"][DEFAULT_SIGNATURE])
    inputs = _inputs(servable["model.onnx"], signature, str(version))
    needed = _requirements(record)
    texts = {
        "MLmodel": _yaml(_mlmodel(version, record, inputs, signature)),
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
    }
    try:
        (folder / "carrara").mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(servable["model.onnx"])
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    return folder


def _inputs(graph: bytes, signature: Signature, whose: str) -> list[dict[str, Any]]:
    """What MLflow's own runtime gives to the graph: its inputs, or one matrix of the columns of a data frame."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        own = {spec.name for spec in read_signature(path).inputs}
    if own == {spec.name for spec in signature.inputs}:
        return [_tensor(spec) for spec in signature.inputs]
    if len(own) == 1 and all(spec.dtype in _COLUMNS for spec in signature.inputs):
        return [{"name": spec.name, "type": _COLUMNS[spec.dtype], "required": True} for spec in signature.inputs]
    raise CarraraError(
        f"{whose} has no form that MLflow opens: its graph takes {', '.join(sorted(own))}",
        hint="Export it as a bundle.",
    )


def _mlmodel(
    version: ModelVersion, record: Mapping[str, Any], inputs: list[dict[str, Any]], signature: Signature
) -> dict[str, Any]:
    return {
        "artifact_path": "model",
        "flavors": {
            "onnx": {
                "code": None,
                "data": "model.onnx",
                "onnx_version": _versions(record).get("onnx", ""),
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "data": "model.onnx",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.onnx",
                "python_version": _python(record),
            },
        },
        "model_uuid": version.manifest[:32],
        "signature": {
            "inputs": json.dumps(inputs),
            "outputs": json.dumps([_tensor(spec) for spec in signature.outputs]),
            "params": None,
        },
        "metadata": {
            "carrara_version": str(version),
            "metrics": version.metrics,
            "gates_passed": version.gates_passed,
        },
        "utc_time_created": f"{version.registered_at:%Y-%m-%d %H:%M:%S.%f}",
    }


def _tensor(spec: Any) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in spec.shape or (None,)]
    dtype = _DTYPES.get(spec.dtype, spec.dtype)
    return {"name": spec.name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def _requirements(record: Mapping[str, Any]) -> list[str]:
    versions = _versions(record)
    return ["mlflow", *(f"{name}=={versions[name]}" if name in versions else name for name in _NEEDED)]


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    return dict(record["environment"].get("distributions", {}))


def _python(record: Mapping[str, Any]) -> str:
    return str(record["environment"].get("python", "3.11"))


def _yaml(value: Any) -> str:
    """JSON is YAML, and needs no library to write."""
    return json.dumps(value, indent=2) + "\n"
