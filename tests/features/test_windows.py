"""Sliding windows against their definition, event by event."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from feature_room import START, minute, missing, open_room, same, table, window_value
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from carrara.core.clock import microseconds
from carrara.core.errors import ConfigurationError, DefinitionError
from carrara.features import AggregateView, count, last, mean, rate, total
from carrara.features.windows import Events, window_values

VIEW = AggregateView(
    "v",
    entity="thing",
    source="events",
    event_time="event",
    aggregations=(
        count(windows=("1m", "5m", "1h")),
        total("x", windows=("1m", "5m", "1h")),
        mean("x", windows=("2m", "5m")),
        rate("flag", windows=("3m", "1h")),
        last("x", windows=("1m", "10m")),
        last("flag", windows=("10m",)),
    ),
)

DEFINITIONS = """
thing = carrara.Entity("thing", keys=("name", "number"))
events = carrara.Dataset("events", source="events.parquet")
v = carrara.AggregateView("v", entity="thing", source="events", event_time="event", aggregations=(
    carrara.count(windows=("1m", "5m", "1h")),
    carrara.total("x", windows=("1m", "5m", "1h")),
    carrara.mean("x", windows=("2m", "5m")),
    carrara.rate("flag", windows=("3m", "1h")),
    carrara.last("x", windows=("1m", "10m")),
    carrara.last("flag", windows=("10m",)),
))
"""
SCHEMA = {
    "name": pl.String(), "number": pl.Int64(), "event": TIME, "x": pl.Float64(), "flag": pl.Boolean()
} if (TIME := pl.Datetime("us", "UTC")) else {}  # fmt: skip

numbers = st.none() | st.floats(-1e15, 1e15, allow_subnormal=False) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])
events = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", None]),
            "number": st.sampled_from([1, -2, None]),
            "event": st.integers(0, 20).map(minute) | st.integers(0, 1_000_000_000).map(lambda us: START + timedelta(microseconds=us)),
            "x": numbers,
            "flag": st.none() | st.booleans(),
        }
    ),
    max_size=25,
)  # fmt: skip
asked = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "never seen", None]),
            "number": st.sampled_from([1, -2]),
            "at": st.integers(0, 90).map(minute),
        }
    ),
    min_size=1,
    max_size=15,
)
