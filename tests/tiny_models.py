"""Tiny model versions, registered as training registers them; and many processes that do so at once.

As a script: `tiny_models.py METADATA_URL ARTIFACTS PROCESSES EACH`, with each line `NAME@VERSION` that was answered.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from carrara.metadata.store import Metadata
from carrara.models.record import ModelRecord
from carrara.models.registry import ModelVersion, register
from carrara.models.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from carrara.storage.artifacts import ArtifactStore
from carrara.storage.lake import Lake
from carrara.storage.stores import Stores

SIGNATURE = Signature((TensorSpec("x", "float32"),), (TensorSpec("doubled", "float32"),))


def stores_at(url: str, folder: Path) -> Stores:
    return Stores(Metadata(url), Lake(str(folder / "lake")), ArtifactStore(str(folder / "artifacts")), "lmdb:o", folder)


def add_tiny(
    stores: Stores,
    name: str = "tiny",
    *,
    key: str | None = None,
    learned: bytes = b"{}",
    gates_passed: bool = True,
    owner: str = "",
    parameters: dict | None = None,
    files: dict[str, bytes] | None = None,
    sources: tuple[str, ...] = ("training_set:tiny@1",),
    **metrics: float,
) -> ModelVersion:
    results = [{"gate": "g", "passed": gates_passed, "found": 1.0, "required": 0.0, "message": "1 is not at least 2"}]
    record = ModelRecord(
        model=name,
        trained_by="ada",
        started_at="2024-05-01T00:00:00+00:00",
        ended_at="2024-05-01T00:01:00+00:00",
        configuration={"trainer": parameters or {"trees": 3}, "label": {"kind": "binary"}, "owner": owner},
        datasets={"sources": {"trips": {"version": 4, "digest": "d", "rows": 9}}},
        features=[{"name": "v:x", "importance": 1.0}],
        metrics={"test": {metric: {"value": value} for metric, value in metrics.items()}},
        charts={},
        parameters={},
        summary={},
        signature={DEFAULT_SIGNATURE: SIGNATURE.as_dict()},
        gates={"passed": gates_passed, "results": results},
        code={},
        environment={},
    )
    return register(
        stores,
        record,
        format="onnx",
        servable=files or {"model.onnx": doubling()},
        learned={"parameters.json": learned},
        definitions={"definitions.py": "x = 1"},
        run_id="run",
        sources=list(sources),
        key=key,
    )


@cache
def doubling() -> bytes:
    """An ONNX graph that doubles x."""
    from onnx import TensorProto, helper

    def info(name: str):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None])

    nodes = [helper.make_node("Add", ["x", "x"], ["doubled"])]
    graph = helper.make_graph(nodes, "doubling", [info("x")], [info("doubled")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def main(url: str, folder: str, processes: int, each: int) -> None:
    """Fork, so that what is measured is the store and not the start of Python."""
    doubling()
    children = []
    for number in range(processes):
        child = os.fork()
        if not child:
            code = 1
            try:
                stores = stores_at(url, Path(folder))
                for turn in range(each):
                    made = add_tiny(stores, "many", learned=f"{number}.{turn}".encode())
                    os.write(1, f"{made}\n".encode())
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    sys.exit(f"{len(failed)} processes failed" if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
