"""Table of the alerts sent by webhook and mail, so that a restart does not repeat them."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE notice (
    channel text NOT NULL,
    key     text NOT NULL,
    title   text NOT NULL,
    why     text NOT NULL,
    size    bigint NOT NULL,
    since   timestamptz NOT NULL,
    CONSTRAINT notice_pkey PRIMARY KEY (channel, key)
);
"""

PRIVILEGES = "GRANT SELECT, INSERT, DELETE ON notice TO syncd_api;"


def upgrade() -> None:
    """Add the table; an earlier release ignores it."""
    op.execute(TABLE)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """Raise NotImplementedError: an earlier release ignores the table."""
    raise NotImplementedError("the version before this one works with this schema as it is")
