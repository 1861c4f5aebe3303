"""`carrara serve` in the place of tensorflow_model_server: its flags and files, several models, versions and labels."""

from __future__ import annotations

import os
import shutil
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from doubling import Doubling, endpoint
from servers import Served, publish, served, times

from carrara import __version__
from carrara.cli.serving_flags import HONOURED, IGNORED, NEEDLESS, parse_flags
from carrara.cli.serving_options import set_threads
from carrara.core.errors import ConfigurationError
from carrara.serving.contract import Target
from carrara.serving.folder import VersionFolder
from carrara.serving.folder_predictor import Opening
from carrara.serving.folders import Folders
from carrara.serving.grpc_calls import GrpcCalls
from carrara.serving.inference import Inference
from carrara.serving.manager import ModelManager
from carrara.serving.model_config import (
    ModelConfig,
    read_batching,
    read_metrics_path,
    read_models,
    read_tls,
    without_effect,
)
from carrara.serving.protocols import tensorflow_serving as wire
from carrara.serving.version_sources import LocalVersions, RemoteVersions
from carrara.serving.versions import All, Latest, Specific
from commands import carrara

CONFIG = """
model_config_list {
  config { name: "one" base_path: "BASE/one" model_platform: "tensorflow" }
  config {
    name: "two"
    base_path: "BASE/two"
    model_version_policy { specific { versions: 1 versions: 3 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 3 }
  }
}
"""


def until(ask, wanted, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    found = ask()
    while found != wanted:
        assert time.monotonic() < deadline, f"it is still {found!r}"
        time.sleep(0.02)
        found = ask()


def states(server: Served, model: str) -> dict[str, str]:
    _, found = server.ask(f"/v1/models/{model}")
    return {one["version"]: one["state"] for one in found.get("model_version_status", [])}


def test_several_models_are_served_by_a_file_that_may_change(tmp_path):
    publish(tmp_path / "one", 7)
    for version in (1, 2, 3):
        publish(tmp_path / "two", version)
    file = tmp_path / "models.config"
    file.write_text(CONFIG.replace("BASE", str(tmp_path)))
    options = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=0.05", "--mixed_precision=none"]
    with served(*options, "--xla_cpu_compilation_enabled", cwd=tmp_path) as server:
        assert "--mixed_precision has no effect: each runtime opens its format as it is" in server.said
        assert "--xla_cpu_compilation_enabled has no effect" in server.said
        assert (server.predict("one"), server.predict("two")) == (7.0, 3.0)
        assert (server.predict("two/labels/stable"), server.predict("two/labels/canary")) == (1.0, 3.0)
        assert server.predict("two/versions/2").startswith("Servable not found for request: Specific(two, 2)")
        file.write_text("model_config_list { config { name: ")
        publish(tmp_path / "one", 8)
        until(lambda: server.predict("one"), 8.0)
        publish(tmp_path / "three", 5)
        moved = CONFIG.replace("BASE", str(tmp_path)).replace('"one"', '"three"').replace("/one", "/three")
        file.write_text(moved.replace("value: 3", "value: 1"))
        until(lambda: server.predict("three"), 5.0)
        until(lambda: server.predict("two/labels/canary"), 1.0)
        until(lambda: server.predict("one").startswith("Servable not found"), True)


@pytest.mark.slow
def test_two_hundred_models_of_a_file_are_served_in_the_memory_of_some(tmp_path):
    """Each answers by its own number, twice round, and there never is memory for all."""
    for number in range(200):
        publish(tmp_path / f"m{number}", 1, float(number))
    listed = [f'config {{ name: "m{number}" base_path: "{tmp_path}/m{number}" }}' for number in range(200)]
    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{ {' '.join(listed)} }}")
    with served(f"--model_config_file={file}", "--memory-budget=10MB", cwd=tmp_path) as server:

        def ready() -> int:
            return len(server.ask("/v2/repository/index", {"ready": True})[1])

        most = [ready()]
        for number in [*range(200), *range(199, -1, -1)]:
            assert server.predict(f"m{number}", 2.0) == 2.0 * number
            most += [ready()] if number % 20 == 0 else []
        assert len(server.ask("/v2/repository/index", {})[1]) == 200
    assert 0 < max(most) < 200, most


def test_a_version_that_is_being_copied_is_not_served(tmp_path):
    base = tmp_path / "model"
    publish(base, 1)
    # On a busy machine the copy may stand still for longer than a poll, and what does not load then is tried again.
    retries = ("--load_retry_interval_micros=50000", "--max_num_load_retries=10000")
    with served("--model_name=m", f"--model_base_path={base}", *retries, cwd=tmp_path) as server:
        graph = times(2)
        (base / "2").mkdir()
        with (base / "2" / "model.onnx").open("wb", buffering=0) as copied:
            for start in range(0, len(graph), 20):
                copied.write(graph[start : start + 20])
                assert server.predict("m") == 1.0
        until(lambda: server.predict("m"), 2.0)
        assert states(server, "m")["2"] == "AVAILABLE"
        shutil.rmtree(base / "2")
        until(lambda: server.predict("m"), 1.0)
        shutil.rmtree(base / "1")
        until(lambda: states(server, "m")["1"], "END")


