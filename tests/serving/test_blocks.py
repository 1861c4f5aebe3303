"""Calls read and written as blocks against the ordinary way, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from carrara.serving.protocols.blocks import Blocks
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensorflow_serving import decode_predict, encode_predict, encode_request
from carrara.serving.requests import Answer

Inputs = dict[str, np.ndarray]
NUMBERS = st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.uint16, np.bool_, np.float16])


def texts(values: list[str]) -> np.ndarray:
    """As they are read from a wire."""
    return np.array([value.encode() for value in values], dtype=object)


@st.composite
def calls_of_one_form(draw: st.DrawFn) -> list[Inputs]:
    rows, inner = draw(st.integers(1, 3)), draw(st.sampled_from([(), (2,), (2, 3)]))
    types = draw(st.dictionaries(st.sampled_from(["a", "b", "view:c", "ü"]), NUMBERS | st.just(None), min_size=1))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def one() -> Inputs:
        return {
            name: texts([f"k{n}" for n in seed.integers(10, 99, rows)])
            if dtype is None
            else seed.integers(0, 100, (rows, *inner)).astype(dtype)
            for name, dtype in types.items()
        }

    return [one() for _ in range(draw(st.integers(1, 5)))]


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and found.dtype == wanted.dtype and (found == wanted).all()


@given(calls_of_one_form())
def test_a_block_holds_what_its_calls_hold_one_after_the_other(calls: list[Inputs]) -> None:
    blocks = Blocks(decode_predict, encode_predict)
    data = [encode_request("m", inputs, "serving_default") for inputs in calls]
    blocks.read([*data, *data])
    ((block,), others) = blocks.read(data)
    assert others == []
    assert block.places == tuple(range(len(calls)))
    assert (block.request.choice, block.request.calls) == (decode_predict(data[0]).choice, len(calls))
    for name, array in block.request.inputs.items():
        assert same(array, np.concatenate([inputs[name] for inputs in calls]))


@given(calls_of_one_form())
def test_an_answer_is_written_as_if_each_call_had_its_own(calls: list[Inputs]) -> None:
    blocks = Blocks(decode_predict, encode_predict)
    joined = {name: np.concatenate([inputs[name] for inputs in calls]) for name in calls[0]}
    written = blocks.write(Answer("m", 3, "serving_default", joined), len(calls))
    again = blocks.write(Answer("m", 3, "serving_default", joined), len(calls))
    for place, outputs in enumerate(calls):
        response = message("tensorflow.serving.PredictResponse").FromString(written[place])
        wanted = encode_predict(Answer("m", 3, "serving_default", outputs))
        assert response == message("tensorflow.serving.PredictResponse").FromString(wanted)
    assert again == written


def test_a_first_message_of_its_length_goes_the_ordinary_way() -> None:
    blocks = Blocks(decode_predict, encode_predict)
    data = encode_request("m", {"x": np.array([1.0, 2.0])})
    assert blocks.read([data]) == ([], [0])


def test_another_model_of_the_same_length_is_another_block() -> None:
    blocks = Blocks(decode_predict, encode_predict)
    one, two = (encode_request(name, {"x": np.array([1.0])}) for name in ("one", "two"))
    for _ in range(4):
        blocks.read([one, one, two, two])
    found, others = blocks.read([one, two, one])
    assert others == []
    assert {block.request.choice.endpoint: block.places for block in found} == {"one": (0, 2), "two": (1,)}


def test_bytes_that_differ_anywhere_but_in_values_go_the_ordinary_way() -> None:
    blocks = Blocks(decode_predict, encode_predict)
    data = encode_request("m", {"x": np.array([1.0, 2.0])})
    blocks.read([data, data])
    value = data.index(np.array([1.0, 2.0]).tobytes())
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        found, others = blocks.read([bytes(changed)])
        inside = value <= place < value + 16
        assert (len(found), others) == ((1, []) if inside else (0, [0]))


@pytest.mark.parametrize(
    "fill",
    [
        lambda tensor: tensor.int_val.extend([1, 300]),
        lambda tensor: tensor.float_val.append(1.0),
        lambda tensor: setattr(tensor, "tensor_content", b"123"),
        lambda tensor: tensor.string_val.append(b"\xff\xfe"),
    ],
    ids=["varints", "one value for two", "too few bytes", "one text for two"],
)
def test_what_has_no_fixed_places_or_is_wrong_is_never_a_block(fill) -> None:
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = 7 if fill.__code__.co_names[0] == "string_val" else 3 if "int_val" in fill.__code__.co_names else 1
    tensor.tensor_shape.dim.add().size = 2
    fill(tensor)
    blocks, data = Blocks(decode_predict, encode_predict), request.SerializeToString()
    for _ in range(3):
        assert blocks.read([data, data]) == ([], [0, 1])


def test_a_text_that_is_no_utf_8_is_read_as_its_bytes() -> None:
    blocks = Blocks(decode_predict, encode_predict)
    data = encode_request("m", {"x": texts(["ab"])})
    blocks.read([data, data])
    ((block,), others) = blocks.read([data.replace(b"ab", b"\xff\xfe")])
    assert (block.request.inputs["x"].tolist(), others) == ([b"\xff\xfe"], [])
