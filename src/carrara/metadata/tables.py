"""The tables. A change here needs a migration in `migrations/versions`, and its number in HEAD."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0011"
"""The migration that these tables stand for."""

tables = MetaData()

definitions = Table(
    "definitions",
    tables,
    Column("id", Integer, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
    Column("applied_by", String(200), nullable=False),
    Column("removed_at", BigInteger),
    Index("definitions_by_name", "kind", "name", "version", unique=True),
)

runs = Table(
    "runs",
    tables,
    Column("id", String(36), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("name", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("user", String(200), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("parameters", JSON, nullable=False),
    Column("error", Text),
    Column("host", String(200)),
    Column("process", BigInteger),
    Column("began", String(60)),
    Index("runs_by_name", "kind", "name", "started_at"),
    Index("runs_by_start", "started_at"),
    Index("runs_by_kind", "kind", "started_at"),
    Index("runs_by_state", "state", "started_at"),
)

steps = Table(
    "steps",
    tables,
    Column("key", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("outputs", JSON, nullable=False),
    Index("steps_by_run", "run_id", "started_at"),
)

versions = Table(
    "versions",
    tables,
    Column("kind", String(40), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("record", JSON, nullable=False),
    Column("key", String(64)),
    Column("deleted_at", BigInteger),
    Column("deleted_by", String(200)),
    Index("versions_by_digest", "kind", "name", "digest"),
    Index("versions_by_key", "kind", "name", "key", unique=True),
    # All that a list needs before it reads the rows of one page: records are long.
    Index("versions_by_time", "kind", "deleted_at", "created_at", "name", "version"),
)

model_values = Table(
    "model_values",
    tables,
    Column("model", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("field", String(300), primary_key=True),
    Column("number", Float),
    Column("text", Text),
    sqlite_with_rowid=False,
)

decisions = Table(
    "decisions",
    tables,
    Column("id", Integer, primary_key=True),
    Column("model", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("decision", String(20), nullable=False),
    Column("by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("decisions_by_version", "model", "version"),
)

lineage = Table(
    "lineage",
    tables,
    Column("id", Integer, primary_key=True),
    Column("source", String(300), nullable=False),
    Column("target", String(300), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("lineage_once", "source", "target", "run_id", unique=True),
    Index("lineage_by_target", "target"),
    Index("lineage_by_run", "run_id"),
)

aliases = Table(
    "aliases",
    tables,
    Column("id", Integer, primary_key=True),
    Column("model", String(200), nullable=False),
    Column("alias", String(200), nullable=False),
    Column("version", Integer),
    Column("moved_at", BigInteger, nullable=False),
    Column("moved_by", String(200), nullable=False),
    Index("aliases_by_model", "model", "alias", "id"),
)

deployments = Table(
    "deployments",
    tables,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("deployed_by", String(200), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("role", String(20), nullable=False, server_default="primary"),
    Column("share", Float, nullable=False, server_default="1"),
    Column("by", JSON),
    Column("until", BigInteger),
    Index("deployments_by_endpoint", "endpoint", "ended_at"),
    Index("deployments_by_model", "model", "version"),
)

endpoint_events = Table(
    "endpoint_events",
    tables,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("reasons", JSON, nullable=False),
    Index("endpoint_events_by_endpoint", "endpoint", "id"),
)

observations = Table(
    "observations",
    tables,
    Column("endpoint", String(200), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("server", String(36), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("seen", JSON, nullable=False),
    Index("observations_by_time", "endpoint", "at"),
)

intervals = Table(
    "intervals",
    tables,
    Column("kind", String(40), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("until", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(20), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("error", Text),
)

trials = Table(
    "trials",
    tables,
    Column("study", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("model", String(200), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("state", String(20), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("value", Float),
    Column("losses", JSON, nullable=False),
    Column("error", Text),
    Column("ended_at", BigInteger, nullable=False),
    Index("trials_by_model", "model"),
)

run_metrics = Table(
    "run_metrics",
    tables,
    Column("run_id", String(36), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("value", Float, nullable=False),
    Column("at", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    tables,
    Column("id", String(12), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("tokens_by_name", "name"),
)

audit = Table(
    "audit",
    tables,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("who", String(200), nullable=False),
    Column("action", String(60), nullable=False),
    Column("object", String(300), nullable=False),
    Column("details", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Index("audit_by_object", "object", "number"),
)

prediction_losses = Table(
    "prediction_losses",
    tables,
    Column("id", String(36), primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

monitor_windows = Table(
    "monitor_windows",
    tables,
    Column("model", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("end", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(20), nullable=False),
    Column("inputs", String(64), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("computed_at", BigInteger),
    Column("predictions", BigInteger),
    Column("outcomes", BigInteger),
    Column("result", String(64)),
    Column("profile", String(64)),
    Column("error", Text),
)

alerts = Table(
    "alerts",
    tables,
    Column("id", String(36), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("rule", String(500), nullable=False),
    Column("state", String(20), nullable=False),
    Column("windows", Integer, nullable=False),
    Column("pending_at", BigInteger, nullable=False),
    Column("firing_at", BigInteger),
    Column("resolved_at", BigInteger),
    Column("told_at", BigInteger),
    Column("window_end", BigInteger, nullable=False),
    Column("details", JSON, nullable=False),
    Column("taken_by", JSON),
    Index("alerts_by_model", "model", "rule", "state"),
)

silences = Table(
    "silences",
    tables,
    Column("id", String(36), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("rule", String(500)),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("silenced_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
)
