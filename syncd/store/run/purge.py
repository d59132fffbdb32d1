"""Purge of contacts removed long ago, and pruning of old runs, changes and unused words."""

from datetime import timedelta

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import ContactType
from syncd.core.sync.plan import Outcome
from syncd.store.run import plan, staging
from syncd.store.run.partition import execute

_PURGE = """
INSERT INTO plan (kind, id, was, source_key)
SELECT 'purge', c.id, c.state, c.source_key FROM {partition} c
 WHERE c.source = :source AND c.state = 'removed' AND c.state_since <= now() - :retention
"""
_COUNT = """
SELECT (SELECT count(*) FROM {partition} WHERE source = :source) AS known,
       (SELECT count(*) FROM plan WHERE kind = 'purge') AS purged
"""


def plan_purge(connection: Connection, source: str, type_: ContactType, retention: timedelta) -> tuple[int, int]:
    """Plan the purge of contacts removed longer ago than `retention`; return (contacts stored, contacts to purge)."""
    staging.stage(connection, type_, "", ())
    plan.begin(connection, set())
    execute(connection, _PURGE, type_, source=source, retention=retention)
    counts = execute(connection, _COUNT, type_, source=source).mappings().one()
    return counts["known"], counts["purged"]


def load_last_outcome(connection: Connection, source: str) -> Outcome | None:
    """Return the outcome of the last finished sync of a source; None when there was none."""
    query = """
    SELECT outcome FROM run WHERE source = :source AND job = 'sync' AND outcome <> 'running' ORDER BY id DESC LIMIT 1
    """
    outcome = connection.scalar(text(query), {"source": source})
    return None if outcome is None else Outcome(outcome)


# The change log is deleted by age, in whole revisions from the oldest on, so that the rest has no gap. Runs that are
# still referenced, and the last completed run of each source, stay.
_NEWEST_EXPIRED = "SELECT coalesce(min(revision) FILTER (WHERE at >= now() - :keep) - 1, max(revision), 0) FROM change"
_DELETE_CHANGES = "DELETE FROM change WHERE revision <= :newest"
_DELETE_RUNS = """
DELETE FROM run r
 WHERE r.source = :source AND r.started_at < now() - :keep
   AND r.id < (SELECT max(id) FROM run WHERE source = :source AND outcome = 'completed')
   AND NOT EXISTS (SELECT FROM contact c WHERE c.gone_run = r.id)
   AND NOT EXISTS (SELECT FROM held h WHERE h.run_id = r.id)
"""
# A transaction that writes contacts locks this table to its end, so words of uncommitted contacts are not deleted.
_LOCK_WORDS = "LOCK TABLE word IN EXCLUSIVE MODE"
_DELETE_WORDS = """
DELETE FROM word w
 WHERE NOT EXISTS (
       SELECT FROM (SELECT DISTINCT named.word FROM contact c, names_of(c.search) AS named(word)) used
        WHERE used.word = w.word)
    OR EXISTS (SELECT FROM word twin WHERE twin.word = w.word AND twin.ctid < w.ctid)
"""
_SAVE_PRUNED = "UPDATE directory SET pruned = :newest WHERE pruned < :newest"


def prune(connection: Connection, source: str, retention: timedelta) -> None:
    """Delete change log lines (of all sources) and runs of this source older than `retention`, and unused words."""
    newest = connection.scalar(text(_NEWEST_EXPIRED), {"keep": retention})
    connection.execute(text(_DELETE_CHANGES), {"newest": newest})
    connection.execute(text(_DELETE_RUNS), {"source": source, "keep": retention})
    connection.execute(text(_LOCK_WORDS))
    connection.execute(text(_DELETE_WORDS))
    connection.execute(text(_SAVE_PRUNED), {"newest": newest})  # last: every writer waits for this row
