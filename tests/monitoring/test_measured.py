"""What Prometheus is told: of now, and nothing that is long over (P11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY
from served import log_trips, trips_between

from carrara.monitoring.measured import measure_windows
from carrara.monitoring.monitor import Monitor
from carrara.workspace.workspace import Workspace

FROM = datetime(2024, 1, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def at(workspace: Workspace, moment: datetime) -> Workspace:
    return Workspace(workspace.root, clock=lambda: moment)


def gauges(name: str) -> dict[str, float]:
    found = (sample for family in REGISTRY.collect() for sample in family.samples if sample.name == name)
    return {"/".join(sample.labels.values()): sample.value for sample in found}


def test_prometheus_is_told_of_the_newest_windows_and_of_none_that_is_long_over(trained):
    log_trips(trained, trips_between(trained, FROM, FROM + DAY))
    with at(trained, FROM + DAY) as now:
        now.monitoring.run("late")
    usual = [Monitor("late")]
    with at(trained, FROM + 2 * DAY) as now:
        measure_windows(now.stores, usual)
    assert gauges("carrara_monitor_window_end_seconds") == {"late": (FROM + DAY).timestamp()}
    assert {"late/trip:loaded_km", "late/depot_state:load"} <= gauges("carrara_feature_drift_psi").keys()
    assert "late/roc_auc" in gauges("carrara_model_metric")
    assert gauges("carrara_alerts_firing").keys() == {"late"}
    with at(trained, FROM + 4 * DAY) as now:
        measure_windows(now.stores, usual)
    assert gauges("carrara_feature_drift_psi") == gauges("carrara_model_metric") == {}
    assert gauges("carrara_monitor_window_end_seconds") == {"late": (FROM + DAY).timestamp()}
    with at(trained, FROM + 4 * DAY) as now:
        measure_windows(now.stores, [])
    assert gauges("carrara_monitor_window_end_seconds") == gauges("carrara_alerts_firing") == {}


def test_prometheus_is_told_how_long_materialising_took(trained):
    before = gauges("carrara_materialisation_seconds_count").get("depot_state", 0)
    trained.features.materialise(until=FROM + 20 * DAY)
    assert gauges("carrara_materialisation_seconds_count")["depot_state"] == before + 1
    assert gauges("carrara_materialised_entities_total")["depot_state"] > 0
