"""Validation: every kind of anomaly is found where it is, says what would accept it, and clean data have none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from carrara.core.errors import ConfigurationError
from carrara.data.anomalies import Anomaly
from carrara.data.schema import SEVERITIES, ColumnSchema, Rule, Schema, schema_from_dict, schema_from_toml
from carrara.data.schema_file import edited, proposed, schema_text, text_diff
from carrara.data.schema_inference import infer_schema
from carrara.data.statistics import profile
from carrara.data.validation import Baselines, Examined, examine, validate

ROWS = 4_000
START = datetime(2024, 1, 1, tzinfo=UTC)


def table(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "at": [START + timedelta(minutes=n) for n in range(rows)],
            "amount": random.lognormal(3, 0.5, rows),
            "distance": random.gamma(3, 4, rows),
            "temperature": random.normal(0, 8, rows),
            "carrier": random.choice(["AA", "UA", "DL"], rows, p=[0.5, 0.3, 0.2]),
            "code": [f"A{n:04d}" for n in random.integers(0, 9_999, rows)],
            "phone": random.random(rows) < 0.3,
            "seats": random.integers(1, 300, rows),
            "stops": [[1] * n for n in random.integers(1, 4, rows)],
        }
    )


BEFORE = table()
SCHEMA = infer_schema(profile(BEFORE), "trips")


def anomalies_of(now: pl.DataFrame, schema: Schema = SCHEMA, before: pl.DataFrame = BEFORE, **more) -> list[Anomaly]:
    baselines = Baselines(previous=profile(before), rows=before.height)
    return validate(examine(now, schema), schema, baselines, **more)


def every(n: int, value) -> pl.Expr:
    return pl.when(pl.int_range(pl.len()) % n == 0).then(value)


def column(name: str, **changes) -> Schema:
    """The schema with other keys of one column, as a person would edit them."""
    data = SCHEMA.as_dict()
    data["columns"][name] |= changes
    return schema_from_dict(data, "test")


@dataclass(frozen=True)
class Case:
    kind: str
    column: str
    now: pl.DataFrame
    share: float
    schema: Schema = SCHEMA


NEW = table(1)
CASES = [
    Case("missing column", "phone", NEW.drop("phone"), 1.0),
    Case("unexpected column", "extra", NEW.with_columns(extra=pl.lit("x")), 1.0),
    Case("renamed column", "distance", NEW.rename({"distance": "distance_km"}), 1.0),
    Case("type change", "seats", NEW.with_columns(pl.col("seats").cast(pl.String)), 1.0),
    Case("presence", "amount", NEW.with_columns(amount=every(4, None).otherwise("amount")), 0.25),
    Case("not finite", "amount", NEW.with_columns(amount=every(50, float("inf")).otherwise("amount")), 0.02),
    Case("out of range", "amount", NEW.with_columns(amount=every(100, -5.0).otherwise("amount")), 0.01),
    Case("new categories", "carrier", NEW.with_columns(carrier=every(40, pl.lit("ZZ")).otherwise("carrier")), 0.025),
    Case(
        "out of domain",
        "code",
        NEW.with_columns(code=every(100, pl.lit("no code")).otherwise("code")),
        0.01,
        column("code", pattern=r"A\d{4}"),
    ),
    Case("uniqueness", "id", NEW.with_columns(id=every(1_000, 7).otherwise("id")), 0.001, column("id", unique=True)),
    Case("valency", "stops", NEW.with_columns(stops=every(80, pl.lit([1] * 9)).otherwise("stops")), 0.0125),
    Case("unit change", "distance", NEW.with_columns(pl.col("distance") * 1_000), 1.0),
    Case("time gap", "at", NEW.filter(~pl.int_range(pl.len()).is_between(1_000, 1_400)), 1.0),
    Case("stale data", "at", NEW, 1.0, column("at", max_age="1d")),
    Case("volume", "", NEW.head(ROWS // 2), 0.5),
    Case("drift", "temperature", NEW.with_columns(pl.col("temperature") + 8), 1.0),
    Case("drift", "phone", NEW.with_columns(phone=pl.lit(True)), 1.0),
    Case("drift", "carrier", NEW.with_columns(carrier=pl.lit("AA")), 1.0),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.column or 'table'}" for case in CASES])
def test_each_kind_is_found_where_it_is_and_accepted_by_its_fix(case):
    found = [a for a in anomalies_of(case.now, case.schema) if (a.kind, a.column) == (case.kind, case.column)]
    assert len(found) == 1, anomalies_of(case.now, case.schema)
    (anomaly,) = found
    assert anomaly.severity == SEVERITIES[case.kind]
    assert case.kind == "drift" or anomaly.share == pytest.approx(case.share, abs=0.002)
    assert anomaly.fix
    accepted = schema_from_toml(proposed(schema_text(case.schema), found), "the proposal")
    left = [a for a in anomalies_of(case.now, accepted) if (a.kind, a.column) == (case.kind, case.column)]
    assert all(a.severity == "warn" and case.kind == "unit change" for a in left)


def test_every_kind_of_anomaly_has_a_case():
    assert set(SEVERITIES) - {case.kind for case in CASES} == {"skew", "rule"}


@pytest.mark.parametrize("seed", range(1, 9))
def test_clean_data_have_no_anomaly(seed):
    assert anomalies_of(table(seed)) == []
    assert anomalies_of(table(seed, 300), before=table(0, 300), schema=infer_schema(profile(table(0, 300)))) == []


VALUES = {
    "n": st.none() | st.integers(-(2**62), 2**62),
    "x": st.none() | st.floats(),
    "s": st.none() | st.sampled_from(["a", "b", ""]),
    "b": st.none() | st.booleans(),
    "t": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
    "l": st.none() | st.lists(st.integers(0, 5), max_size=3),
}
TYPES = {
    "n": pl.Int64(),
    "x": pl.Float64(),
    "s": pl.String(),
    "b": pl.Boolean(),
    "t": pl.Datetime("us", "UTC"),
    "l": pl.List(pl.Int64()),
}


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(VALUES), max_size=30), times=st.integers(1, 60))
def test_a_table_is_what_the_schema_inferred_from_it_says(rows, times):
    frame = pl.DataFrame(rows * times, schema=TYPES, orient="row")
    schema = infer_schema(profile(frame))
    assert validate(examine(frame, schema), schema, Baselines(profile(frame), rows=frame.height)) == []
    assert schema_from_toml(schema_text(schema), "itself") == schema


def test_skew_is_measured_against_training_and_drift_against_the_version_before():
    now = NEW.with_columns(pl.col("temperature") + 8)
    baselines = Baselines(previous=profile(now), training=profile(BEFORE))
    found = validate(examine(now, SCHEMA), SCHEMA, baselines)
    assert [(a.kind, a.column) for a in found] == [("skew", "temperature")]
    assert "kolmogorov_smirnov" in found[0].message


def test_the_rows_that_are_guilty_are_named_with_their_values():
    now = NEW.with_columns(amount=pl.when(pl.int_range(pl.len()).is_in([7, 3_001])).then(-5.0).otherwise("amount"))
    (anomaly,) = anomalies_of(now)
    assert (anomaly.places, anomaly.examples) == ((7, 3_001), (-5.0, -5.0))


def test_a_label_is_not_missed_at_serving():
    schema = column("phone", not_in=["serving"])
    assert anomalies_of(NEW.drop("phone"), schema, environment="serving") == []
    assert [a.kind for a in anomalies_of(NEW.drop("phone"), schema)] == ["missing column"]


def test_a_rule_of_ones_own_is_sql_with_a_severity():
    rule = Rule("seats pay", "amount > seats / 1000", severity="stop")
    schema = schema_from_toml(schema_text(Schema(SCHEMA.columns, rules=(rule,))), "test")
    now = NEW.with_columns(amount=every(500, 0.0).otherwise("amount"))
    (anomaly,) = anomalies_of(now, schema)
    assert (anomaly.kind, anomaly.column, anomaly.severity) == ("rule", "seats pay", "stop")
    assert anomaly.share == pytest.approx(0.002)


@pytest.mark.parametrize("sql", ["amount >", "amuont > 3", "amount > (SELECT 1)"])
def test_a_rule_that_is_no_sql_names_no_column_or_looks_at_more_than_its_row_is_told(sql):
    schema = Schema(SCHEMA.columns, rules=(Rule("mine", sql),))
    with pytest.raises(ConfigurationError, match="mine"):
        examine(BEFORE, schema)


def test_severities_are_as_the_column_says_then_the_schema():
    now = NEW.with_columns(amount=every(100, -5.0).otherwise("amount"), carrier=pl.lit("ZZ"))
    data = SCHEMA.as_dict() | {"severity": {"out of range": "stop", "new categories": "stop"}}
    data["columns"]["carrier"]["severity"] = {"new categories": "warn"}
    schema = schema_from_dict(data, "test")
    found = {a.kind: a.severity for a in anomalies_of(now, schema)}
    assert (found["out of range"], found["new categories"]) == ("stop", "warn")


def test_a_few_rows_more_or_fewer_are_chance_in_a_small_table():
    small = table(0, 5)
    schema = infer_schema(profile(small))
    assert [a for a in anomalies_of(table(0, 8), schema, small) if a.kind in ("volume", "drift")] == []


def test_two_samples_of_many_rare_texts_are_not_drift():
    random = np.random.default_rng(0)
    one, other = (pl.DataFrame({"s": [f"v{n}" for n in random.integers(0, 3_000, 4_000)]}) for _ in range(2))
    assert anomalies_of(other, infer_schema(profile(one)), one) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[columns.a]\ntype = 'int64'\nminimum = 3\n", "minimum"),
        ("[columns.a]\nmin = 3\n", "type"),
        ("[columns.a]\ntype = 'int64'\nmin = [3]\n", "min"),
        ("[columns.a]\ntype = 'int64'\nseverity = {'out of rnge' = 'stop'}\n", "Did you mean 'out of range'"),
        ("[columns.a]\ntype = 'int64'\nseverity = {'out of range' = 'halt'}\n", "halt"),
        ("[columns.a]\ntype = 'int64'\nseverity = {drift = 'quarantine'}\n", "no single rows"),
        ("[columns.a]\ntype = 'int64'\ndrift = {kolmogorov = 0.1}\n", "kolmogorov"),
        ("[columns.a]\ntype = 'datetime'\nmax_gap = 'long'\n", "not a duration"),
        ("[columns.a]\ntype = 'datetime'\nmax = 'soon'\n", "RFC 3339"),
        ("[columns.a]\ntype = 'int64'\n[[rules]]\nname = 'r'\nsql = 'a > 1'\nseverity = 'halt'\n", "rules.r.*halt"),
        ("[columns.a\n", "not valid TOML"),
    ],
)
def test_a_schema_that_cannot_be_used_says_where(text, says):
    with pytest.raises(ConfigurationError, match=says):
        schema_from_toml(text, "schemas/a.toml")


def test_an_update_keeps_what_people_wrote_and_shows_as_a_diff():
    text = schema_text(SCHEMA).replace(
        "[columns.amount]", "# Never negative: refunds are rows of their own.\n[columns.amount]"
    )
    found = anomalies_of(NEW.with_columns(amount=every(100, -5.0).otherwise("amount")))
    after = proposed(text, found)
    assert "# Never negative: refunds are rows of their own." in after
    changed = [
        line
        for line in text_diff(text, after, "trips").splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert [line[0] for line in changed] == ["-", "+"]
    assert changed[1] == "+min = -5.0"
    assert edited(text, []) == text


def test_bounds_of_times_are_texts_with_a_zone():
    schema = Schema({"at": ColumnSchema("datetime", min="2024-01-01T00:00:00Z", max="2024-01-02T00:00:00+00:00")})
    (anomaly,) = validate(examine(BEFORE.select("at"), schema), schema)
    assert anomaly.kind == "out of range"
    assert anomaly.share == pytest.approx(1 - 1441 / ROWS)


def test_an_examined_table_says_what_was_seen():
    found = examine(BEFORE, SCHEMA)
    assert isinstance(found, Examined)
    assert found.findings.rows == found.statistics.rows == ROWS
