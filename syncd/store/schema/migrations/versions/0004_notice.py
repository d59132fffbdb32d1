"""What people were told by webhook and mail, so that a restart tells nothing twice."""

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
    """Add the table; a version before this one works beside it."""
    op.execute(TABLE)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """A version before this one needs no way back: it does not look at the table."""
    raise NotImplementedError("the version before this one works with this schema as it is")
