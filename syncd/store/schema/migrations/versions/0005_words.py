"""Index of whole words of names, for searches with misspelled words."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# the second part of what is searched, between form feeds; `core.contacts.contact.index` makes it
WORDS = """
CREATE FUNCTION words_of(search text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (string_to_array(split_part(search, E'\\x0b', 1), E'\\f'))[2:]
$$;

CREATE OR REPLACE FUNCTION names_of(search text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT word FROM unnest(words_of(search)) AS word WHERE word ~ '[^0-9]'
$$;
"""

INDEX = """
CREATE INDEX contact_words_idx ON contact USING gin (words_of(search));
ALTER INDEX contact_custom_words_of_idx SET (fastupdate = off);
"""


def upgrade() -> None:
    """Add the index; an earlier release ignores it. Writers wait, 5 s for a million contacts."""
    op.execute(WORDS)
    op.execute(INDEX)


def downgrade() -> None:
    """Raise NotImplementedError: an earlier release ignores the index."""
    raise NotImplementedError("the version before this one works with this schema as it is")
