"""The HTML report of a model record."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from carrara.models.report import render_report

EVIL = "<script>alert('x')</script>"
VALUE = {"value": 0.7412, "low": 0.7371, "high": 0.7453, "rows": 60_000}
CHART = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "title": "ROC curve",
    "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
    "mark": {"type": "line", "clip": True},
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}
MISTAKE = {"place": 7, "score": 0.98765432, "late": False, "at": "2013-09-30T17:00:00+00:00", "distance": 733.0}
RECORD = {
    "model": "late_arrival",
    "version": 3,
    "trained_by": "ana",
    "started_at": "2013-10-01T06:00:00+00:00",
    "ended_at": "2013-10-01T06:01:30+00:00",
    "configuration": {"trainer": {"name": "xgboost", "max_depth": 6, "eta": 0.12345678}, "seed": 20131001},
    "datasets": [{"name": "flights", "version": 2, "digest": "8f3a91c2"}],
    "features": [
        {
            "name": "distance",
            "view": "flights",
            "dtype": "float64",
            "importance": 0.125,
            "statistics": {
                "rows": 200,
                "nulls": 50,
                "mean": 1040.0,
                "std": 733.2,
                "min": 17.0,
                "max": 4983.0,
                "quantiles": [17.0, 214.0, 427.0, 544.0, 733.0, 872.0, 1023.0, 1182.0, 1598.0, 2248.0, 4983.0],
                "histogram": {"edges": [0, 1, 2], "counts": [150, 50]},
            },
        },
        {"name": "hour", "importance": 0.875},
    ],
    "metrics": {
        "test": {"roc_auc": VALUE, "f1": {"value": None, "low": None, "high": None, "rows": 60_000}},
        "validation": {"roc_auc": {**VALUE, "value": 0.7555}},
        "baseline": {"roc_auc": {**VALUE, "value": 0.6123}},
        "slices": [{"column": "carrier", "value": "AA", "rows": 32_729, "metrics": {"roc_auc": VALUE}}],
        "mistakes": [
            {"sort": "false positive", "count": 120, "share": 0.002, "worst": [MISTAKE], "drawn": [MISTAKE]},
            {"sort": "false negative", "count": 1, "share": 0.0001, "worst": [MISTAKE], "drawn": [MISTAKE]},
        ],
    },
    "charts": {"roc_curve": CHART, "pr_curve": CHART},
    "parameters": {"trees": list(range(412))},
    "summary": {"trees": 412},
    "signature": {"serving_default": {"inputs": [{"name": "distance", "dtype": "float32", "shape": [None]}]}},
    "gates": {
        "passed": True,
        "results": [
            {"gate": "roc_auc at least 0.7", "passed": True, "found": 0.7412, "required": 0.7, "message": "0.7412 is"}
        ],
    },
    "deployments": [{"endpoint": "late_arrival", "from": "2013-10-02", "to": None}],
    "code": {"revision": "1f2e3d4"},
    "environment": {"python": "3.12.3"},
    "lineage": {"training_set": "17be02aa"},
}


class Page(HTMLParser):
    """The ids, tags, and attributes of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.text += data

    @property
    def ids(self):
        return [value for name, value in self.attributes if name == "id"]


@pytest.fixture(scope="module")
def page():
    return Page(render_report(RECORD))


SECTIONS = ["summary-line", "gates", "metrics", "charts", "slices", "mistakes", "features", "summary"]
SECTIONS += ["configuration", "datasets", "lineage", "deployments", "signature", "code", "environment", "parameters"]


def test_a_full_record_has_every_section(page):
    assert [one for one in page.ids if one in SECTIONS] == SECTIONS


def test_the_first_lines_say_what_who_when_and_how_it_went(page):
    text = " ".join(page.text.split())
    assert "late_arrival@3" in text
    assert "1 of 1 gates passed" in text
    assert "Trained by ana, 2013-10-01 06:00:00 UTC to 2013-10-01 06:01:30 UTC (90.0 s)" in text


def test_metrics_stand_beside_the_baseline_with_their_intervals(page):
    for figure in ("0.7412", "[0.7371, 0.7453]", "0.6123", "0.7555", "32,729"):
        assert figure in page.text


