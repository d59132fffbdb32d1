"""What Alembic runs around the steps: the connection that `store.migrate` hands over, one transaction for all."""

from alembic import context

from syncd.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
