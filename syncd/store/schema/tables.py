"""SQLAlchemy Core tables; the migrations create the same tables, and a test compares the two."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _contact_columns() -> list[Column[object]]:
    """Return the columns of `contact` and of each of its partitions."""
    return [
        Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()"), primary_key=True),
        Column("type", Text, nullable=False, primary_key=True),
        Column("name", Text, nullable=False),
        # [{"phoneNumber": …, "description": …}, …], the first is the contact's phoneNumber
        Column("numbers", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
        Column("user_name", Text),
        Column("first_name", Text),
        Column("last_name", Text),
        Column("employee_id", Text),
        Column("email_address", Text),
        Column("channel", Text),
        Column("roles", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        Column("business_units", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        # computed by core.contacts.contact.build_index at write time
        Column("name_folded", Text, nullable=False),
        Column("first_name_folded", Text),
        Column("last_name_folded", Text),
        Column("search", Text, nullable=False),
        Column("dialled", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        # synced contacts only
        Column("source", Text),
        Column("source_key", Text),
        Column("digest", LargeBinary),
        # which of the source's attributes the entry had: bit n stands for source.attributes[n]
        Column("had", BigInteger, nullable=False, server_default=text("0")),
        # whether GET returns it; the source's settings decide for a missing contact
        Column("served", Boolean, nullable=False, server_default=text("true")),
        Column("state", Text, nullable=False, server_default=text("'active'")),
        Column("state_since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        # the complete run that proved the absence: no contact becomes missing or removed without one
        Column("gone_run", BigInteger),
        Column("gone_proof", Boolean, Computed("CASE WHEN state <> 'active' THEN true END", persisted=True)),
        # computed by the same function
        Column("tails", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    ]


contact = Table(
    "contact",
    metadata,
    *_contact_columns(),
    CheckConstraint("state IN ('active', 'missing', 'removed')", name="state"),
    CheckConstraint("state = 'active' OR gone_run IS NOT NULL", name="gone"),
    ForeignKeyConstraint(["gone_run", "gone_proof"], ["run.id", "run.complete"], name="contact_gone_run_fkey"),
    CheckConstraint(
        "CASE WHEN type = 'Custom' THEN source IS NULL AND source_key IS NULL "
        "ELSE source IS NOT NULL AND source_key IS NOT NULL END",
        name="owner",
    ),
    Index("contact_name_folded_id_idx", text('name_folded COLLATE "C"'), "id"),
    Index("contact_user_name_idx", "user_name"),
    Index("contact_tails_idx", "tails", postgresql_using="gin"),
    Index("contact_search_idx", "search", postgresql_using="gin", postgresql_ops={"search": "gin_trgm_ops"}),
    Index("contact_words_idx", text("words_of(search)"), postgresql_using="gin"),
    Index("contact_gone_run_idx", "gone_run", postgresql_where=text("gone_run IS NOT NULL")),
    postgresql_partition_by="LIST (type)",
)

PARTITIONS = {"User": "contact_user", "Queue": "contact_queue", "Custom": "contact_custom"}
"""Contact type -> partition. Writers name the partition, because the privileges are granted on it."""

_partitions = MetaData()  # apart from `metadata`: PostgreSQL derives their columns from `contact`
partition = {type_: Table(name, _partitions, *_contact_columns()) for type_, name in PARTITIONS.items()}

directory = Table(
    "directory",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    # raised by every change of the tokens
    Column("access", BigInteger, nullable=False, server_default=text("0")),
    # the newest revision that has been pruned from the change log
    Column("pruned", BigInteger, nullable=False, server_default=text("0")),
    # region of the numbers without country code of Custom contacts; all of them are indexed for it
    Column("region", Text, nullable=False, server_default=text("''::text")),
    CheckConstraint("one", name="one_row"),
)
"""One row: the revision, incremented by every transaction that changes a contact, and other state of all replicas."""

word = Table(
    "word",
    metadata,
    Column("word", Text, nullable=False),
    Index("word_word_idx", text('word COLLATE "C"')),
    Index("word_trigrams_idx", "word", postgresql_using="gin", postgresql_ops={"word": "gin_trgm_ops"}),
)
"""Words of all names, for searches with misspelled words. Duplicates are possible, because writers do not wait."""

source = Table(
    "source",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("key_attribute", Text, nullable=False),
    # where and how it was read when its removals were last accepted; see core.sync.guard
    Column("scope", JSONB),
    # the mapped attributes, in the order of the bits of contact.had
    Column("attributes", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    _created_at(),
)
"""Baseline of each source: set by its first complete run, updated by the later ones."""

run = Table(
    "run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("job", Text, nullable=False, server_default=text("'sync'")),
    Column("outcome", Text, nullable=False, server_default=text("'running'")),
    Column("why", Text, nullable=False, server_default=text("''")),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("finished_at", DateTime(timezone=True)),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("entries", Integer, nullable=False, server_default=text("0")),
    Column("population", Integer, nullable=False, server_default=text("0")),
    Column("added", Integer, nullable=False, server_default=text("0")),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("missing", Integer, nullable=False, server_default=text("0")),
    Column("removed", Integer, nullable=False, server_default=text("0")),
    # contacts that stopped being active without an approval; summed up by the rolling windows of the guard
    Column("left_active", Integer, nullable=False, server_default=text("0")),
    Column("held", Integer, nullable=False, server_default=text("0")),
    Column("rejected", Integer, nullable=False, server_default=text("0")),
    # what the read proved: `complete` runs can prove an absence, `settled` ones count for the grace
    Column("complete", Boolean, nullable=False, server_default=text("false")),
    Column("settled", Boolean, nullable=False, server_default=text("false")),
    Column("scope", Text),
    Column("undone", BigInteger),
    Column("revision", BigInteger),
    Column("evidence", JSONB),
    UniqueConstraint("id", "complete"),
    CheckConstraint("job IN ('sync', 'undo', 'purge')", name="job"),
    CheckConstraint("outcome IN ('running', 'completed', 'held', 'incomplete', 'failed', 'crashed')", name="outcome"),
    Index("run_source_id_idx", "source", text("id DESC")),
)

held = Table(
    "held",
    metadata,
    Column("source", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    # the id of a contact, or `attribute NAME`
    Column("item", Text, primary_key=True),
    Column("run_id", BigInteger, ForeignKey("run.id"), nullable=False),
    Column("source_key", Text),
    Column("name", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("kept_by", Text),
    Column("kept_at", DateTime(timezone=True)),
    Index("held_run_id_idx", "run_id"),
)
"""Held removals, as of the last complete run; `kept_by` is the operator who rejected the removal."""

approval = Table(
    "approval",
    metadata,
    Column("run_id", BigInteger, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("source", Text, nullable=False),
    Column("job", Text, nullable=False),
    # SHA-256 of the approved list
    Column("list", LargeBinary, nullable=False),
    Column("items", Integer, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("approved_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_by", BigInteger),
    Column("void", Text),
    Index("approval_source_idx", "source", "job"),
)
"""Approvals of the removals that a run held: each for one list, valid once and until it expires."""

change = Table(
    "change",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("run_id", BigInteger),
    Column("caller", Text),
    Column("contact_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("source_key", Text),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    # members by their JSON names, null without a value: of a change only the members that differ, else all
    Column("old", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("new", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    CheckConstraint("kind IN ('add', 'change', 'miss', 'remove', 'return', 'purge', 'delete')", name="kind"),
    CheckConstraint("(run_id IS NULL) <> (caller IS NULL)", name="actor"),
    Index("change_contact_id_idx", "contact_id"),
)
"""Change log: each change of each contact, by a run or by a caller, in the order of revisions."""

reject = Table(
    "reject",
    metadata,
    Column("run_id", BigInteger, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("source", Text, nullable=False),
    Column("source_key", Text),
    Column("place", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("record", JSONB, nullable=False),
    Index("reject_source_run_id_idx", "source", "run_id"),
)
"""Records that the last run of each source could not map."""

notice = Table(
    "notice",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)
"""Problems that were reported by webhook or mail and whose recovery was not."""

token = Table(
    "token",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _created_at(),
    Column("revoked_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    Column("used_at", DateTime(timezone=True)),
    UniqueConstraint("hash"),
    CheckConstraint("role IN ('admin', 'agent')", name="role"),
)
"""API tokens; `hash` is the SHA-256 of the token, which itself has 256 random bits."""
