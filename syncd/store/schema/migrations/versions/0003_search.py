"""Search indexes: trigrams, last digits of numbers and words of names; all stored contacts are re-indexed."""

from collections.abc import Iterator

from alembic import op
from sqlalchemy import Connection, text

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber, build_index

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 2000
"""Contacts that are read, indexed and written in one batch."""

# made before anything is locked, because it takes the longest
INDEXED = """
CREATE TEMPORARY TABLE indexed (id uuid, search text, dialled text[], tails text[]) ON COMMIT DROP;
"""

SCHEMA = """
ALTER TABLE contact ADD COLUMN tails text[] NOT NULL DEFAULT '{}';
ALTER TABLE directory ADD COLUMN region text NOT NULL DEFAULT '';
DROP INDEX contact_dialled_idx;

CREATE TABLE word (word text NOT NULL);

CREATE FUNCTION names_of(search text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT word FROM unnest((string_to_array(split_part(search, E'\\x0b', 1), E'\\f'))[2:]) AS word
     WHERE word ~ '[^0-9]'
$$;

-- what a transaction adds to an index of trigrams waits in a list that every search reads; only an owner can empty it
CREATE FUNCTION settle_indexes() RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path FROM CURRENT SET maintenance_work_mem = '256MB' AS $$
    SELECT gin_clean_pending_list(i.indexrelid)
      FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
      JOIN pg_catalog.pg_am a ON a.oid = c.relam
     WHERE a.amname = 'gin' AND i.indrelid IN ('contact_user'::regclass, 'contact_queue'::regclass, 'word'::regclass);
$$;
REVOKE ALL ON FUNCTION settle_indexes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_indexes() TO syncd_sync;

GRANT SELECT, INSERT ON word TO syncd_sync, syncd_api;
GRANT DELETE ON word TO syncd_sync;
GRANT UPDATE (region) ON directory TO syncd_api;
"""

FILL = """
UPDATE contact c SET search = n.search, dialled = n.dialled, tails = n.tails FROM indexed n WHERE n.id = c.id;
INSERT INTO word (word) SELECT DISTINCT named.word FROM contact c, names_of(c.search) AS named(word);
"""

INDEXES = """
CREATE INDEX contact_tails_idx ON contact USING gin (tails);
CREATE INDEX contact_search_idx ON contact USING gin (search gin_trgm_ops);
-- people write one contact at a time, and nobody settles that afterwards
ALTER INDEX contact_custom_tails_idx SET (fastupdate = off);
ALTER INDEX contact_custom_search_idx SET (fastupdate = off);
CREATE INDEX word_word_idx ON word (word COLLATE "C");
CREATE INDEX word_trigrams_idx ON word USING gin (word gin_trgm_ops);
"""


def upgrade() -> None:
    """Re-index stored contacts, then swap the indexes; numbers get their region with the next run of their source."""
    connection = op.get_bind()
    op.execute(INDEXED)
    for rows in _indexed(connection):
        connection.execute(text("INSERT INTO indexed VALUES (:id, :search, :dialled, :tails)"), rows)
    op.execute(SCHEMA)
    op.execute(FILL)
    op.execute(INDEXES)


def _indexed(connection: Connection) -> Iterator[list[dict[str, object]]]:
    """Yield the index columns of each stored contact, in batches."""
    columns = ", ".join(("id", "type", *Contact._fields))
    stored = text(f"SELECT {columns} FROM contact").execution_options(yield_per=BATCH)  # noqa: S608 - names of ours
    for rows in connection.execute(stored).partitions():
        batch: list[dict[str, object]] = []
        for id_, type_, name, numbers, *rest in rows:
            made = _index(type_, Contact(name, tuple(PhoneNumber(number["phoneNumber"]) for number in numbers), *rest))
            batch.append({"id": id_} | made)
        yield batch


def _index(type_: ContactType, contact: Contact) -> dict[str, object]:
    made = build_index(type_, contact)
    return {"search": made.search, "dialled": list(made.dialled), "tails": list(made.tails)}


def downgrade() -> None:
    """Raise NotImplementedError: an earlier release finds contacts as before, only without an index."""
    raise NotImplementedError("the version before this one works with this schema as it is")
