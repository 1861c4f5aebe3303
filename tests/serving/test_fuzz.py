"""Whatever bytes come in, the answer is an error that names the request's fault, and others are answered as ever."""

from __future__ import annotations

import json

import numpy as np
import pytest
from doubling import Doubling, endpoint
from hypothesis import given, settings, strategies as st

from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.inference import Inference
from carrara.serving.management import Management
from carrara.serving.manager import ModelManager
from carrara.serving.protocols import invocations, open_inference_rest, tensorflow_rest, tensorflow_serving as wire
from carrara.serving.protocols.http import HttpRequest
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.open_inference import MODEL_INFER
from carrara.serving.protocols.rest import Rest

GOOD = wire.encode_request("doubling", {"x": np.array([1.5], np.float32), "name": np.array(["a"], object)})
INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION = 3, 5, 9
FAULTS = {INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION}


def made() -> tuple[GrpcCalls, Rest]:
    predictor = Doubling()
    manager = ModelManager(lambda: [endpoint(1)], lambda _: predictor)
    manager.reconcile()
    inference = Inference(manager)
    routes = [*tensorflow_rest.routes(manager), *open_inference_rest.routes(manager), *invocations.routes(manager)]
    return GrpcCalls(inference, manager, management=Management(allowed=True)), Rest(inference, manager, routes)


CALLS, REST = made()


def check(method: str, *calls: bytes) -> None:
    *results, last = CALLS.handle([*((method, data) for data in calls), (wire.PREDICT, GOOD)])
    for result in results:
        if result.later is None and result.code:
            assert result.code in FAULTS, (method, result)
            assert result.text
    _, outputs = wire.decode_response(last.data)
    assert outputs["doubled"].tolist() == [3.0]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(changed) - 1))
        changed[place] = draw(st.integers(0, 255))
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)


@given(st.sampled_from(CALLS.methods), st.binary(max_size=200))
def test_any_bytes_to_any_method(method, data):
    check(method, data)


@given(st.lists(damaged(GOOD), min_size=1, max_size=4))
def test_a_damaged_request_fails_alone(requests):
    check(wire.PREDICT, *requests)


SIZES = st.sampled_from([-1, 0, 1, 2, 3, 2**31, 2**40, 2**62, 2**63 - 1])


@st.composite
def tensors(draw: st.DrawFn):
    tensor = message("tensorflow.TensorProto")(dtype=draw(st.integers(0, 30)))
    for size in draw(st.lists(SIZES, max_size=4)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.unknown_rank = draw(st.integers(0, 9)) == 0
    fill = draw(st.sampled_from(["content", "floats", "ints", "halves", "complexes", "texts", "bools", "all", "none"]))
    if fill in ("content", "all"):
        tensor.tensor_content = draw(st.binary(max_size=16))
    if fill in ("floats", "all"):
        tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    if fill in ("ints", "all"):
        tensor.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    if fill in ("halves", "all"):
        tensor.half_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    if fill in ("complexes", "all"):
        tensor.scomplex_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    if fill in ("texts", "all"):
        tensor.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=4)))
    if fill in ("bools", "all"):
        tensor.bool_val.extend(draw(st.lists(st.booleans(), max_size=4)))
    return tensor


@given(tensors(), tensors())
def test_tensors_of_any_type_shape_and_contents(x, name):
    request = message("tensorflow.serving.PredictRequest").FromString(GOOD)
    request.inputs["x"].CopyFrom(x)
    request.inputs["name"].CopyFrom(name)
    check(wire.PREDICT, request.SerializeToString())


@st.composite
def inferences(draw: st.DrawFn):
    request = message("inference.ModelInferRequest")(model_name=draw(st.sampled_from(["doubling", "", "x"])))
    request.model_version = draw(st.sampled_from(["", "1", "9" * 30, "stable", "-1", "²"]))
    for _ in range(draw(st.integers(0, 3))):
        tensor = request.inputs.add(name=draw(st.sampled_from(["x", "name", ""])))
        tensor.datatype = draw(st.sampled_from(["FP32", "BYTES", "FP16", "BF16", "INT8", "UINT64", "BOOL", "FP33", ""]))
        tensor.shape.extend(draw(st.lists(SIZES, max_size=3)))
        if draw(st.booleans()):
            tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=3)))
        if draw(st.integers(0, 3)) == 0:
            tensor.contents.bytes_contents.extend(draw(st.lists(st.binary(max_size=3), max_size=3)))
        if draw(st.integers(0, 3)) == 0:
            tensor.contents.int_contents.extend(draw(st.lists(st.integers(-300, 300), max_size=3)))
    lying = st.integers(0, 2**32 - 1).map(lambda length: length.to_bytes(4, "little"))
    for _ in range(draw(st.integers(0, 3))):
        request.raw_input_contents.append(draw(st.binary(max_size=12) | lying))
    for name in draw(st.lists(st.sampled_from(["doubled", "name", "q", "features"]), max_size=2)):
        request.outputs.add(name=name)
    return request


