"""The standard charts of a ranking: how good the first places are, and how many queries are ordered well."""

from __future__ import annotations

import numpy as np

from carrara.evaluation.charts.vega import BLUE, GREY, Spec, chart, columns_to_points
from carrara.evaluation.metrics import rows_weights
from carrara.evaluation.ranking import QueryRows, average_precision, ndcg

_PLACES, _BINS = 20, 20


def ranking_charts(rows: QueryRows) -> dict[str, Spec]:
    """NDCG by how many places count, the mean relevance by place, and the queries by their NDCG."""
    charts = {"ndcg_by_places": ndcg_by_places(rows), "relevance_by_place": relevance_by_place(rows)}
    return {**charts, "queries_by_ndcg": queries_by_ndcg(rows)}


def ndcg_by_places(rows: QueryRows) -> Spec:
    """NDCG of the first 1, 2, … places."""
    weights = rows_weights(rows)
    last = _last_place(rows)
    points = columns_to_points(x=np.arange(1, last + 1), y=[float(ndcg(rows, weights, k)) for k in range(1, last + 1)])
    return chart(
        "NDCG by places",
        f"of the whole order {float(ndcg(rows, weights)):.3f}, MAP {float(average_precision(rows, weights)):.3f}",
        [{"mark": {"type": "line", "color": BLUE, "strokeWidth": 2, "point": True}}],
        {
            "x": {"field": "x", "type": "quantitative", "title": "Places that count", "axis": {"tickMinStep": 1}},
            "y": {"field": "y", "type": "quantitative", "title": "NDCG", "scale": {"domain": [0, 1]}},
        },
        data={"values": points},
    )


def relevance_by_place(rows: QueryRows) -> Spec:
    """The mean relevance of the items at each place, as ordered and as they would be ordered best."""
    best = rows.labels[np.lexsort((-rows.labels, rows.query))]
    points = []
    for name, labels in (("best possible", best), ("by the model", rows.labels)):
        sums, counts = (np.bincount(rows.place, weights=w)[: _last_place(rows)] for w in (labels, None))
        points += columns_to_points(x=np.arange(1, len(sums) + 1), y=sums / counts, label=[name] * len(sums))
    scale = {"domain": ["by the model", "best possible"], "range": [BLUE, GREY]}
    return chart(
        "Relevance by place",
        f"the mean over {len(rows):,} queries, of those that have so many items",
        [{"mark": {"type": "line", "strokeWidth": 2, "point": True}}],
        {
            "x": {"field": "x", "type": "quantitative", "title": "Place", "axis": {"tickMinStep": 1}},
            "y": {"field": "y", "type": "quantitative", "title": "Mean relevance"},
            "color": {"field": "label", "type": "nominal", "scale": scale},
        },
        data={"values": points},
    )


def queries_by_ndcg(rows: QueryRows) -> Spec:
    """The share of queries by their own NDCG; those without a relevant item are left out."""
    some = np.bincount(rows.query, weights=rows.labels > 0, minlength=len(rows)) > 0
    values = np.array([float(ndcg(rows.take(np.array([place])), np.ones(1))) for place in _few(np.flatnonzero(some))])
    counts, edges = np.histogram(values, bins=_BINS, range=(0, 1))
    points = columns_to_points(x=edges[:-1], end=edges[1:], share=counts / max(len(values), 1))
    return chart(
        "Queries by NDCG",
        f"{int((~some).sum()):,} of {len(rows):,} queries have no relevant item, and are not drawn",
        [{"mark": {"type": "bar", "color": BLUE, "binSpacing": 0}}],
        {
            "x": {"field": "x", "bin": {"binned": True}, "type": "quantitative", "title": "NDCG of a query"},
            "x2": {"field": "end"},
            "y": {"field": "share", "type": "quantitative", "title": "Share of queries", "axis": {"format": ".0%"}},
        },
        data={"values": points},
    )


def _last_place(rows: QueryRows) -> int:
    return int(min(_PLACES, np.diff(rows.starts).max(initial=1)))


def _few(places: np.ndarray[tuple[int], np.dtype[np.int64]], most: int = 2_000) -> list[int]:
    step = max(1, len(places) // most)
    found: list[int] = places[::step].tolist()
    return found
