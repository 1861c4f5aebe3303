"""which notifiers have taken an alert"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("alerts", sa.Column("taken_by", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("alerts", "taken_by")
