"""A user's own Python, in a process of its own: what it answers, refuses, and how it dies."""

from __future__ import annotations

import numpy as np
import pytest

from carrara.core.errors import ConfigurationError, DataError, RequestError, UnavailableError
from carrara.models.runtimes.base import open_folder
from carrara.models.signature import TensorSpec

MODEL = """
import os
import numpy as np

class Model:
    inputs = {"x": ("float32", [None]), "name": ("string", [None])}
    outputs = {"twice": ("float32", [None]), "greeting": ("string", [None]), "raw": ("bytes", [None])}

    def __init__(self, folder):
        self.greeting = open(os.path.join(folder, "greeting.txt")).read()

    def predict(self, x, name):
        print("a user may print")
        if (x < 0).any():
            raise ValueError("x is negative")
        if (x == 13).any():
            os._exit(1)
        greetings = [f"{self.greeting} {one}" for one in name]
        return {"twice": x * 2, "greeting": greetings, "raw": [b"\\xff"] * len(x)}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "greeting.txt").write_text("hello")
    return tmp_path


@pytest.fixture
def servable(folder):
    opened = open_folder(folder, allow_code=True)["serving_default"]
    yield opened
    opened.close()


def inputs(*values: float):
    return {"x": np.array(values, np.float32), "name": np.array(["ü"] * len(values), object)}


def test_it_answers_numbers_texts_and_bytes(servable):
    servable.warm_up()
    assert servable.signature.inputs == (TensorSpec("x", "float32"), TensorSpec("name", "string"))
    found = servable.run(inputs(1.5, 2.0))
    assert (found["twice"].tolist(), found["twice"].dtype) == ([3.0, 4.0], np.float32)
    assert found["greeting"].tolist() == ["hello ü", "hello ü"]
    assert found["raw"].tolist() == [b"\xff", b"\xff"]


def test_what_it_raises_is_told_and_it_goes_on(servable):
    with pytest.raises(RequestError, match="ValueError: x is negative"):
        servable.run(inputs(-1.0))
    assert servable.run(inputs(1.0))["twice"].tolist() == [2.0]


def test_a_request_that_kills_it_fails_and_the_next_is_answered(servable):
    with pytest.raises(UnavailableError, match="started again"):
        servable.run(inputs(13.0))
    assert servable.run(inputs(1.0))["twice"].tolist() == [2.0]


def test_it_runs_only_where_that_is_allowed(folder):
    with pytest.raises(ConfigurationError, match="--allow-python"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("class Model: pass", "cannot be used"),
        ("syntax error", "SyntaxError"),
        (
            "class Model:\n  def __init__(self, folder): self.inputs, self.outputs = {'x': ('int', [1])}, {}",
            "unknown type",
        ),
    ],
)
def test_a_file_that_is_no_model_says_why(tmp_path, source, says):
    (tmp_path / "model.py").write_text(source)
    with pytest.raises(DataError, match=says):
        open_folder(tmp_path, allow_code=True)
