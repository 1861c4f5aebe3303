"""processes of runs, and what they measure while they run"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("host", sa.String(length=200), nullable=True))
    op.add_column("runs", sa.Column("process", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("began", sa.String(length=60), nullable=True))
    op.create_table(
        "run_metrics",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "name", "step"),
    )


def downgrade() -> None:
    op.drop_table("run_metrics")
    for column in ("began", "process", "host"):
        op.drop_column("runs", column)
