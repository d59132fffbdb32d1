"""Forgetting: contacts that were removed long ago, and the history that nobody keeps any longer."""

from datetime import timedelta

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import Type
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


def make(connection: Connection, source: str, type_: Type, retention: timedelta) -> tuple[int, int]:
    """Plan the end of who has been removed for so long; return how many contacts the source has or had, and these."""
    staging.stage(connection, type_, "", ())
    plan.begin(connection, set())
    execute(connection, _PURGE, type_, source=source, retention=retention)
    counts = execute(connection, _COUNT, type_, source=source).mappings().one()
    return counts["known"], counts["purged"]


def last_outcome(connection: Connection, source: str) -> Outcome | None:
    """How the last sync of a source ended; None when there was none."""
    query = """
    SELECT outcome FROM run WHERE source = :source AND job = 'sync' AND outcome <> 'running' ORDER BY id DESC LIMIT 1
    """
    found = connection.scalar(text(query), {"source": source})
    return None if found is None else Outcome(found)


# The change log goes by age, revision by revision from the oldest on, so that what is left of it has no gap. Of the
# runs those stay that something still refers to, and the last of each source.
_NEWEST_OLD = "SELECT coalesce(min(revision) FILTER (WHERE at >= now() - :keep) - 1, max(revision), 0) FROM change"
_FORGET_CHANGES = "DELETE FROM change WHERE revision <= :newest"
_FORGET_RUNS = """
DELETE FROM run r
 WHERE r.source = :source AND r.started_at < now() - :keep
   AND r.id < (SELECT max(id) FROM run WHERE source = :source AND outcome = 'completed')
   AND NOT EXISTS (SELECT FROM contact c WHERE c.gone_run = r.id)
   AND NOT EXISTS (SELECT FROM held h WHERE h.run_id = r.id)
"""
# Whoever writes contacts holds a lock on the table of words until the end, so nobody's words are taken for unused.
_LOCK_WORDS = "LOCK TABLE word IN EXCLUSIVE MODE"
_FORGET_WORDS = """
DELETE FROM word w
 WHERE NOT EXISTS (
       SELECT FROM (SELECT DISTINCT named.word FROM contact c, names_of(c.search) AS named(word)) used
        WHERE used.word = w.word)
    OR EXISTS (SELECT FROM word twin WHERE twin.word = w.word AND twin.ctid < w.ctid)
"""
_REMEMBER = "UPDATE directory SET pruned = :newest WHERE pruned < :newest"


def prune(connection: Connection, source: str, keep: timedelta) -> None:
    """Forget what is older than `keep`: lines of the change log, runs of this source, words that name nobody."""
    newest = connection.scalar(text(_NEWEST_OLD), {"keep": keep})
    connection.execute(text(_FORGET_CHANGES), {"newest": newest})
    connection.execute(text(_FORGET_RUNS), {"source": source, "keep": keep})
    connection.execute(text(_LOCK_WORDS))
    connection.execute(text(_FORGET_WORDS))
    connection.execute(text(_REMEMBER), {"newest": newest})  # last, because every writer waits for this row
