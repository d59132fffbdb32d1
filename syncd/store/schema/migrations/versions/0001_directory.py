"""Tables for contacts (by type), sources, runs, held removals, changes, rejects and tokens; privileges of the roles."""

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
    had               bigint NOT NULL DEFAULT 0,
    served            boolean NOT NULL DEFAULT true,
    state             text NOT NULL DEFAULT 'active',
    state_since       timestamptz NOT NULL DEFAULT now(),
    gone_run          bigint,
    gone_proof        boolean GENERATED ALWAYS AS (CASE WHEN state <> 'active' THEN true END) STORED,
    CONSTRAINT contact_pkey PRIMARY KEY (id, type),
    CONSTRAINT contact_state_check CHECK (state IN ('active', 'missing', 'removed')),
    CONSTRAINT contact_gone_check CHECK (state = 'active' OR gone_run IS NOT NULL),
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
-- without it the foreign key would look through all contacts whenever a run is closed
CREATE INDEX contact_gone_run_idx       ON contact (gone_run) WHERE gone_run IS NOT NULL;
CREATE INDEX contact_user_absent_idx    ON contact_user  (source) WHERE state <> 'active';
CREATE INDEX contact_queue_absent_idx   ON contact_queue (source) WHERE state <> 'active';

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
    scope         jsonb,
    attributes    text[] NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT source_pkey PRIMARY KEY (name)
);

CREATE TABLE run (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    source      text NOT NULL,
    job         text NOT NULL DEFAULT 'sync',
    outcome     text NOT NULL DEFAULT 'running',
    why         text NOT NULL DEFAULT '',
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    host        text NOT NULL,
    pid         integer NOT NULL,
    entries     integer NOT NULL DEFAULT 0,
    population  integer NOT NULL DEFAULT 0,
    added       integer NOT NULL DEFAULT 0,
    changed     integer NOT NULL DEFAULT 0,
    missing     integer NOT NULL DEFAULT 0,
    removed     integer NOT NULL DEFAULT 0,
    left_active integer NOT NULL DEFAULT 0,
    held        integer NOT NULL DEFAULT 0,
    rejected    integer NOT NULL DEFAULT 0,
    complete    boolean NOT NULL DEFAULT false,
    settled     boolean NOT NULL DEFAULT false,
    scope       text,
    undone      bigint,
    revision    bigint,
    evidence    jsonb,
    CONSTRAINT run_pkey PRIMARY KEY (id),
    CONSTRAINT run_id_complete_key UNIQUE (id, complete),
    CONSTRAINT run_job_check CHECK (job IN ('sync', 'undo', 'purge')),
    CONSTRAINT run_outcome_check CHECK (
        outcome IN ('running', 'completed', 'held', 'incomplete', 'failed', 'crashed'))
);
CREATE INDEX run_source_id_idx ON run (source, id DESC);

-- nobody is missing or removed without the number of a run whose read was complete
ALTER TABLE contact ADD CONSTRAINT contact_gone_run_fkey
    FOREIGN KEY (gone_run, gone_proof) REFERENCES run (id, complete);

CREATE TABLE held (
    source     text NOT NULL,
    job        text NOT NULL,
    item       text NOT NULL,
    run_id     bigint NOT NULL,
    source_key text,
    name       text NOT NULL,
    code       text NOT NULL,
    reason     text NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    kept_by    text,
    kept_at    timestamptz,
    CONSTRAINT held_pkey PRIMARY KEY (source, job, item),
    CONSTRAINT held_run_id_fkey FOREIGN KEY (run_id) REFERENCES run (id)
);
CREATE INDEX held_run_id_idx ON held (run_id);

CREATE TABLE approval (
    run_id      bigint NOT NULL,
    source      text NOT NULL,
    job         text NOT NULL,
    list        bytea NOT NULL,
    items       integer NOT NULL,
    approved_by text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_by     bigint,
    void        text,
    CONSTRAINT approval_pkey PRIMARY KEY (run_id),
    CONSTRAINT approval_run_id_fkey FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX approval_source_idx ON approval (source, job);

CREATE TABLE change (
    revision   bigint NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    run_id     bigint,
    caller     text,
    contact_id uuid NOT NULL,
    type       text NOT NULL,
    source_key text,
    kind       text NOT NULL,
    reason     text,
    old        jsonb NOT NULL DEFAULT '{}',
    new        jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT change_pkey PRIMARY KEY (revision, id),
    CONSTRAINT change_kind_check CHECK (
        kind IN ('add', 'change', 'miss', 'remove', 'return', 'purge', 'delete')),
    CONSTRAINT change_actor_check CHECK ((run_id IS NULL) <> (caller IS NULL))
);
CREATE INDEX change_contact_id_idx ON change (contact_id);

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
GRANT SELECT ON contact, contact_user, contact_queue, contact_custom, directory, source, run, held, approval, change,
    reject, alembic_version TO syncd_sync, syncd_api;
GRANT UPDATE (revision) ON directory TO syncd_sync, syncd_api;
GRANT INSERT ON change TO syncd_sync, syncd_api;

GRANT INSERT, UPDATE, DELETE ON contact_user, contact_queue TO syncd_sync;
GRANT INSERT, UPDATE ON source TO syncd_sync;
GRANT INSERT, UPDATE, DELETE ON run, held TO syncd_sync;
GRANT INSERT, DELETE ON reject TO syncd_sync;
GRANT UPDATE (used_by, void) ON approval TO syncd_sync;
GRANT DELETE ON change TO syncd_sync;

GRANT INSERT, UPDATE, DELETE ON contact_custom TO syncd_api;
GRANT SELECT, INSERT, UPDATE ON token TO syncd_api;
GRANT INSERT, UPDATE ON approval TO syncd_api;
GRANT UPDATE (kept_by, kept_at) ON held TO syncd_api;
"""


def upgrade() -> None:
    """Create the tables, then grant the privileges."""
    op.execute(TABLES)
    op.execute(PRIVILEGES)


def downgrade() -> None:
    """Raise NotImplementedError: there is no earlier schema."""
    raise NotImplementedError("drop the database instead")
