"""A version evaluated again: as it was declared the same report; on other rows, by other gates, by YAML or TOML."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from test_train import edit
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import ColumnMissing, ConfigurationError, DataError, NotFoundError
from carrara.pipelines.evaluation_config import GATES, gate_of

CONFIG = """
model: late@1
since: 2024-01-22
until: 2024-01-28T00:00:00Z
metrics: [roc_auc, recall@0.3, log_loss]
slices: [depot, {far: distance > 60}, [far, depot]]
threshold: 0.4
intervals: jackknife
gates:
  - {gate: at_least, metric: roc_auc, value: 0.6}
  - {gate: no_slice_above, metric: log_loss, value: 5, min_rows: 50}
  - {gate: gap_at_most, metric: roc_auc, value: 0.5, between: depot}
  - {gate: not_worse_than_champion, metric: roc_auc}
"""


def run(workspace, *arguments):
    return CliRunner().invoke(app, ["model", "evaluate", *map(str, arguments), "-w", str(workspace.root)])


def test_what_is_not_said_otherwise_is_the_report_of_the_training(trained):
    found, record = trained.models.evaluate("late@1"), trained.models.record("late@1")
    told = found.as_dict()["evaluation"]
    for part in ("slices", "weak_slices", "fairness", "segments", "baseline"):
        assert told[part] == record["metrics"][part]
    assert told["metrics"] == record["metrics"]["test"]
    assert found.gates["results"] == record["gates"]["results"]
    assert found.blessed
    assert {name: record["charts"][name] for name in told["charts"]} == told["charts"]


def test_a_configuration_in_yaml_is_what_the_same_in_toml_and_in_python_is(trained, tmp_path):
    yaml, toml = tmp_path / "eval.yaml", tmp_path / "eval.toml"
    yaml.write_text(CONFIG)
    toml.write_text(
        'model = "late@1"\nsince = 2024-01-22\nuntil = "2024-01-28"\nmetrics = ["roc_auc", "recall@0.3", "log_loss"]\n'
        'slices = ["depot", {far = "distance > 60"}, ["far", "depot"]]\nthreshold = 0.4\nintervals = "jackknife"\n'
        'gates = [{gate = "at_least", metric = "roc_auc", value = 0.6},'
        ' {gate = "no_slice_above", metric = "log_loss", value = 5, min_rows = 50},'
        ' {gate = "gap_at_most", metric = "roc_auc", value = 0.5, between = "depot"},'
        ' {gate = "not_worse_than_champion", metric = "roc_auc"}]\n'
    )
    answered = run(trained, "-c", yaml, "--json")
    assert answered.exit_code == 0, answered.output
    found = json.loads(answered.stdout)
    assert found == json.loads(run(trained, "-c", toml, "--json").stdout)

    start = datetime(2024, 1, 22, tzinfo=UTC)
    trips = trained.datasets.read("trips").filter(pl.col("at").is_between(start, start + timedelta(days=6), "left"))
    assert found["rows"]["rows"] == trips.collect().height
    assert {one["column"] for one in found["evaluation"]["slices"]} == {"depot", "far", "far × depot"}
    assert set(found["evaluation"]["metrics"]) == {"roc_auc", "recall@0.3", "log_loss"}


def test_the_rows_of_a_time_have_the_features_that_were_known_then(trained):
    test = trained.models.evaluate("late@1")
    same = trained.models.evaluate({"model": "late@1", "since": "2024-01-20"})
    assert same.rows["rows"] == test.rows["rows"]
    assert same.evaluation.metrics["roc_auc"].value == pytest.approx(test.evaluation.metrics["roc_auc"].value, abs=1e-9)
    seen = trained.models.evaluate({"model": "late@1", "until": "2024-01-15"})
    assert "have the features and the label of a training row" in seen.warnings[0]


def test_a_blessing_is_there_only_where_all_gates_hold_and_goes_with_the_next_that_fails(trained, tmp_path):
    gates = [{"gate": "at_least", "metric": "roc_auc", "value": 0.999}]
    (tmp_path / "strict.yaml").write_text(json.dumps({"model": "late@1", "gates": gates}))
    folder = tmp_path / "found"
    sliced = {"model": "late@1", "slices": [{"far": "distance > 60"}]}
    (tmp_path / "usual.yaml").write_text(json.dumps(sliced))
    assert run(trained, "-c", tmp_path / "usual.yaml", "-o", folder).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["BLESSED", "evaluation.json", "report.html"]
    assert json.loads((folder / "evaluation.json").read_text())["blessed"]
    page = (folder / "report.html").read_text()
    assert (
        f"Evaluated on {trained.models.record('late@1')['metrics']['test']['roc_auc']['rows']:,} rows of trips" in page
    )
    assert "far: <code>distance &gt; 60</code>" in page
    failed = run(trained, "-c", tmp_path / "strict.yaml", "-o", folder)
    assert failed.exit_code == 3
    assert "FAILED" in failed.output
    assert "is not at least 0.999" in (folder / "NOT_BLESSED").read_text()
    assert not (folder / "BLESSED").exists()


def test_a_version_is_held_against_the_one_that_is_named_and_passes_where_there_is_none(trained):
    worse = edit(trained, "trees=40, depth=3", "trees=1, depth=1")
    worse.train("late")
    gates = [{"gate": name, "metric": "roc_auc", "by": 0.001} for name in ("not_worse_than_champion",)]
    config = {"model": "late@2", "gates": [*gates, {"gate": "no_slice_worse_than_champion", "metric": "roc_auc"}]}
    found = worse.models.evaluate(config)
    assert found.baseline == "late@1"
    assert not found.blessed
    assert "on the same" in found.gates["results"][0]["message"]
    turned = worse.models.evaluate({**config, "model": "late@1", "baseline": "late@2"})
    assert turned.blessed
    alone = worse.models.evaluate({**config, "model": "late@1"})
    assert "there is no champion yet" in alone.gates["results"][0]["message"]
    scores = worse.models.evaluate({"model": "late@2"}).evaluation.metrics["roc_auc"].value
    assert scores == worse.models.record("late@2")["metrics"]["test"]["roc_auc"]["value"]


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({}, ConfigurationError, "names no model"),
        ({"model": "late@1", "metrix": []}, ConfigurationError, "Did you mean 'metrics'"),
        ({"model": "late@1", "since": "soon"}, ConfigurationError, "'soon' in the evaluation is no time"),
        ({"model": "late@1", "since": "2030-01-01"}, DataError, "has no labelled rows since 2030-01-01"),
        ({"model": "late@1", "metrics": ["roc_acu"]}, NotFoundError, "Did you mean 'roc_auc'"),
        ({"model": "late@1", "slices": ["depott"]}, ColumnMissing, "Did you mean 'depot'"),
        ({"model": "late@1", "gates": [{"gate": "at_lest"}]}, NotFoundError, "Did you mean 'at_least'"),
        ({"model": "late@1", "gates": [{"gate": "at_least", "metric": "f1"}]}, ConfigurationError, "is not complete"),
        ({"model": "late@1", "gates": [{"gate": "at_least", "metrik": "f1"}]}, NotFoundError, "Did you mean 'metric'"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_nearest_right_name(trained, config, error, said):
    with pytest.raises(error, match=said):
        trained.models.evaluate(config)


def test_every_gate_is_made_again_of_what_it_says_of_itself():
    made = {
        "at_least": ("f1", 0.5),
        "at_most": ("log_loss", 0.5),
        "better_than_baseline": ("f1", 0.1),
        "no_slice_above": ("log_loss", 0.5),
        "no_slice_below": ("f1", 0.5, 100),
        "not_worse_than_champion": ("f1", 0.1, True),
        "no_slice_worse_than_champion": ("f1", 0.1),
        "gap_at_most": ("recall", 0.1, "depot"),
        "gap_not_wider_than_champion": ("recall", "depot", 0.1),
        "flips_at_most": (0.1, {"trip:far": (True, False)}, True),
        "flips_from_champion_at_most": (0.1, True),
        "safe_to_serve": ("30s",),
        "latency_at_most": (20,),
        "size_at_most": (50,),
        "data_validated": (),
        "features_validated": (0.1,),
        "nulls_handled": (),
        "fully_reported": (),
        "backtested": ("f1", 0.5, 2, "3d"),
    }
    assert set(made) == set(GATES)
    for name, arguments in made.items():
        gate = GATES[name](*arguments)
        assert gate_of(gate.spec()) == gate
