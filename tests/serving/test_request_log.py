"""A model's `logging_config`: what it was asked and answered, in the files that it is warmed up with (S29)."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from doubling import Doubling, endpoint
from servers import publish, served

from carrara.core.errors import ConfigurationError
from carrara.core.tfrecords import read_records
from carrara.serving.contract import Choice
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.metrics import Metrics
from carrara.serving.model_config import read_models
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.messages import message
from carrara.serving.protocols.tensors import from_tensor
from carrara.serving.request_log import Logging, RequestLog
from carrara.serving.requests import Request

CONFIG = """model_config_list {{ config {{ name: "m" base_path: "{base}/m" {more} }} }}"""
KEPT = 'logging_config {{ log_collector_config {{ type: "any" filename_prefix: "{base}/kept" }} {more} }}'


def records(folder: Path) -> list:
    found = [record for path in sorted(folder.glob("kept-*")) for record in read_records(path.read_bytes())]
    return [message("tensorflow.serving.PredictionLog").FromString(record) for record in found]


def values(tensors, name: str) -> list:
    return from_tensor(name, tensors[name]).tolist()


def test_requests_of_every_protocol_are_kept_and_warm_the_next_version_up(tmp_path):
    publish(tmp_path / "m", 2)
    file = tmp_path / "models.config"
    kept = KEPT.format(base=tmp_path, more="sampling_config { sampling_rate: 1 }")
    file.write_text(CONFIG.format(base=tmp_path, more=kept))
    with served(f"--model_config_file={file}", cwd=tmp_path) as server:
        assert server.predict("m", 3.0) == 6.0
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            for value in range(4):
                data = wire.encode_request("m", {"x": np.array([value, 1], np.float32)})
                channel.unary_unary(wire.PREDICT)(data, timeout=20)
    found = records(tmp_path)
    assert len(found) == 5
    asked = [values(one.predict_log.request.inputs, "x") for one in found]
    assert asked == [[3.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
    for one in found:
        log = one.predict_log
        assert values(log.response.outputs, "y") == [2 * x for x in values(log.request.inputs, "x")]
        spec = one.log_metadata.model_spec
        assert (spec.name, spec.version.value, one.log_metadata.sampling_config.sampling_rate) == ("m", 2, 1.0)
        assert one.log_metadata.timestamp_secs > 1_700_000_000
    (written,) = tmp_path.glob("kept-m-*.tfrecord")
    made = publish(tmp_path / "making", 3)
    (made / "assets.extra").mkdir()
    written.rename(made / "assets.extra" / "tf_serving_warmup_requests")
    made.rename(tmp_path / "m" / "3")
    with served("--model_name=m", f"--model_base_path={tmp_path / 'm'}", cwd=tmp_path) as server:
        assert server.predict("m", 3.0) == 9.0


def test_each_call_of_a_block_is_sampled_by_itself(tmp_path):
    log = RequestLog(lambda: {"doubling": Logging(str(tmp_path / "kept"), 0.5)}, seed=7)
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    manager.reconcile()
    inference = Inference(manager, taken=log.ran)
    numbers = np.arange(400, dtype=np.float32)
    inputs = {"x": numbers, "name": np.array(["a"] * 400, dtype=object)}
    inference.answer(Request(Choice("doubling"), inputs, calls=200))
    inference.answer_all([Request(Choice("doubling"), {"x": -numbers, "name": inputs["name"]})])
    log.close()
    found = records(tmp_path)
    assert 70 < len(found) < 130
    for one in found:
        first, second = values(one.predict_log.request.inputs, "x")
        assert second == first + 1
        assert values(one.predict_log.response.outputs, "doubled") == [2 * first, 2 * second]


def test_a_file_that_is_full_is_followed_by_another_and_a_lost_disk_costs_records_only(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("carrara.serving.request_log._MOST_BYTES", 10)
    logged = {"doubling": Logging(str(tmp_path / "kept"), 1.0)}
    metrics = Metrics()
    log = RequestLog(lambda: logged, metrics, seed=7)
    manager = ModelManager(lambda: [endpoint(1)], lambda _: Doubling())
    manager.reconcile()
    inference = Inference(manager, taken=log.ran)
    request = Request(Choice("doubling"), {"x": np.array([1.0], np.float32), "name": np.array(["a"], dtype=object)})
    for _ in range(2):
        inference.answer(request)
        log._outbox.flush()
    assert len(list(tmp_path.glob("kept-*"))) == 2
    logged["doubling"] = Logging(str(tmp_path / "nowhere" / "kept"), 1.0)
    inference.answer(request)
    log.close()
    assert "the request logs lack 1 requests" in caplog.text
    counted = ':tensorflow:serving:request_log_count{model_name="doubling",status_code='
    assert f'{counted}"OK"}} 2' in metrics.exposition()
    assert f'{counted}"UNAVAILABLE"}} 1' in metrics.exposition()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('logging_config { log_collector_config { filename_prefix: "/nowhere/at/all" } }', "in no folder"),
        ("logging_config { PREFIX sampling_config { sampling_rate: 7 } }", "is 7.0, and not between"),
    ],
)
def test_a_configuration_that_cannot_be_kept_to_is_named(tmp_path, more, says):
    prefix = f'log_collector_config {{ filename_prefix: "{tmp_path}/kept" }}'
    (tmp_path / "models.config").write_text(CONFIG.format(base=tmp_path, more=more.replace("PREFIX", prefix)))
    with pytest.raises(ConfigurationError, match=says):
        read_models(tmp_path / "models.config")


def test_a_collector_of_ones_own_keeps_nothing_and_that_is_said(tmp_path, caplog):
    more = "logging_config { sampling_config { sampling_rate: 0.1 } }"
    (tmp_path / "models.config").write_text(CONFIG.format(base=tmp_path, more=more))
    (model,) = read_models(tmp_path / "models.config")
    assert model.logging is None
    assert "nothing of model m is kept" in caplog.text


def test_clients_on_this_machine_may_ask_by_a_socket_in_the_file_system(tmp_path):
    publish(tmp_path / "m", 2)
    options = ("--model_name=m", f"--model_base_path={tmp_path / 'm'}", f"--grpc_socket_path={tmp_path / 'grpc'}")
    with served(*options, cwd=tmp_path) as server:
        data = wire.encode_request("m", {"x": np.array([4], np.float32)})
        with grpc.insecure_channel(f"unix:{tmp_path / 'grpc'}") as channel:
            answered = channel.unary_unary(wire.PREDICT)(data, timeout=20)
        assert wire.decode_response(answered)[1]["y"].tolist() == [8.0]
        body = json.dumps({"instances": [1.0]}).encode()
        address = f"http://127.0.0.1:{server.rest_port}/v1/models/m:predict"
        assert json.load(urllib.request.urlopen(address, body, timeout=20)) == {"predictions": [2.0]}
