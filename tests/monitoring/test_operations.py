"""What `deploy/` asks Prometheus for is what Carrara's processes tell it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import carrara.core.metrics  # noqa: F401  # registers them
from carrara.serving.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"


def told() -> set[str]:
    """The names of all samples, of a histogram those of its parts."""
    names = set()
    for family in REGISTRY.collect():
        parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + part for part in parts}
    for name, kind in re.findall(r"# TYPE (\S+) (\w+)", Metrics().exposition()):
        names |= {name} if kind != "histogram" else {f"{name}{part}" for part in ("_bucket", "_sum", "_count")}
    return names


def asked() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    rules = re.findall(r"^ +expr: (.+)$", (DEPLOY / "prometheus-rules.yml").read_text(), re.MULTILINE)
    return [*panels, *variables, *rules]


@pytest.mark.parametrize("query", asked())
def test_a_query_of_the_dashboard_and_the_rules_asks_for_what_is_there(query):
    wanted = set(re.findall(r"\bcarrara_\w+", query))
    assert wanted
    assert wanted <= told()


def test_panels_lie_beside_each_other():
    panels = [one["gridPos"] for one in json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]]
    cells = [(x, y) for p in panels for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
