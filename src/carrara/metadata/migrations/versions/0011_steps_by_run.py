"""the steps of a run by an index"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("steps_by_run", "steps", ["run_id", "started_at"])


def downgrade() -> None:
    op.drop_index("steps_by_run", "steps")
