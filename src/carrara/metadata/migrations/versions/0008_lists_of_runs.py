"""lists of runs by time, of one kind or state, and what a run has made"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("runs_by_start", "runs", ["started_at"])
    op.create_index("runs_by_kind", "runs", ["kind", "started_at"])
    op.create_index("runs_by_state", "runs", ["state", "started_at"])
    op.create_index("lineage_by_run", "lineage", ["run_id"])


def downgrade() -> None:
    op.drop_index("lineage_by_run", "lineage")
    for name in ("runs_by_state", "runs_by_kind", "runs_by_start"):
        op.drop_index(name, "runs")
