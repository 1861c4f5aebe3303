"""Alembic's entry: runs the migrations on the connection that `metadata.store` hands over."""

from alembic import context

from carrara.metadata.tables import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
