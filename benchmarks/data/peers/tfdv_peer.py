"""TensorFlow Data Validation: statistics of both samples, a schema from the reference, validation with drift.

python tfdv_peer.py REFERENCE CURRENT OUTPUT

Set beyond the defaults, so that it can find what it is able to find:
- a drift comparator on every column, as its guide recommends: L-infinity 0.01 on categories (its tutorial has 0.01
  for skew and 0.001 for drift, and half a million rows differ by about 0.001 by chance), Jensen-Shannon divergence
  0.1 on numbers, which is our choice;
- the two comparators of the number of examples, at the same 40 % of change that Carrara has by default.
Times are given as seconds, since a DataFrame's column of times is left out in silence. `n_jobs` is its way to use
two cores without a cluster; its workers import TensorFlow (over 10 s) before the time starts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

PROCESSES = 2
CATEGORY_THRESHOLD = 0.01
NUMBER_THRESHOLD = 0.1
LEAST_EXAMPLES, MOST_EXAMPLES = 0.6, 1.4


def statistics(path: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    return statistics_of(pd.read_parquet(path))


def statistics_of(table: pd.DataFrame) -> statistics_pb2.DatasetFeatureStatisticsList:
    for name in table.select_dtypes(["datetime", "datetimetz"]):
        table[name] = table[name].astype("int64") // 1_000_000_000
    return tfdv.generate_statistics_from_dataframe(table, n_jobs=PROCESSES)


def watched_schema(before: statistics_pb2.DatasetFeatureStatisticsList) -> schema_pb2.Schema:
    """The inferred schema with drift comparators on every column and on the number of rows."""
    schema = tfdv.infer_schema(before)
    texts = {f.path.step[0] for f in before.datasets[0].features if f.HasField("string_stats")}
    for feature in schema.feature:
        if feature.name in texts:
            feature.drift_comparator.infinity_norm.threshold = CATEGORY_THRESHOLD
        else:
            feature.drift_comparator.jensen_shannon_divergence.threshold = NUMBER_THRESHOLD
    for comparator in (
        schema.dataset_constraints.num_examples_drift_comparator,
        schema.dataset_constraints.num_examples_version_comparator,
    ):
        comparator.min_fraction_threshold = LEAST_EXAMPLES
        comparator.max_fraction_threshold = MOST_EXAMPLES
    return schema


def reported(anomalies: anomalies_pb2.Anomalies) -> list[list[str]]:
    kinds = anomalies_pb2.AnomalyInfo.Type
    infos = [*anomalies.anomaly_info.items()]
    if anomalies.HasField("dataset_anomaly_info"):
        infos.append(("", anomalies.dataset_anomaly_info))
    return [
        [column, f"{kinds.Name(reason.type)}: {reason.description}"] for column, info in infos for reason in info.reason
    ]


def main(reference: Path, current: Path, output: Path) -> None:
    statistics_of(pd.DataFrame({"warm": range(1_000)}))

    started = time.perf_counter()
    before = statistics(reference)
    reference_seconds = time.perf_counter() - started
    schema = watched_schema(before)
    now = statistics(current)
    anomalies = tfdv.validate_statistics(now, schema, previous_statistics=before)
    seconds = time.perf_counter() - started

    result = {
        "version": tfdv.__version__,
        "seconds": seconds,
        "reference_seconds": reference_seconds,
        "found": reported(anomalies),
    }
    output.write_text(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
