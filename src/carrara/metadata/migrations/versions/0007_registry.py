"""what the registry promises: keys, deletion, values to search by, decisions"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("versions", sa.Column("key", sa.String(length=64), nullable=True))
    op.add_column("versions", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    op.add_column("versions", sa.Column("deleted_by", sa.String(length=200), nullable=True))
    op.create_index("versions_by_key", "versions", ["kind", "name", "key"], unique=True)
    op.create_index("versions_by_time", "versions", ["kind", "deleted_at", "created_at", "name", "version"])
    op.create_table(
        "model_values",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field", sa.String(length=300), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model", "version", "field"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("decisions_by_version", "decisions", ["model", "version"])
    with op.batch_alter_table("aliases") as batch:
        batch.alter_column("version", existing_type=sa.Integer(), nullable=True)
    _fill_model_values()


def _fill_model_values() -> None:
    """What versions of before measured can be searched too."""
    versions = sa.table(
        "versions", *(sa.column(name) for name in ("kind", "name", "version")), sa.column("record", sa.JSON())
    )
    values = sa.table("model_values", *(sa.column(name) for name in ("model", "version", "field", "number")))
    connection = op.get_bind()
    for row in connection.execute(sa.select(versions).where(versions.c.kind == "model")).all():
        found = {f"metrics.{metric}": value for metric, value in row.record.get("metrics", {}).items()}
        found["gates_passed"] = float(row.record.get("gates_passed", True))
        this = {"model": row.name, "version": row.version}
        connection.execute(sa.insert(values), [{**this, "field": field, "number": n} for field, n in found.items()])


def downgrade() -> None:
    with op.batch_alter_table("aliases") as batch:
        batch.alter_column("version", existing_type=sa.Integer(), nullable=False)
    op.drop_table("decisions")
    op.drop_table("model_values")
    op.drop_index("versions_by_time", "versions")
    op.drop_index("versions_by_key", "versions")
    for column in ("deleted_by", "deleted_at", "key"):
        op.drop_column("versions", column)