def test_features_are_ordered_by_importance_with_their_distribution(page):
    assert page.text.index("87.5%") < page.text.index("12.5%")
    assert "25.0%" in page.text
    assert ("aria-label", "histogram of distance") in page.attributes


def test_rows_that_were_answered_wrongly_stand_by_sort_and_none_twice(page):
    text = " ".join(page.text.split())
    assert "false positive 120 rows, 0.2% of all" in text
    assert all(cell in text for cell in ("0.9877", "2013-09-30 17:00:00", "733"))
    assert text.count("Farthest from right") == 2
    assert text.count("Drawn at random") == 1  # of the other sort there is but one row, which is shown


def test_configuration_is_shown_exactly_and_huge_parameters_are_cut(page):
    assert "20131001" in page.text
    assert "0.12345678" in page.text
    assert "… and 352 more in the record." in page.text


def test_charts_are_inline_and_their_ids_do_not_meet(page):
    assert page.tags.count("figure") == 2
    assert page.text.count("ROC curve") >= 2
    assert len(page.ids) == len(set(page.ids))
    used = {match for _, value in page.attributes for match in re.findall(r"url\(#([^)]+)\)", value)}
    assert used
    assert used <= set(page.ids)


def test_the_page_needs_nothing_else(page):
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    assert "src" not in {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert any("default-src 'none'" in value for _, value in page.attributes)
    linked = {value.removeprefix("#") for name, value in page.attributes if name == "href"}
    assert {"metrics", "features"} <= linked <= set(page.ids)


def test_the_one_script_is_the_one_that_the_page_allows():
    points = [{"threshold": n / 100, "tp": 9, "fp": 1, "fn": 2, "tn": 8} for n in range(101)]
    charts = {"thresholds": {**CHART, "data": {"values": points}}}
    text = render_report({**RECORD, "charts": charts})
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.unescape(text)


def hostile(value):
    """The record with markup in every name and text."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return EVIL + '" onload="alert(1)' if isinstance(value, str) else value


def test_markup_in_any_text_harms_nothing():
    charts = {
        EVIL: {**CHART, "title": EVIL, "data": {"values": [{"x": 0, "y": 0, "url": "javascript:alert(1)"}]}}
        | {"mark": "point", "encoding": {**CHART["encoding"], "href": {"field": "url"}}},
        "loads": {**CHART, "mark": {"type": "image", "url": "https://example.org/x.png"}},
    }
    found = Page(render_report({**hostile(RECORD), "environment": {EVIL: {EVIL: EVIL}}, "charts": charts}))
    assert not {"script", "image", "img"} & set(found.tags)
    assert "src" not in {name for name, _ in found.attributes}
    assert all(re.fullmatch("#[a-z-]+", value) for name, value in found.attributes if name == "href")
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "<script>alert('x')</script>" in found.text


def test_a_chart_that_cannot_be_drawn_leaves_the_rest_of_the_page():
    found = Page(render_report({**RECORD, "charts": {"roc_curve": {"mark": {"type": 7}}, "pr_curve": CHART}}))
    assert "The chart “roc curve” could not be drawn" in found.text
    assert "clippath" in found.tags


def test_a_chart_with_a_link_harms_no_chart_after_it():
    link = {**CHART, "mark": {"type": "line", "href": "javascript:alert(1)"}}
    assert "could not be drawn" not in render_report({"charts": {"link": link, "first": CHART, "second": CHART}})


def test_a_record_has_one_page():
    assert render_report(RECORD) == render_report(RECORD)


@pytest.mark.parametrize("key", RECORD)
def test_any_part_of_a_record_may_be_missing_or_empty(key):
    rest = {name: value for name, value in RECORD.items() if name not in ("charts", key)}
    assert "</html>" in render_report(rest)
    assert "</html>" in render_report({**rest, key: None})


def test_an_empty_record_is_still_a_page():
    assert "</html>" in render_report({})


def test_a_failed_gate_is_seen_at_once():
    gates = {"passed": False, "results": [{**RECORD["gates"]["results"][0], "passed": False}]}
    text = Page(render_report({"gates": gates})).text
    assert "✗ 0 of 1 gates passed" in " ".join(text.split())
    assert "✗ failed" in text
