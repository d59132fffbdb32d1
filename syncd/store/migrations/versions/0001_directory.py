"""The directory: contacts partitioned by type, revision, sources, runs, rejects, tokens, and who may write what."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE contact (
    id                uuid NOT NULL DEFAULT gen_random_uuid(),
    type              text NOT NULL,
    name              text NOT NULL,
    numbers           jsonb NOT NULL DEFAULT '[]',
    user_name         text,
    first_name        text,
    last_name         text,
    employee_id       text,
    email_address     text,
    channel           text,
    roles             text[] NOT NULL DEFAULT '{}',
    business_units    text[] NOT NULL DEFAULT '{}',
    name_folded       text NOT NULL,
    first_name_folded text,
    last_name_folded  text,
    search            text NOT NULL,
    dialled           text[] NOT NULL DEFAULT '{}',
    source            text,
    source_key        text,
    digest            bytea,
    state             text NOT NULL DEFAULT 'active',
    state_since       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT contact_pkey PRIMARY KEY (id, type),
    CONSTRAINT contact_state_check CHECK (state IN ('active', 'removed')),
    CONSTRAINT contact_owner_check CHECK (
        CASE WHEN type = 'Custom' THEN source IS NULL AND source_key IS NULL
             ELSE source IS NOT NULL AND source_key IS NOT NULL END)
) PARTITION BY LIST (type);

CREATE TABLE contact_user   PARTITION OF contact FOR VALUES IN ('User');
CREATE TABLE contact_queue  PARTITION OF contact FOR VALUES IN ('Queue');
CREATE TABLE contact_custom PARTITION OF contact FOR VALUES IN ('Custom');

CREATE UNIQUE INDEX contact_user_source_key  ON contact_user  (source, source_key);
CREATE UNIQUE INDEX contact_queue_source_key ON contact_queue (source, source_key);

CREATE INDEX contact_name_folded_id_idx ON contact (name_folded COLLATE "C", id);
CREATE INDEX contact_user_name_idx      ON contact (user_name);
CREATE INDEX contact_dialled_idx        ON contact USING gin (dialled);

CREATE TABLE directory (
    one      boolean NOT NULL DEFAULT true,
    revision bigint NOT NULL DEFAULT 0,
    CONSTRAINT directory_pkey PRIMARY KEY (one),
    CONSTRAINT directory_one_row_check CHECK (one)
);
INSERT INTO directory DEFAULT VALUES;

CREATE TABLE source (
    name          text NOT NULL,
    type          text NOT NULL,
    key_attribute text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT source_pkey PRIMARY KEY (name)
);

CREATE TABLE run (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    source      text NOT NULL,
    outcome     text NOT NULL DEFAULT 'running',
    why         text NOT NULL DEFAULT '',
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    host        text NOT NULL,
    pid         integer NOT NULL,
    entries     integer NOT NULL DEFAULT 0,
    added       integer NOT NULL DEFAULT 0,
    changed     integer NOT NULL DEFAULT 0,
    removed     integer NOT NULL DEFAULT 0,
    held        integer NOT NULL DEFAULT 0,
    rejected    integer NOT NULL DEFAULT 0,
    revision    bigint,
    evidence    jsonb,
    CONSTRAINT run_pkey PRIMARY KEY (id),
    CONSTRAINT run_outcome_check CHECK (
        outcome IN ('running', 'completed', 'held', 'incomplete', 'failed', 'crashed'))
);
CREATE INDEX run_source_id_idx ON run (source, id DESC);

CREATE TABLE reject (
    run_id     bigint NOT NULL,
    source     text NOT NULL,
    source_key text,
    place      text NOT NULL,
    reason     text NOT NULL,
    record     jsonb NOT NULL,
    CONSTRAINT reject_run_id_fkey FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX reject_source_run_id_idx ON reject (source, run_id);

CREATE TABLE token (
    name       text NOT NULL,
    role       text NOT NULL,
    hash       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CONSTRAINT token_pkey PRIMARY KEY (name),
    CONSTRAINT token_hash_key UNIQUE (hash),
    CONSTRAINT token_role_check CHECK (role IN ('admin', 'agent'))
);
"""

# A statement on a partition is checked against the partition's own privileges, one on `contact` against the parent's.
# So nobody may write through the parent, and each role writes its own partitions by name.
PRIVILEGES = """
GRANT SELECT ON contact, contact_user, contact_queue, contact_custom, directory, source, run, reject,
    alembic_version TO syncd_sync, syncd_api;
GRANT UPDATE (revision) ON directory TO syncd_sync, syncd_api;

GRANT INSERT, UPDATE, DELETE ON contact_user, contact_queue TO syncd_sync;
GRANT INSERT, UPDATE ON source, run TO syncd_sync;
GRANT INSERT, DELETE ON reject TO syncd_sync;

GRANT INSERT, UPDATE, DELETE ON contact_custom TO syncd_api;
GRANT SELECT, INSERT, UPDATE ON token TO syncd_api;
"""


def upgrade() -> None:
    """Make the tables, then say who may write what."""
    op.execute(TABLES)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """There is nothing before the first step."""
    raise NotImplementedError("drop the database instead")
