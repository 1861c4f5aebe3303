"""Run in a process of its own with PYTHONPATH at TensorFlow Serving's real client stubs.

Each line of standard input is {"port", "calls": [[method, request as protobuf's JSON], ...]}; a line comes back with
what each call ends with.
"""

import json
import sys

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}


def ask(port, calls):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        return [
            call(getattr(predictions if hasattr(predictions, name) else models, name), name, a) for name, a in calls
        ]


def call(method, name, asked):
    timeout = asked.pop("timeout", 20)
    try:
        reply = method(json_format.ParseDict(asked, REQUESTS[name]()), timeout=timeout)
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}
    if name == "GetModelMetadata":
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert reply.metadata["signature_def"].Unpack(signatures)
        reply = signatures
    return json_format.MessageToDict(reply, preserving_proto_field_name=True)


for line in sys.stdin:
    print(json.dumps(ask(**json.loads(line))), flush=True)
