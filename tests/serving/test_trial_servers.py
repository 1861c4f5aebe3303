"""Safe to serve in every server that the user names: started, waited for, asked, ended; and requests to warm up by."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import carrara
from carrara.core.errors import DefinitionError
from carrara.core.tfrecords import read_records
from carrara.evaluation.evaluate import Evaluation
from carrara.evaluation.evidence import Evidence
from carrara.models.registry import warm_up_of
from carrara.models.version_files import WARM_UP
from carrara.pipelines.evaluation_config import gate_of
from carrara.serving.predictor import open_predictor
from carrara.serving.trial import try_to_serve
from carrara.serving.trial_servers import try_server
from carrara.serving.warm_up import WARM_UP_FILE
from tiny_models import SIGNATURE, doubling

ROWS = pl.DataFrame({"x": np.array([1, 2.5, -3, 4], np.float32)})
DOUBLED = np.array([2, 5, -6, 8], np.float32)
FLAGS = "--model_name {model} --port {port} --rest_api_port {rest_port}"
HERE = f"{shlex.quote(sys.executable)} -m carrara serve --model_base_path {{folder}} {FLAGS}"


def tried(*servers: str, rows: int = 4, within: float = 120, tries: int = 1):
    return try_to_serve(
        {"model.onnx": doubling()},
        format="onnx",
        signature=SIGNATURE,
        rows=ROWS.head(rows),
        expected=DOUBLED[:rows],
        within_seconds=within,
        servers=servers,
        tries=tries,
    )


def said(trial) -> str:
    return carrara.safe_to_serve().judge(Evidence(Evaluation(rows=1, metrics={}), trial=trial)).message


def test_an_artifact_may_be_loaded_only():
    trial = tried(rows=0)
    assert (trial.safe, trial.rows, trial.p99_ms) == (True, 0, None)
    assert trial.load_seconds > 0
    assert said(trial) == "it was loaded and warmed up"


@pytest.mark.slow
def test_every_environment_has_to_answer_as_the_artifact_did(tmp_path):
    """Another Python environment, and whatever a command starts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    (site,) = (tmp_path / "other").glob("lib/python*/site-packages")
    (site / "those.pth").write_text("\n".join(path for path in sys.path if path))
    other = HERE.replace(shlex.quote(sys.executable), str(tmp_path / "other" / "bin" / "python"))
    trial = tried(HERE, other, f"sh -c 'exec {HERE}'")
    assert trial.safe, trial.reason
    assert [one["command"] for one in trial.servers] == [HERE, other, f"sh -c 'exec {HERE}'"]
    assert all(one["rows"] == 4 and 0 < one["p50_ms"] <= one["p99_ms"] for one in trial.servers)
    assert said(trial).endswith("and in 3 servers more")


def test_a_server_that_ends_is_told_with_what_it_said_last(tmp_path):
    asking, found = [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "found.json"
    command = "sh -c 'echo loading {folder}; echo it needs a newer CPU >&2; exit 3' {port}"
    told = try_server(command, tmp_path / "m", asking, found, "m", within=120)
    assert told == {"command": command, "reason": "it ended with 3: it needs a newer CPU"}
    told = try_server("/nowhere/serve {folder} {port}", tmp_path / "m", asking, found, "m", within=120)
    assert told["reason"].startswith("it cannot be started: ")
    told = try_server("sh -c 'sleep 600' {folder} {port}", tmp_path / "m", ["true"], found, "m", within=120)
    assert told["reason"] == "who asks it ended without a result"


@pytest.mark.slow
def test_a_server_that_hangs_lies_or_cannot_load_is_refused_and_nothing_of_it_stays(tmp_path):
    hanging = f"sh -c 'echo $$ > {tmp_path}/pid; trap \"\" TERM; while true; do sleep 1; done' {{folder}} {{port}}"
    asking = [sys.executable, "-c", "import time; time.sleep(600)"]
    told = try_server(hanging, tmp_path / "m", asking, tmp_path / "found.json", "m", within=10)
    assert "it had not answered after 10 s" in told["reason"]
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    for name, model in (("lying", tripling()), ("broken", b"no graph")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(model)
    elsewhere = HERE.replace("{folder}", str(tmp_path / "lying"))
    assert "it answers 3 to row 0, and was evaluated with 2" in tried(f"sh -c 'exec {elsewhere}' {{folder}}").reason
    elsewhere = HERE.replace("{folder}", str(tmp_path / "broken"))
    assert "the server cannot load it" in tried(f"sh -c 'exec {elsewhere}' {{folder}}").reason


def tripling() -> bytes:
    from onnx import TensorProto, helper

    named = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "doubled")]
    nodes = [helper.make_node("Sum", ["x", "x", "x"], ["doubled"])]
    made = helper.make_graph(nodes, "g", named[:1], named[1:])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.slow
