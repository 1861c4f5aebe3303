"""Run in a process of its own with PYTHONPATH at TensorFlow Serving's real client stubs: prints JSON."""

import json
import sys

import grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

assert "tensorflow_serving" in predict_pb2.__name__

FIELDS = {str: ("DT_STRING", "string_val"), float: ("DT_FLOAT", "float_val"), int: ("DT_INT64", "int64_val")}


def tensor(values):
    dtype, field = FIELDS[type(values[0])]
    made = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(dtype))
    made.tensor_shape.dim.add(size=len(values))
    getattr(made, field).extend(v.encode() if isinstance(v, str) else v for v in values)
    return made


def main(port, asked):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = asked["model"]
    if "version" in asked:
        request.model_spec.version.value = asked["version"]
    for name, values in asked["inputs"].items():
        request.inputs[name].CopyFrom(tensor(values))
    try:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    except grpc.RpcError as error:
        print(json.dumps({"code": error.code().name, "details": error.details()}))
        return
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = asked["model"]
    found = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, timeout=20)
    output = response.outputs["probability"]
    import struct

    count = output.tensor_shape.dim[0].size
    print(
        json.dumps(
            {
                "name": response.model_spec.name,
                "version": response.model_spec.version.value,
                "signature": response.model_spec.signature_name,
                "probability": struct.unpack(f"<{count}f", output.tensor_content),
                "states": [(s.version, s.state) for s in found.model_version_status],
            }
        )
    )


main(int(sys.argv[1]), json.loads(sys.argv[2]))
