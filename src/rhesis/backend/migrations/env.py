"""Alembic's hook: runs the revisions on the connection that `rhesis.backend.provision` hands over."""

from alembic import context

from rhesis.backend.app.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table_schema="rhesis",
    include_schemas=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