def test_what_fails_once_is_tried_again_and_the_record_says_how_often(tmp_path):
    flaky = f"sh -c 'test -e {tmp_path}/again || {{{{ touch {tmp_path}/again; exit 1; }}}}; exec {HERE}'"
    trial = tried(flaky, tries=3)
    assert (trial.reason, trial.tries) == ("", 2)
    assert said(trial).endswith("at the try 2")
    assert tried("false {folder} {port}", tries=2).tries == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"servers": ("serve --port {port}",)}, "does not say where {folder} is served"),
        ({"servers": ("serve {folder}",)}, "does not say where {port} is listened on"),
        ({"servers": ("serve '{folder} {port}",)}, "No closing quotation"),
        ({"servers": ("serve {folder} {port} {grpc}",)}, "'grpc' is no place"),
        ({"servers": ("",)}, "does not say where"),
        ({"rows": 201}, "rows=201"),
        ({"tries": 0}, "tries=0"),
        ({"warm_up": -1}, "warm_up=-1"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_when_it_is_declared(options, told):
    with pytest.raises(DefinitionError) as error:
        carrara.safe_to_serve(**options)
    assert told in str(error.value)


def test_a_gate_is_plain_data_and_back_and_one_of_before_is_the_same():
    assert carrara.safe_to_serve().spec() == {"gate": "safe_to_serve", "within": "60s"}
    gate = carrara.safe_to_serve("5s", rows=0, tries=2, servers=("serve {folder} {port}",), warm_up=3)
    assert gate_of(gate.spec()) == gate


@pytest.fixture
def warmed(fresh):
    """A version that was trained with requests to warm up by."""
    text = (fresh.root / "definitions.py").read_text()
    gates = 'gates=(carrara.safe_to_serve(rows=0, warm_up=5), carrara.at_least("roc_auc", 0.1),)'
    text = text.replace('gates=(carrara.at_least("roc_auc", 0.5),)', gates).replace("trees=40", "trees=4")
    (fresh.root / "definitions.py").write_text(text)
    fresh.forget_definitions()
    fresh.apply()
    fresh.train("late")
    return fresh


def test_a_version_brings_requests_that_its_server_runs_first_wherever_it_goes(warmed, tmp_path):
    version = warmed.models.get("late")
    assert len(list(read_records(warm_up_of(warmed.stores, version)))) == 6
    warmed.features.materialise()
    predictor = open_predictor(warmed.stores, version)
    assert predictor.warm_up() == 6
    predictor.close()
    assert warmed.models.reproduce("late").equal
    folder = warmed.models.push("late", tmp_path / "served")
    assert len(list(read_records((folder / WARM_UP_FILE).read_bytes()))) == 6
    bundle = warmed.models.export("late", tmp_path / "late.carrara")
    assert warmed.models.record(str(warmed.models.import_bundle(bundle, "again")))["files"][WARM_UP]


@pytest.mark.slow
def test_a_pushed_version_is_warmed_up_by_a_real_server(warmed, tmp_path):
    """By the names of the graph, which are not those of the features."""
    warmed.models.push("late", tmp_path / "served")
    rows = tried_folder(tmp_path / "served")
    assert rows == 6


def tried_folder(base: Path) -> int:
    from carrara.serving.folder import VersionFolder
    from carrara.serving.version_sources import LocalVersions

    folder = VersionFolder("late", LocalVersions(base, 0.0))
    (target,) = folder.endpoint().targets
    predictor = folder.load(target)
    try:
        return predictor.warm_up()
    finally:
        predictor.close()