def test_a_version_that_does_not_load_leaves_the_one_before(tmp_path):
    base = tmp_path / "model"
    publish(base, 1)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "model.onnx").write_bytes(b"no graph")
    options = ["--max_num_load_retries=2", "--load_retry_interval_micros=300000"]
    with served(f"--model_base_path={base}", *options, cwd=tmp_path) as server:
        (tmp_path / "made").rename(base / "2")
        until(lambda: states(server, "default").get("2"), "LOADING")
        began = time.monotonic()
        until(lambda: states(server, "default").get("2"), "END")
        assert 0.5 < time.monotonic() - began < 5
        assert server.predict("default") == 1.0


def test_browsers_of_other_origins_may_ask_where_they_are_let(tmp_path):
    import http.client

    publish(tmp_path / "model", 1)
    base = f"--model_base_path={tmp_path / 'model'}"
    with served(base, "--rest_api_enable_cors_support", "--enable_batching=false", cwd=tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
        connection.request("OPTIONS", "/v1/models/default:predict", headers={"Origin": "http://elsewhere"})
        reply = connection.getresponse()
        reply.read()
        assert (reply.status, reply.getheader("access-control-allow-origin")) == (200, "*")
        assert reply.getheader("access-control-allow-headers") == "Content-Type"


def test_policies_and_labels_are_read_from_a_file(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        """
        # a comment
        model_config_list: {
          config: { name: "a", base_path: "/a", model_version_policy: { latest: { num_versions: 2 } } },
          config: { name: "b", base_path: "/b", model_version_policy: { all: {} }, model_type: TENSORFLOW },
          config: { name: "c", base_path: "s3://c", model_version_policy { specific { versions: 4 } } },
          config: { name: "d", base_path: "/d", logging_config { sampling_config { sampling_rate: 0.1 } } }
        }
        """
    )
    assert [one.policy for one in read_models(file)] == [Latest(2), All(), Specific((4,)), Latest(1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_config_list { config { nam: 'x' } }", "no field named"),
        ("custom_model_config {}", "custom_model_config is not served"),
        ("model_config_list { config { name: 'x' } }", "needs a name and a base_path"),
        ("model_config_list { config { name: 'x' base_path: '/x' model_platform: 'caffe' } }", "platform 'caffe'"),
        (
            "model_config_list { config { name: 'x' base_path: '/x' } config { name: 'x' base_path: '/y' } }",
            "Illegal to list model x multiple times in config list",
        ),
        (
            "model_config_list { config { name: 'x' base_path: '/x' model_type: OTHER model_platform: 'tensorflow' } }",
            "both the model_type and the model_platform",
        ),
    ],
)
def test_a_file_that_makes_no_sense_says_why(tmp_path, text, says):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_models(tmp_path / "models.config")


def test_batching_monitoring_and_tls_are_read_from_files(tmp_path):
    file = tmp_path / "file"
    file.write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } num_batch_threads { value: 8 }\n"
        "allowed_batch_sizes: 32 allowed_batch_sizes: 128 pad_variable_length_inputs: true"
    )
    assert read_batching(file) == (128, (32, 128))
    told = [sentence.split()[0] for sentence in without_effect(file)]
    assert told == ["batch_timeout_micros", "num_batch_threads", "pad_variable_length_inputs"]
    file.write_text(
        "max_batch_size { value: 128 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 32 } allowed_batch_sizes: 32"
    )
    assert (read_batching(file), without_effect(file)) == ((32, (32,)), [])
    file.write_text("max_batch_size { value: 128 } allowed_batch_sizes: 64")
    with pytest.raises(ConfigurationError, match="monotonically increasing"):
        read_batching(file)
    file.write_text('prometheus_config { enable: true, path: "/there" }')
    assert read_metrics_path(file) == "/there"
    file.write_text("prometheus_config { enable: true }")
    assert read_metrics_path(file) == "/monitoring/prometheus/metrics"
    file.write_text('server_key: "key.pem" server_cert: "cert.pem"')
    with pytest.raises(ConfigurationError, match="no PEM text"):
        read_tls(file)


def test_a_version_says_for_itself_how_it_is_batched_and_one_that_does_not_is_not(tmp_path):
    own, none = publish(tmp_path / "own", 1), publish(tmp_path / "none", 1)
    (own / "batching_params.pbtxt").write_text("max_batch_size { value: 8 } allowed_batch_sizes: [4, 8]")
    opening = Opening(own_batching=True, sizes=(16,))
    loaded = [
        VersionFolder("m", LocalVersions(one.parent, 0), opening=opening).load(Target("m", "m", 1))
        for one in (own, none)
    ]
    assert [one.most_rows for one in loaded] == [8, 1]
    paddings = [one.predict({"x": np.ones(3, np.float32)}).padding for one in loaded]
    assert paddings == [1, 0]
    (own / "batching_params.pbtxt").write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4")
    with pytest.raises(ConfigurationError, match="monotonically increasing"):
        VersionFolder("m", LocalVersions(own.parent, 0), opening=opening).load(Target("m", "m", 1))


