"""Application of a plan: contacts, change log and revision, in the caller's transaction."""

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import ContactType
from syncd.core.sync.plan import Report
from syncd.store.run.partition import execute

# the contacts before any of them is written, for the change log
_BEFORE = """
CREATE TEMPORARY TABLE before ON COMMIT DROP AS
SELECT p.id, {old} AS old FROM plan p JOIN {partition} c ON c.id = p.id
 WHERE p.kind NOT IN ('add', 'touch') AND p.hold IS NULL
"""

_INSERT = """
INSERT INTO {partition} (id, type, source, source_key, digest, had, {columns})
SELECT p.id, :type, :source, s.source_key, s.digest, s.had, {staged}
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'add'
"""

_UPDATE = """
UPDATE {partition} c
   SET digest = s.digest, had = s.had, {assignments}, served = true, state = 'active', gone_run = NULL,
       state_since = CASE WHEN c.state = 'active' THEN c.state_since ELSE now() END
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind IN ('return', 'change') AND c.id = p.id
"""

_TOUCH = """
UPDATE {partition} c SET digest = coalesce(s.digest, c.digest), had = s.had
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'touch' AND c.id = p.id
   AND (c.digest IS DISTINCT FROM coalesce(s.digest, c.digest) OR c.had <> s.had)
"""

# index columns computed by another release, or for numbers of another region
_REINDEX = """
UPDATE {partition} c SET {index_assignments}
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'touch' AND c.id = p.id AND ({stored_index}) IS DISTINCT FROM ({staged_index})
"""

_WORDS = """
INSERT INTO word (word)
SELECT DISTINCT named.word
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL, names_of(s.search) AS named(word)
 WHERE p.kind IN ('add', 'change', 'return', 'touch') AND NOT EXISTS (SELECT FROM word w WHERE w.word = named.word)
"""

_LEAVE = """
UPDATE {partition} c
   SET state = CASE p.kind WHEN 'miss' THEN 'missing' ELSE 'removed' END, state_since = now(),
       served = p.kind = 'miss' AND :shown, gone_run = coalesce(c.gone_run, :witness), digest = NULL
  FROM plan p
 WHERE p.kind IN ('miss', 'remove') AND p.hold IS NULL AND c.id = p.id
"""

_PURGE = "DELETE FROM {partition} c USING plan p WHERE p.kind = 'purge' AND p.hold IS NULL AND c.id = p.id"

# for a change only the members that differ
_LOG = """
INSERT INTO change (revision, run_id, contact_id, type, source_key, kind, reason, old, new)
SELECT :revision, :run, p.id, :type, p.source_key, p.kind, p.reason, '{{}}', {new}
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'add'
UNION ALL
SELECT :revision, :run, p.id, :type, p.source_key, p.kind, p.reason,
       coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(b.old)
                  WHERE value IS DISTINCT FROM {new} -> key), '{{}}'),
       coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each({new})
                  WHERE value IS DISTINCT FROM b.old -> key), '{{}}')
  FROM plan p JOIN before b ON b.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'change'
UNION ALL
SELECT :revision, :run, p.id, :type, p.source_key, p.kind, p.reason, b.old,
       CASE WHEN p.kind = 'return' THEN {new} ELSE '{{}}' END
  FROM plan p JOIN before b ON b.id = p.id LEFT JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind IN ('return', 'miss', 'remove', 'purge')
"""


def apply_plan(connection: Connection, report: Report, type_: ContactType, *, serve_missing: bool) -> int | None:
    """Write the rows of the plan that are not held; return the new revision, None when no contact changed.

    `serve_missing`: whether newly missing contacts are still served. The caller has marked the run as complete before.
    """
    values = {
        "source": report.source,
        "type": type_,
        "run": report.run,
        "shown": serve_missing,
        "witness": report.proof_run or report.run,
    }
    execute(connection, _BEFORE, type_)
    written = 0
    for statement in (_INSERT, _UPDATE, _REINDEX, _LEAVE, _PURGE):
        written += execute(connection, statement, type_, **values).rowcount
    execute(connection, _TOUCH, type_)
    if not written:
        return None
    execute(connection, _WORDS, type_)
    revision = increment_revision(connection)
    execute(connection, _LOG, type_, revision=revision, **values)
    return revision


def settle_indexes(connection: Connection) -> None:
    """Flush the pending lists of the search indexes (GIN), which every search would scan, and commit."""
    connection.execute(text("SELECT settle_indexes()"))
    connection.commit()


def increment_revision(connection: Connection) -> int:
    """Increment the revision, notify the listeners, and return it.

    To be called as late as possible in a transaction, because the row lock serialises the writers.
    """
    revision = connection.scalar(text("UPDATE directory SET revision = revision + 1 RETURNING revision"))
    connection.execute(text("SELECT pg_notify('syncd_revision', :revision)"), {"revision": str(revision)})
    return int(revision)
