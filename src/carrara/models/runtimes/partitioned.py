"""Many models as one: each row is run by the node of its own values, or by the nearest parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from carrara.models.runtimes.base import Servable, Tensors, open_servable
from carrara.models.runtimes.onnx import zeros
from carrara.models.signature import Signature

INDEX = "partitions.json"

NODE = "node"
"""The output that says which node has answered."""


class PartitionedServable:
    """A folder with `partitions.json`, and a folder for each node."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        index = msgspec.json.decode((folder / INDEX).read_bytes())
        self.signature = signature
        self._by: list[str] = index["by"]
        self._names = [node["name"] for node in index["nodes"]]
        self._places = {tuple(node["key"]): place for place, node in enumerate(index["nodes"])}
        self._nodes: list[Servable] = [
            open_servable(node["format"], folder / node["folder"], Signature.from_dict(node["signature"]))
            for node in index["nodes"]
        ]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        keys = list(zip(*(inputs[name] for name in self._by), strict=True))
        known = {key: self._node_of(key) for key in dict.fromkeys(keys)}
        places = np.array([known[key] for key in keys], dtype=np.int64)
        outputs: dict[str, np.ndarray[Any, Any]] = {}
        for place in np.unique(places):
            rows, node = places == place, self._nodes[place]
            found = node.run({spec.name: np.asarray(inputs[spec.name])[rows] for spec in node.signature.inputs})
            for name, values in found.items():
                if name not in outputs:
                    outputs[name] = np.empty((len(keys), *values.shape[1:]), values.dtype)
                outputs[name][rows] = values
        outputs[NODE] = np.array(self._names, dtype=object)[places]
        return outputs

    def warm_up(self) -> None:
        for node in self._nodes:
            node.warm_up()
        self.run(zeros(self.signature))

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    def _node_of(self, key: tuple[Any, ...]) -> int:
        """The place of the longest prefix of a key; the root is the empty one."""
        return next(self._places[key[:end]] for end in range(len(key), -1, -1) if key[:end] in self._places)
