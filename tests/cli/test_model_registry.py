"""`carrara model`: decisions, tags, aliases, deletion, and what a person reads of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carrara.cli.main import app
from carrara.core.errors import CarraraError, CheckFailed
from carrara.core.tfrecords import read_records
from carrara.serving.folder import VersionFolder
from carrara.serving.version_sources import version_source
from carrara.serving.warm_up import WARM_UP_FILE
from carrara.workspace.workspace import Workspace


@pytest.fixture
def carrara(trained, monkeypatch):
    monkeypatch.setenv("CARRARA_USER", "ada")
    monkeypatch.chdir(trained.root)

    def run(*arguments: str):
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def blocked(trained: Workspace) -> None:
    path = trained.root / "definitions.py"
    path.write_text(path.read_text().replace('at_least("roc_auc", 0.5)', 'at_least("roc_auc", 0.99)'))
    with Workspace(trained.root) as again:
        again.train("late")


def test_a_blocked_version_lives_by_an_override_that_stays_in_its_record(trained, carrara):
    blocked(trained)
    with pytest.raises(CheckFailed, match="late@2 is blocked"):
        carrara("deploy", "late@2")
    with pytest.raises(CheckFailed, match="gates of late@2 failed"):
        carrara("model", "approve", "late@2", "--reason", "fine")
    said = carrara("model", "override", "late@2", "--reason", "the old one is wrong since May", "--json")
    assert (said["decision"], said["by"], said["reason"]) == ("overridden", "ada", "the old one is wrong since May")
    assert carrara("deploy", "late@2", "--json")["version"] == 2
    record = carrara("model", "show", "late@2", "--json")
    assert record["approvals"] == [{key: said[key] for key in ("decision", "by", "reason", "at")}]
    assert record["gates"]["passed"] is False
    assert "overridden by ada" in carrara("model", "show", "late@2")
    carrara("model", "reject", "late@2", "--reason", "it was wrong")
    with pytest.raises(CheckFailed, match="ada rejected it: it was wrong"):
        carrara("deploy", "late@2")


def test_a_decision_needs_a_reason_and_an_override_something_to_pass_over(carrara):
    with pytest.raises(CarraraError, match="needs a reason"):
        carrara("model", "approve", "late@1", "--reason", "  ")
    with pytest.raises(CarraraError, match="nothing to override"):
        carrara("model", "override", "late@1", "--reason", "why not")
    assert "approved by ada" in carrara("model", "approve", "late@1", "--reason", "read the report")


def test_versions_are_described_and_found_by_what_was_said(carrara):
    carrara("model", "describe", "late@1", "--owner", "ann", "--tag", "market=eu", "--tag", "tier=gold")
    assert carrara("model", "describe", "late@1", "--tag", "tier=", "--json") == {
        "model": "late",
        "version": 1,
        "owner": "ann",
        "description": "",
        "tags": {"market": "eu"},
    }
    found = carrara("model", "list", "--where", "tags.market = 'eu' and metrics.roc_auc > 0.5", "--json")
    assert [version["version"] for version in found] == [1]
    assert carrara("model", "list", "--where", "tags.tier = 'gold'", "--json") == []
    assert [one["version"] for one in carrara("model", "list", "--limit", "0", "--json")] == [
        one["version"] for one in carrara("model", "list", "--json")
    ]


def test_an_alias_is_moved_and_removed_and_is_no_number(carrara):
    carrara("model", "alias", "late@1", "stable")
    assert carrara("model", "show", "models:/late@stable", "--json")["aliases"] == ["champion", "stable"]
    assert carrara("model", "alias", "late@1", "stable", "--remove", "--json")["aliases"] == {"champion": 1}
    with pytest.raises(CarraraError, match="there is no alias 'stable'"):
        carrara("model", "alias", "late@1", "stable", "--remove")
    with pytest.raises(CarraraError, match="cannot be an alias"):
        carrara("model", "alias", "late@1", "3")


def test_a_version_that_serves_is_not_deleted_and_gc_says_what_goes(trained, carrara):
    with pytest.raises(CheckFailed, match="endpoint late serves it"):
        carrara("model", "delete", "late@1")
    blocked(trained)
    assert carrara("model", "delete", "late@2", "--json") == {"deleted": "late@2"}
    planned = carrara("gc", "--dry-run", "--older-than", "0s", "--json")
    assert {"of a deleted version: late@2"} <= {item["why"] for item in planned["items"]}
    assert "would be deleted" in carrara("gc", "--dry-run", "--older-than", "0s")
    assert carrara("gc", "--older-than", "0s", "--json")["bytes"] == planned["bytes"]
    assert "0 files" in carrara("gc", "--older-than", "0s")


def test_a_version_is_pushed_to_the_next_folder_of_a_server_and_a_blocked_one_never_appears(trained, carrara, tmp_path):
    base = tmp_path / "late"
    first = carrara("model", "push", "late@1", str(base), "--warm-up", "7", "--json")["folder"]
    assert len(list(read_records((Path(first) / WARM_UP_FILE).read_bytes()))) == 7 + 1
    warmed = VersionFolder("late", version_source(str(base), 0.0))
    predictor = warmed.load(*warmed.endpoint().targets)
    asked, run = [], predictor.predict
    predictor.predict = lambda inputs, name: asked.append(len(inputs["features"])) or run(inputs, name)
    predictor.warm_up()
    predictor.close()
    assert asked == [1] * 7 + [7]
    second = carrara("model", "push", "late@1", str(base), "--json")["folder"]
    assert int(Path(second).name) > int(Path(first).name)
    served = VersionFolder("late", version_source(str(base), 0.0))
    (target,) = served.endpoint().targets
    assert str(target.version) == Path(second).name
    predictor = served.load(target)
    predictor.warm_up()
    predictor.close()
    trained.models.reject("late@1", "it is wrong in May")
    with pytest.raises(CheckFailed, match="ada rejected it"):
        carrara("model", "push", "late@1", str(base))
    assert sorted(path.name for path in base.iterdir()) == [Path(first).name, Path(second).name]
