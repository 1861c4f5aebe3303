"""roles and shares of deployments, what happened to an endpoint, and what its servers observe"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("role", sa.String(length=20), nullable=False, server_default="primary"))
    op.add_column("deployments", sa.Column("share", sa.Float(), nullable=False, server_default="1"))
    op.add_column("deployments", sa.Column("by", sa.JSON(), nullable=True))
    op.add_column("deployments", sa.Column("until", sa.BigInteger(), nullable=True))
    op.create_table(
        "endpoint_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("endpoint_events_by_endpoint", "endpoint_events", ["endpoint", "id"])
    op.create_table(
        "observations",
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("server", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "model", "version", "server", "at"),
    )
    op.create_index("observations_by_time", "observations", ["endpoint", "at"])


def downgrade() -> None:
    op.drop_table("observations")
    op.drop_table("endpoint_events")
    for column in ("until", "by", "share", "role"):
        op.drop_column("deployments", column)
