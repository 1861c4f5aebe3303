"""Requests that a version brings: run before it serves, and a bad one fails it."""

from __future__ import annotations

import numpy as np
import pytest
from doubling import Doubling

from carrara.core.errors import DataError, RequestError
from carrara.core.tfrecords import write_record
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.messages import message
from carrara.serving.warm_up import MOST_RECORDS, warm_up


def record(rows: int = 1, **inputs) -> bytes:
    made = {"x": np.ones(rows, np.float32), "name": np.array(["n"] * rows, object), **inputs}
    log = message("tensorflow.serving.PredictionLog")()
    log.predict_log.request.MergeFromString(wire.encode_request("doubling", made))
    return write_record(log.SerializeToString())


def test_each_record_is_run():
    predictor = Doubling()
    warm_up(predictor, record(2) + record(5))
    assert predictor.runs == [2, 5]


def test_a_record_is_what_tensorflow_writes():
    # tf.io.TFRecordWriter's bytes.
    assert write_record(b"carrara").hex() == "0700000000000000bbd79f1163617272617261568eabd3"


@pytest.mark.parametrize(
    ("records", "error", "says"),
    [
        (b"short", DataError, "end within a length"),
        (record()[:-6], DataError, "end within a record"),
        (b"\0" + record(), DataError, "no valid length"),
        (write_record(b"\xff\xff"), DataError, "Failed to parse a warmup record: 0"),
        (write_record(b""), DataError, "record of no kind"),
        (record(x=np.array(["a"], object)), RequestError, "'x'"),
        (record() * (MOST_RECORDS + 1), DataError, "exceeds the maximum"),
    ],
    ids=["no length", "no end", "wrong length", "no message", "no kind", "wrong type", "too many"],
)
def test_a_record_that_is_none_fails_the_version(records, error, says):
    with pytest.raises(error, match=says):
        warm_up(Doubling(), records)
