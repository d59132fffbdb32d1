"""The tables as SQLAlchemy Core declares them; the migrations make the same, and a test compares the two."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
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


def _now() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _contact_columns() -> list[Column[object]]:
    """The columns that `contact` and each of its partitions have."""
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
        # computed by core.contact.index at write time
        Column("name_folded", Text, nullable=False),
        Column("first_name_folded", Text),
        Column("last_name_folded", Text),
        Column("search", Text, nullable=False),
        Column("dialled", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
        # synced contacts only
        Column("source", Text),
        Column("source_key", Text),
        Column("digest", LargeBinary),
        Column("state", Text, nullable=False, server_default=text("'active'")),
        Column("state_since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    ]


contact = Table(
    "contact",
    metadata,
    *_contact_columns(),
    CheckConstraint("state IN ('active', 'removed')", name="state"),
    CheckConstraint(
        "CASE WHEN type = 'Custom' THEN source IS NULL AND source_key IS NULL "
        "ELSE source IS NOT NULL AND source_key IS NOT NULL END",
        name="owner",
    ),
    Index("contact_name_folded_id_idx", text('name_folded COLLATE "C"'), "id"),
    Index("contact_user_name_idx", "user_name"),
    Index("contact_dialled_idx", "dialled", postgresql_using="gin"),
    postgresql_partition_by="LIST (type)",
)

PARTITIONS = {"User": "contact_user", "Queue": "contact_queue", "Custom": "contact_custom"}
"""Contact type -> the partition that holds it. Writers name the partition: the privileges lie there."""

_partitions = MetaData()  # apart from `metadata`: PostgreSQL derives their columns from `contact`
partition = {type_: Table(name, _partitions, *_contact_columns()) for type_, name in PARTITIONS.items()}

directory = Table(
    "directory",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("one", name="one_row"),
)
"""One row: the revision, raised by every transaction that changes a contact."""

source = Table(
    "source",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("key_attribute", Text, nullable=False),
    _now(),
)
"""What is pinned for a source by its first complete run."""

run = Table(
    "run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("outcome", Text, nullable=False, server_default=text("'running'")),
    Column("why", Text, nullable=False, server_default=text("''")),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("finished_at", DateTime(timezone=True)),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("entries", Integer, nullable=False, server_default=text("0")),
    Column("added", Integer, nullable=False, server_default=text("0")),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("removed", Integer, nullable=False, server_default=text("0")),
    Column("held", Integer, nullable=False, server_default=text("0")),
    Column("rejected", Integer, nullable=False, server_default=text("0")),
    Column("revision", BigInteger),
    Column("evidence", JSONB),
    CheckConstraint("outcome IN ('running', 'completed', 'held', 'incomplete', 'failed', 'crashed')", name="outcome"),
    Index("run_source_id_idx", "source", text("id DESC")),
)

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
"""The records that the last runs could not map."""

token = Table(
    "token",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _now(),
    Column("revoked_at", DateTime(timezone=True)),
    UniqueConstraint("hash"),
    CheckConstraint("role IN ('admin', 'agent')", name="role"),
)
"""API tokens; `hash` is the SHA-256 of the token, which itself has 256 random bits."""
