"""Charts are drawn without a network, in every format."""

from __future__ import annotations

import json

import pytest

from carrara.core.errors import CarraraError, NotFoundError
from carrara.evaluation.charts.of_record import charts_of_record
from carrara.models.drawing import FORMATS, chart_named, drawn

LINE = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
    "mark": "line",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}
STARTS = {"svg": b"<svg", "png": b"\x89PNG", "html": b"<!DOCTYPE html>", "json": b"{"}


def feature(name, size, **more):
    return {
        "name": name,
        "distribution": {"edges": [0.0, 1.0], "categories": [], "counts": [1, 2, 3, 0]},
        "parts": {"train": [1, 2, 3, 0], "validation": [1, 1, 1, 0], "test": [0, 2, 1, 1]},
        "dependence": {"values": [0.0, 0.5, 1.0], "answers": [[0.1, 0.4, 0.3]]},
        "shap": {"mean_abs": size, "values": [0.1, None, 0.9], "contributions": [-size, 0.0, size]},
        **more,
    }


RECORD = {
    "model": "late",
    "version": 3,
    "charts": {"roc_curve": LINE, "pr_curve": LINE},
    "features": [
        feature("wind", 0.4),
        feature(
            "carrier",
            0.1,
            distribution={"edges": None, "categories": ["AA", "UA"], "counts": [3, 2, 0, 1]},
            parts={"train": [3, 2, 0, 1], "validation": [1, 1, 1, 0], "test": [0, 2, 1, 1]},
            dependence={"values": ["AA", "UA"], "answers": [[0.1, 0.4], [0.9, 0.6]], "classes": ["no", "yes"]},
            shap={"mean_abs": 0.1, "values": ["AA", "UA", None], "contributions": [0.1, -0.1, 0.0]},
        ),
    ],
    "summary": {
        "shap": {"scale": "margin"},
        "dependence_of_pairs": [
            {"features": ["wind", "carrier"], "values": [[0.0, 1.0], ["AA", "UA"]], "answers": [[0.1, 0.2], [0.3, 0.4]]}
        ],
    },
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_chart_is_drawn_in_every_format(form):
    assert drawn(LINE, form).lstrip().startswith(STARTS[form])


def test_a_page_has_its_program_inside_and_data_are_the_spec():
    page = drawn(LINE, "html").decode()
    assert "<script src" not in page
    assert "vegaEmbed" in page
    assert json.loads(drawn(LINE, "json")) == LINE


@pytest.mark.parametrize("name", ["wind", "carrier"])
def test_the_charts_of_a_feature_are_drawn_from_the_record(name):
    charts = charts_of_record(RECORD, name)
    assert list(charts) == [
        "roc_curve", "pr_curve", "contributions", "dependence_of_pair_1", "dependence", "distribution",
    ]  # fmt: skip
    for spec in charts.values():
        assert drawn(spec, "svg").startswith(b"<svg")


def test_a_record_of_before_has_the_charts_that_it_has():
    assert list(charts_of_record({**RECORD, "features": [{"name": "a"}], "summary": {}}, "a")) == [
        "roc_curve",
        "pr_curve",
    ]


def test_a_chart_is_named_by_how_it_begins_and_the_nearest_is_told():
    charts = {"roc_curve": LINE, "residuals": {}}
    assert chart_named(charts, "roc") is LINE
    with pytest.raises(NotFoundError, match="Did you mean 'residuals'"):
        chart_named(charts, "residual_plot")
    with pytest.raises(NotFoundError, match="--feature NAME"):
        chart_named(charts, "dependence")
    with pytest.raises(NotFoundError, match="format of charts 'gif'"):
        drawn(LINE, "gif")


def test_a_spec_that_cannot_be_drawn_is_an_error_for_people():
    with pytest.raises(CarraraError, match="cannot be drawn"):
        drawn({"mark": {"type": "nonsense"}}, "svg")


def test_an_unknown_feature_is_answered_with_the_nearest():
    with pytest.raises(NotFoundError, match="Did you mean 'wind'"):
        charts_of_record(RECORD, "winf")