@given(inferences())
def test_inferences_of_any_type_shape_and_contents(request):
    check(MODEL_INFER, request.SerializeToString())


TEXTS = st.sampled_from(
    ["x", "name", "b64", "instances", "inputs", "examples", "context", "signature_name", "shape", "data"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
PATHS = [
    "/v1/models/doubling:predict",
    "/v1/models/doubling:classify",
    "/v1/models/doubling:regress",
    "/v2/models/doubling/infer",
    "/invocations",
]
TOP = st.dictionaries(
    TEXTS | st.sampled_from(["parameters", "outputs", "id", "dataframe_split", "columns"]), JSON, max_size=4
)


def replied(path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    (reply,) = REST.reply_all([HttpRequest("POST", path, body, headers)])
    assert reply.status in (200, 400, 404), (path, body, reply)
    if reply.status != 200:
        assert json.loads(reply.body)["error"]
    return reply.status, reply.body


@given(st.sampled_from(PATHS), TOP)
def test_any_json_to_any_path(path, body):
    replied(path, json.dumps(body).encode())


ROW = b'{"instances": [{"x": 1.5, "name": "a"}]}'
INFER = (
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]},'
    b' {"name": "name", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'
)


@given(damaged(ROW))
def test_damaged_rows(body):
    replied(PATHS[0], body)


@given(damaged(INFER), st.integers(-1, 300))
def test_damaged_inferences(body, length):
    replied(PATHS[3], body)
    replied(PATHS[3], body, **{"inference-header-content-length": str(length)})


@given(st.sampled_from(PATHS), st.sampled_from(["gzip", "deflate", "br", "x"]), st.binary(max_size=60))
def test_damaged_packing(path, encoding, body):
    assert replied(path, body, **{"content-encoding": encoding})[0] == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000, 400),
        (b'{"instances": ' + b"[" * 60 + b"1" + b"]" * 60 + b"}", 400),
        (b"\xef\xbb\xbf" + ROW, 400),
        (ROW.decode().encode("utf-16"), 400),
        (b'{"instances": [{"x": 1.5, "name": "\\ud800"}]}', 400),
        (b'{"instances": [{"x": ' + b"9" * 5000 + b', "name": "a"}]}', 400),
        (b'{"instances": [{"x": 1e999, "name": "a"}]}', 400),
        (b'{"instances": [{"x": NaN, "name": "a"}]}', 200),
        (b'{"instances": [{"x": -Infinity, "name": "a"}]}', 400),
        (b'{"instances": [{"x": Infinity, "name": "a"}]}', 200),
        (b'{"instances": [{"x": 1, "x": 2, "name": "a"}]}', 200),
        (b'{"instances": [{"x": true, "name": "a"}, {"x": 1, "name": "b"}]}', 400),
        (b'{"instances": [{"x": {"b64": "!"}, "name": "a"}]}', 400),
        (b'{"instances": [{"x": 1, "name": {"b64": "//8="}}]}', 400),
        (b'{"instances": [{"x": 1, "name": {"b64": "w7w"}}]}', 200),
        (b"", 400),
        (b"null", 400),
        (b"{}", 400),
    ],
)
def test_json_at_its_edges(body, status):
    assert replied(PATHS[0], body)[0] == status


def test_nan_and_infinity_are_written_as_tokens():
    _, body = replied(PATHS[0], b'{"inputs": {"x": [NaN, Infinity], "name": ["a", "b"]}}')
    assert body == b'{"outputs":{"doubled":[NaN,Infinity],"name":["a","b"]}}'


def test_a_gzip_bomb_ends_at_the_limit():
    import gzip
    import tracemalloc

    bomb = gzip.compress(b" " * (70 << 20), 1)
    tracemalloc.start()
    _, body = replied(PATHS[0], bomb, **{"content-encoding": "gzip"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert b"larger than" in body
    assert peak < 160 << 20


@settings(max_examples=30)
@given(st.lists(st.sampled_from([2**20, 2**30, 2**40, 2**62]), min_size=1, max_size=3))
def test_a_shape_costs_nothing_before_it_is_checked(shape):
    import tracemalloc

    request = message("tensorflow.serving.PredictRequest").FromString(GOOD)
    del request.inputs["x"].tensor_shape.dim[:]
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    request.inputs["x"].tensor_content = b""
    request.inputs["x"].float_val.append(1.0)
    infer = message("inference.ModelInferRequest")(model_name="doubling")
    infer.inputs.add(name="x", datatype="FP32", shape=shape).contents.fp32_contents.append(1.0)
    infer.inputs.add(name="name", datatype="BYTES", shape=shape)
    tracemalloc.start()
    check(wire.PREDICT, request.SerializeToString())
    check(MODEL_INFER, infer.SerializeToString())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20
