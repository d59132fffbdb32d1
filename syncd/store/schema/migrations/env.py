"""Alembic environment: runs all steps in one transaction on the connection of `store.schema.migrate`."""

from alembic import context

from syncd.store.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
