"""The chart of clusters: how many rows each has, and how near they are to its centre."""

from __future__ import annotations

import numpy as np

from carrara.evaluation.charts.vega import BLUE, Spec, chart, columns_to_points
from carrara.evaluation.clustering import ClusteredRows, silhouette


def cluster_charts(rows: ClusteredRows) -> dict[str, Spec]:
    """The sizes of the clusters."""
    return {"cluster_sizes": cluster_sizes(rows)}


def cluster_sizes(rows: ClusteredRows) -> Spec:
    """The share of the rows of each cluster, with its mean distance as text."""
    found = np.arange(rows.distances.shape[1])
    mine = [rows.nearest[rows.clusters == cluster, 0] for cluster in found]
    points = columns_to_points(
        cluster=[str(cluster) for cluster in found],
        share=[len(one) / len(rows) for one in mine],
        said=[f"distance {one.mean():.3g}" if len(one) else "no rows" for one in mine],
    )
    return chart(
        "Clusters",
        f"silhouette {silhouette(rows, np.ones(len(rows))):.3f} · text: mean distance to the centre",
        [
            {"mark": {"type": "bar", "color": BLUE, "height": {"band": 0.7}}},
            {"mark": {"type": "text", "align": "left", "dx": 4}, "encoding": {"text": {"field": "said"}}},
        ],
        {
            "x": {"field": "share", "type": "quantitative", "title": "Share of rows", "axis": {"format": ".0%"}},
            "y": {"field": "cluster", "type": "nominal", "title": "Cluster", "sort": None},
        },
        data={"values": points},
        height={"step": 20},
    )
