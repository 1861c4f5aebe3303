"""The safety of deployments as a score: it changes when a safeguard is switched off."""

from __future__ import annotations

from dataclasses import replace

import carrara
from carrara.metadata.deployments import Deployment
from carrara.monitoring.agreement import Agreement
from carrara.monitoring.monitor import Monitor
from carrara.monitoring.safety import safety
from commands import carrara as command

GATES = (
    carrara.data_validated(),
    carrara.at_least("roc_auc", 0.5),
    carrara.not_worse_than_champion("roc_auc"),
    carrara.no_slice_below("roc_auc", 0.4),
    carrara.safe_to_serve(),
    carrara.latency_at_most(50),
    carrara.features_validated(),
    carrara.nulls_handled(),
    carrara.fully_reported(),
    carrara.backtested("roc_auc", 0.5),
)


def score(workspace, gates=GATES, **more) -> float:
    model = replace(workspace.definitions.of_kind("model")["late"], gates=gates)
    declared = {"monitor": Monitor("late"), "agreement": Agreement("late", approved=True), **more}
    return safety(workspace.stores.metadata, model, **declared).score


def test_the_score_falls_with_each_gate_that_is_switched_off(trained):
    assert score(trained) == 1.0
    for place in range(len(GATES)):
        assert score(trained, GATES[:place] + GATES[place + 1 :]) == 12 / 13
    assert score(trained, ()) == 3 / 13


def test_it_falls_where_nobody_watches_is_told_or_has_to_approve(trained):
    assert score(trained, monitor=None) == 11 / 13
    assert score(trained, monitor=Monitor("late", alerts=())) == 12 / 13
    assert score(trained, agreement=None) == 12 / 13


def test_how_a_second_version_came_to_serve_counts(trained):
    """The deployments are written as deploy does: what is deployed needs no second training."""
    from carrara.metadata.deployments import add_shadow, deploy

    metadata = trained.stores.metadata
    served: Deployment = deploy(metadata, "late", "late", 2)
    assert served.until is None
    assert score(trained) == 13 / 15
    add_shadow(metadata, "late", 3)
    deploy(metadata, "late", "late", 3, until=served.started_at)
    assert score(trained) == 1.0


def test_the_command_fails_a_pipeline_whose_score_is_less_than_it_asks_for(trained):
    shown = command("model", "safety", "late", "-w", trained.root)
    assert shown.returncode == 0, shown.stderr
    assert "a version is tried in a server first" in shown.stdout
    assert command("model", "safety", "late", "--at-least", "90%", "-w", trained.root).returncode == 3
    assert '"score":' in command("model", "safety", "late", "--json", "-w", trained.root).stdout
    missing = command("model", "safety", "lat", "-w", trained.root)
    assert (missing.returncode, "late" in missing.stderr) == (1, True)
