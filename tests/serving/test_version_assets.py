"""What a version's folder says beside its model: settings of its session, and what its lineage calls it."""

from __future__ import annotations

import logging

import pytest
from servers import publish

from carrara.core.errors import DataError
from carrara.core.tfrecords import write_record
from carrara.serving.contract import Choice, Endpoint, Target
from carrara.serving.folder import VersionFolder
from carrara.serving.manager import ModelManager
from carrara.serving.metrics import Metrics
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.protocols.messages import message
from carrara.serving.slots import AVAILABLE, LOADING
from carrara.serving.version_assets import session_settings
from carrara.serving.version_sources import LocalVersions


def extra(folder, name: str, data: bytes) -> None:
    (folder / "assets.extra").mkdir(exist_ok=True)
    (folder / "assets.extra" / name).write_bytes(data)


def managed(base, metrics: Metrics | None = None) -> ModelManager:
    served = VersionFolder("m", LocalVersions(base, 0), base_path=str(base))
    manager = ModelManager(lambda: [served.endpoint()], served.load, metrics=metrics)
    manager.reconcile()
    return manager


def test_settings_of_a_session_are_read_and_each_is_told_with_what_holds_instead(tmp_path, caplog):
    config = message("tensorflow.serving.SavedModelConfig")()
    config.session_overrides.batch_op_rewriter_config.SetInParent()
    config.session_overrides.disable_meta_optimizer = True
    config.tfrt_runtime_config.SetInParent()
    version = publish(tmp_path, 1)
    extra(version, "saved_model_config.pb", config.SerializeToString())
    names = ["batch_op_rewriter_config", "disable_meta_optimizer", "tfrt_runtime_config"]
    assert session_settings(version) == names
    with caplog.at_level(logging.WARNING, logger="carrara.serving"):
        assert managed(tmp_path).status(Choice("m"))[0].state == AVAILABLE
    told = [record.getMessage() for record in caplog.records]
    assert [text.split()[3].rstrip(",") for text in told] == names
    assert all("which has no effect: " in text for text in told)


def test_settings_that_cannot_be_read_fail_the_version(tmp_path):
    version = publish(tmp_path, 1)
    extra(version, "saved_model_config.pb", b"\xff\xff\xff")
    (found,) = managed(tmp_path).status(Choice("m"))
    assert found.state == LOADING
    assert "Unable to parse SavedModelConfig" in found.error
    with pytest.raises(DataError):
        session_settings(version)


def test_a_name_of_lineage_that_is_none_fails_the_version(tmp_path):
    extra(publish(tmp_path, 1), "mlmd_uuid", b"two\nlines")
    (found,) = managed(tmp_path).status(Choice("m"))
    assert "names no lineage" in found.error


def test_lineage_and_warm_ups_are_told_to_prometheus_under_tensorflow_servings_names(tmp_path):
    import numpy as np

    log = message("tensorflow.serving.PredictionLog")()
    log.predict_log.request.ParseFromString(wire.encode_request("m", {"x": np.ones(2, np.float32)}))
    version = publish(tmp_path, 3)
    extra(version, "mlmd_uuid", b"8f1c-42\n")
    extra(version, "tf_serving_warmup_requests", 2 * write_record(log.SerializeToString()))
    bad = publish(tmp_path, 4)
    extra(bad, "tf_serving_warmup_requests", b"no record")
    metrics = Metrics()
    served = VersionFolder("m", LocalVersions(tmp_path, 0), base_path=str(tmp_path))
    wanted = Endpoint("m", (Target("m", "m", 3), Target("m", "m", 4)))
    ModelManager(lambda: [wanted], served.load, metrics=metrics).reconcile()
    lines = dict(line.rsplit(" ", 1) for line in metrics.exposition().splitlines() if not line.startswith("#"))
    name = ":tensorflow:serving:mlmd_map"
    assert lines[f'{name}{{model_name="m",version="3",mlmd_uuid="8f1c-42"}}'] == "1"
    latency = ":tensorflow:serving:model_warmup_latency_count"
    assert lines[f'{latency}{{model_path="{version}",status="OK"}}'] == "1"
    assert lines[f'{latency}{{model_path="{bad}",status="INVALID_ARGUMENT"}}'] == "1"
    assert lines[f':tensorflow:serving:model_warmup_records_read{{model_path="{version}"}}'] == "2"
