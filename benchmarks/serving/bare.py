"""The bare loop: pygrpc-native's queue, protobuf, one run of ONNX a batch, and nothing else. bare.py MODEL"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pygrpc_native import EVENT_CALL, NativeGrpcFront

from carrara.models.runtimes.onnx import session
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import PREDICT

request_class = message("tensorflow.serving.PredictRequest")
response_class = message("tensorflow.serving.PredictResponse")


def main(model: Path) -> None:
    graph = session(model.read_bytes())
    front = NativeGrpcFront("127.0.0.1:0", [(PREDICT, False)])
    front.start()
    print(front.bound_port, flush=True)
    while (events := front.recv_batch(256)) is not None:
        calls = [(call_id, data) for kind, call_id, _, data, _ in events if kind == EVENT_CALL]
        rows = [row(request_class.FromString(data)) for _, data in calls]
        (answers,) = graph.run(["probability"], {"features": np.stack(rows)})
        for (call_id, _), answer in zip(calls, answers, strict=True):
            front.respond(call_id, written(answer))


def row(request: object) -> np.ndarray:
    return np.frombuffer(request.inputs["features"].tensor_content, np.float32)


def written(answer: np.ndarray) -> bytes:
    response = response_class()
    response.model_spec.name = "bought"
    tensor = response.outputs["probability"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add().size = 1
    tensor.tensor_content = answer.tobytes()
    return response.SerializeToString()


main(Path(sys.argv[1]))
