"""The metrics that a process counts, in the names and units that Prometheus has for them."""

from __future__ import annotations

from prometheus_client import Counter

FEATURE_FALLBACKS = Counter(
    "carrara_feature_fallbacks_total",
    "Reads of features that a policy answered, since the online store did not.",
    ["view", "policy"],
)
