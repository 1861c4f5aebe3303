"""The metrics that a process counts, in the names and units that Prometheus has for them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

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
    "carrara_prediction_log_lag_seconds", "How old the oldest prediction is that is in the journal and not in the lake."
)
LOG_JOURNAL_BYTES = Gauge("carrara_prediction_log_journal_bytes", "What the journal holds for the lake.")
