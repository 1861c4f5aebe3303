"""The metrics that a process counts, in the names and units that Prometheus has for them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FEATURE_FALLBACKS = Counter(
    "carrara_feature_fallbacks_total",
    "Reads of features that a policy answered, since the online store did not.",
    ["view", "policy"],
)
LOG_ROWS = Counter(
    "carrara_prediction_log_rows_total",
    "Predictions that were handed to the log, by what became of them: written, left out by sampling, dropped.",
    ["model", "result"],
)
LOG_LAG_SECONDS = Gauge(
    "carrara_prediction_log_lag_seconds",
    "How old the oldest prediction is that is in the journal and not in the lake.",
    multiprocess_mode="livemax",
)
LOG_JOURNAL_BYTES = Gauge(
    "carrara_prediction_log_journal_bytes", "What the journals hold for the lake.", multiprocess_mode="livesum"
)
MATERIALISATION_SECONDS = Histogram(
    "carrara_materialisation_seconds",
    "How long it took to bring a feature view up to date in the online store.",
    ["view"],
    buckets=(0.1, 1.0, 10.0, 60.0, 600.0, 3600.0),
)
MATERIALISED_ENTITIES = Counter(
    "carrara_materialised_entities_total", "Entities that were written to the online store.", ["view"]
)
UI_REQUEST_SECONDS = Histogram(
    "carrara_ui_request_seconds", "How long the web page took to answer, by page and status.", ["page", "status"]
)
MONITOR_DRIFT = Gauge(
    "carrara_feature_drift_psi",
    "PSI of a feature against training, in the newest window; absent where that is long over.",
    ["model", "feature"],
)
MONITOR_EFFECT = Gauge(
    "carrara_feature_drift_effect",
    "How much a feature's drift changes the model's output, in standard deviations of it, in the newest window.",
    ["model", "feature"],
)
MONITOR_METRIC = Gauge("carrara_model_metric", "A live metric of the newest window that has one.", ["model", "metric"])
METRIC_WINDOW_END = Gauge(
    "carrara_model_metric_window_end_seconds", "The end of the window that live metrics are of, as a time.", ["model"]
)
MONITOR_WINDOW_END = Gauge(
    "carrara_monitor_window_end_seconds", "The end of the newest window that was computed, as a time.", ["model"]
)
ALERTS_FIRING = Gauge("carrara_alerts_firing", "Alerts that fire.", ["model"])
ALERTS_NOT_TOLD = Counter("carrara_alerts_not_told_total", "Alerts that a notifier did not take.", ["notifier"])
SCHEDULE_DUE_SINCE = Gauge(
    "carrara_schedule_due_since_seconds",
    "Since when the oldest that is due of a schedule is due, as a time; absent where nothing is.",
    ["kind", "name"],
)
SCHEDULER_ROUND = Gauge("carrara_scheduler_round_seconds", "When a scheduler has last ended a round, as a time.")
FEATURE_AGE_SECONDS = Gauge(
    "carrara_feature_freshness_seconds", "How far the online store is behind the clock, by feature view.", ["view"]
)
