"""Run in a process of its own with PYTHONPATH at TensorFlow Serving's real client stubs.

Takes [[method, request as protobuf's JSON], ...] on standard input, and prints what each ends with.
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


def main(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    found = []
    for method, asked in json.load(sys.stdin):
        timeout = asked.pop("timeout", 20)
        request = json_format.ParseDict(asked, REQUESTS[method]())
        try:
            reply = getattr(predictions if hasattr(predictions, method) else models, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            found.append({"code": error.code().name, "details": error.details()})
            continue
        if method == "GetModelMetadata":
            signatures = get_model_metadata_pb2.SignatureDefMap()
            assert reply.metadata["signature_def"].Unpack(signatures)
            found.append(json_format.MessageToDict(signatures, preserving_proto_field_name=True))
            continue
        found.append(json_format.MessageToDict(reply, preserving_proto_field_name=True))
    print(json.dumps(found))


main(int(sys.argv[1]))
