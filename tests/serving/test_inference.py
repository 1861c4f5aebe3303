"""The middle of serving: shared runs, poison that fails alone, answers that are never mixed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from doubling import NEWEST, Doubling, endpoint

from carrara.core.errors import NotFoundError, RequestError
from carrara.models.signature import Signature, TensorSpec
from carrara.serving.contract import Choice, Prediction
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.requests import Answer, Request


@pytest.fixture
def predictor():
    return Doubling()


@pytest.fixture
def manager(predictor):
    made = ModelManager(lambda: [endpoint(1)], lambda target: predictor)
    made.reconcile()
    return made


def request(x, names=None, **more) -> Request:
    column = np.array(names or ["n"] * len(x), dtype=object)
    return Request(NEWEST, {"x": np.array(x, np.float32), "name": column}, **more)


def test_requests_that_wait_together_share_one_run(manager, predictor):
    answers = Inference(manager).answer_all([request([1.0]), request([2.0, 3.0]), request([4.0])])
    assert [answer.outputs["doubled"].tolist() for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    assert predictor.runs == [4]


def test_a_poison_request_fails_alone(manager, predictor):
    answers = Inference(manager).answer_all([request([1.0]), request([-1.0]), request([3.0])])
    assert isinstance(answers[1], RequestError)
    assert [answers[0].outputs["doubled"].tolist(), answers[2].outputs["doubled"].tolist()] == [[2.0], [6.0]]


def test_a_request_of_the_wrong_type_fails_alone(manager):
    odd = Request(NEWEST, {"x": np.array(["a"], dtype=object), "name": np.array(["n"], dtype=object)})
    good, bad = Inference(manager).answer_all([request([1.0]), odd])
    assert isinstance(good, Answer)
    assert isinstance(bad, RequestError)
    assert bad.field == "x"


def test_no_answer_reaches_another_request_under_many_threads(manager):
    inference = Inference(manager)

    def ask(thread: int) -> bool:
        nonces = [f"{thread}-{number}" for number in range(20)]
        answers = inference.answer_all([request([float(n)], [nonce]) for n, nonce in enumerate(nonces)])
        return [answer.outputs["name"][0] for answer in answers] == nonces

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_an_output_that_is_not_there_is_named(manager):
    (answer,) = Inference(manager).answer_all([request([1.0], output_filter=("dubled",))])
    assert isinstance(answer, RequestError)
    assert "Did you mean 'doubled'" in str(answer)


def test_only_the_outputs_that_were_asked_for_are_given(manager):
    (answer,) = Inference(manager).answer_all([request([1.0], output_filter=("doubled",))])
    assert list(answer.outputs) == ["doubled"]


def test_an_unknown_endpoint_names_the_nearest_and_spoils_no_other_request(manager):
    unknown = Request(Choice("dubling"), {})
    bad, good = Inference(manager).answer_all([unknown, request([1.0])])
    assert isinstance(bad, NotFoundError)
    assert "doubling" in str(bad)
    assert isinstance(good, Answer)


def test_what_was_predicted_is_logged_once_and_refusals_are_not(manager):
    logged: list[int] = []
    Inference(manager, lambda record, **how: logged.append(record)).answer_all(
        [request([1.0]), request([-2.0]), request([3.0, 4.0])]
    )
    assert sorted(logged) == [1, 2]


@pytest.mark.parametrize("dtype", ["int8", "uint64", "int32", "float16", "bool", "complex64"])
def test_outputs_of_any_type_and_shape_are_answered(dtype):
    signature = Signature((TensorSpec("x", dtype, (None, 2)),), (TensorSpec("x", dtype, (None, 2)),))

    class Echo(Doubling):
        def predict(self, inputs, signature_name=""):
            return Prediction(dict(inputs), "serving_default", len(inputs["x"]))

    echo = Echo()
    echo.signatures = {"serving_default": signature}
    made = ModelManager(lambda: [endpoint(1)], lambda target: echo)
    made.reconcile()
    for rows in (0, 3):
        values = np.ones((rows, 2), dtype)
        assert Inference(made).answer(Request(NEWEST, {"x": values})).outputs["x"].tolist() == values.tolist()
