"""Columns for the API: expiry and last use of tokens, a counter of token changes, and the start of the change log."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE directory
    ADD COLUMN access bigint NOT NULL DEFAULT 0,
    ADD COLUMN pruned bigint NOT NULL DEFAULT 0;
ALTER TABLE token
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN used_at timestamptz;
"""

# versions before this one did not tell how much of the log they have forgotten
PRUNED = """
UPDATE directory SET pruned = coalesce((SELECT min(revision) - 1 FROM change), revision);
"""

PRIVILEGES = """
GRANT UPDATE (access) ON directory TO syncd_api;
GRANT UPDATE (pruned) ON directory TO syncd_sync;
"""


def upgrade() -> None:
    """Add the columns; an earlier release ignores them."""
    op.execute(COLUMNS)
    op.execute(PRUNED)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """Raise NotImplementedError: an earlier release ignores the columns."""
    raise NotImplementedError("the version before this one works with this schema as it is")