def test_what_a_version_says_of_its_batching_holds_while_it_is_served(tmp_path):
    version = publish(tmp_path / "own", 1)
    (version / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 4")
    options = [f"--model_base_path={tmp_path / 'own'}", "--enable_batching", "--enable_per_model_batching_parameters"]
    with served(*options, cwd=tmp_path) as server:
        assert server.predict("default") == 1.0
        with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/metrics", timeout=20) as reply:
            told = reply.read().decode()
    assert ':tensorflow:serving:batching_session:padding_size_sum{model_name="default"} 3.0' in told
    assert "has no effect" not in server.said


def test_calls_that_look_alike_are_run_with_no_more_rows_than_a_version_takes():
    predictor = Doubling()
    predictor.most_rows = 4
    manager = ModelManager(lambda: [endpoint(1)], lambda _: predictor)
    manager.reconcile()
    calls = GrpcCalls(Inference(manager), manager)
    data = [
        wire.encode_request("doubling", {"x": np.array([n], np.float32), "name": np.array(["a"], object)})
        for n in range(1, 11)
    ]
    for _ in range(3):
        predictor.runs.clear()
        found = calls.handle([(wire.PREDICT, one) for one in data])
        assert [wire.decode_response(one.data)[1]["doubled"][0] for one in found] == [2 * n for n in range(1, 11)]
        assert predictor.runs == [4, 4, 2]


def test_every_flag_of_the_original_is_taken():
    arguments = [
        f"--{name}" if HONOURED.get(name) is bool else f"--{name}=1" for name in (*HONOURED, *NEEDLESS, *IGNORED)
    ]
    flags = parse_flags(arguments)
    assert flags.values.keys() == HONOURED.keys()
    assert flags.ignored == tuple(IGNORED)
    assert all(sentence.startswith("--") and len(sentence) > 30 for sentence in flags.without_effect())


@pytest.mark.parametrize("name", [*HONOURED, *NEEDLESS, *IGNORED])
def test_a_flag_is_taken_with_its_value_behind_a_space_as_behind_an_equals_sign(name):
    kind = HONOURED.get(name, bool if name in NEEDLESS else str)
    value = "false" if kind is bool else "3"
    after = ["--enable_batching", "--num_load_threads", "2"]
    assert parse_flags([f"--{name}", value, *after]) == parse_flags([f"--{name}={value}", *after])


def test_the_server_says_its_version():
    assert carrara("serve", "--version").stdout == f"carrara {__version__}\n"


def test_tensorflows_threads_are_set_before_it_is_imported(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(name, "")
    set_threads(parse_flags(["--tensorflow_intra_op_parallelism=3"]))
    assert (os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["TF_NUM_INTEROP_THREADS"]) == ("3", "")
    set_threads(parse_flags(["--tensorflow_session_parallelism=2"]))
    assert (os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["TF_NUM_INTEROP_THREADS"]) == ("2", "2")
    with pytest.raises(ConfigurationError, match="beside what it stands for"):
        set_threads(parse_flags(["--tensorflow_session_parallelism=2", "--tensorflow_inter_op_parallelism=1"]))


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--enable_baching", "enable_batching"),
        ("--enable_batching=maybe", "true or false"),
        ("--rest_api_timeout_in_ms=soon", "a number"),
        ("models", "no option 'models'"),
    ],
)
def test_a_flag_that_is_none_is_refused_with_the_nearest(argument, says):
    with pytest.raises(ConfigurationError) as raised:
        parse_flags([argument])
    assert says in str(raised.value)


def test_a_folder_is_complete_when_nothing_in_it_changes(tmp_path):
    source = LocalVersions(tmp_path, settle_seconds=30)
    publish(tmp_path, 1)
    (tmp_path / "2").mkdir()
    assert source.versions() == []
    assert LocalVersions(tmp_path, settle_seconds=0).versions() == [1]


@pytest.mark.parametrize("always", [False, True])
def test_where_the_last_folder_goes_its_version_goes_too_unless_one_has_to_be_there(tmp_path, always):
    publish(tmp_path, 3)
    folders = Folders([ModelConfig("m", str(tmp_path))], settle_seconds=0, always_present=always)
    assert [one.version for one in folders.desired()[0].targets] == [3]
    shutil.rmtree(tmp_path / "3")
    assert [one.version for one in folders.desired()[0].targets] == ([3] if always else [])
    publish(tmp_path, 4)
    assert [one.version for one in folders.desired()[0].targets] == [4]


def test_versions_lie_at_an_address_that_fsspec_opens(tmp_path):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/served/1/model.onnx", times(1))
    files.pipe("/served/notes.txt", b"")
    source = RemoteVersions("memory://served")
    assert source.versions() == [1]
    files.pipe("/served/2/model.onnx", times(2)[:50])
    assert source.versions() == [1]
    files.pipe("/served/2/model.onnx", times(2))
    assert source.versions() == [1]
    assert source.versions() == [1, 2]
    with source.opened(2) as folder:
        assert (Path(folder) / "model.onnx").read_bytes() == times(2)
    assert not Path(folder).exists()
