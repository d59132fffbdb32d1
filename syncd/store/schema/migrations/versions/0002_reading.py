"""What reading leans on: the age of tokens, a count of their changes, and how far back the change log goes."""

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
    """Add the columns; a version before this one works beside them."""
    op.execute(COLUMNS)
    op.execute(PRUNED)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """A version before this one needs no way back: it does not look at the columns."""
    raise NotImplementedError("the version before this one works with this schema as it is")
