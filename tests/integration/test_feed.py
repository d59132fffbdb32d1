"""Change feed of the store: batches, pruned positions, and the plan of the query."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from syncd.core.contacts.feed import ChangeBatch, Position, end_of_revision
from syncd.errors import Gone
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.changes import BATCH_SIZE, MAX_SCANNED_LINES, SELECT_CHANGES, ChangeFeed
from syncd.store.run import purge

INSERT_USERS = """
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision),
     made AS (INSERT INTO contact_user (type, name, name_folded, search, source, source_key)
              SELECT 'User', 'P' || n, 'p' || n, '', 'tests', gen_random_uuid()::text FROM generate_series(1, %s) n
              RETURNING id)
INSERT INTO change (revision, caller, contact_id, type, kind)
SELECT next.revision, 'tests', made.id, 'User', 'add' FROM next, made
"""
CHANGE_USERS = """
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision)
INSERT INTO change (revision, caller, contact_id, type, kind)
SELECT next.revision, 'tests', c.id, 'User', 'change' FROM next, (SELECT id FROM contact_user ORDER BY id LIMIT %s) c
"""


def execute(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def read_batches(url: str, since: int) -> list[ChangeBatch]:
    """Return all batches after a revision."""

    async def run() -> list[ChangeBatch]:
        pool = open_async_engine(Database(url=url), Role.API)
        feed, batches = ChangeFeed(pool), []
        position = end_of_revision(since)
        try:
            while True:
                batches.append(await feed.read_after(position))
                position = batches[-1].end
                if batches[-1].next_revision is None:
                    return batches
        finally:
            await pool.dispose()

    return asyncio.run(run())


def test_long_revision_is_split_into_batches(database_url: str) -> None:
    """Batches have bounded length, are in order and have each contact once; the last ends at the current revision."""
    execute(database_url, INSERT_USERS, 3 * BATCH_SIZE + 7)
    execute(database_url, CHANGE_USERS, BATCH_SIZE)

    batches = read_batches(database_url, 0)

    assert [len(batch.changes) for batch in batches] == [BATCH_SIZE, BATCH_SIZE, BATCH_SIZE, 7]
    assert [batch.next_revision for batch in batches] == [1, 1, 2, None]
    positions = [change.position for batch in batches for change in batch.changes]
    assert positions == sorted(positions)
    assert [position.revision for position in positions] == [1] * (2 * BATCH_SIZE + 7) + [2] * BATCH_SIZE
    assert len({change.id for batch in batches for change in batch.changes}) == 3 * BATCH_SIZE + 7
    assert batches[-1].end == end_of_revision(2)


def test_exactly_full_batch_is_the_last(database_url: str) -> None:
    """A full batch without further changes has no next revision."""
    execute(database_url, INSERT_USERS, BATCH_SIZE)

    assert [(len(batch.changes), batch.next_revision) for batch in read_batches(database_url, 0)] == [
        (BATCH_SIZE, None)
    ]


def test_superseded_lines_are_skipped_in_steps(database_url: str) -> None:
    """A query scans a bounded number of lines, superseded ones included; no change is left out."""
    execute(database_url, INSERT_USERS, MAX_SCANNED_LINES + 10)
    execute(database_url, CHANGE_USERS, MAX_SCANNED_LINES + 5)

    batches = read_batches(database_url, 0)

    assert len(batches[0].changes) <= 5
    assert batches[0].next_revision == 1
    positions = [change.position for batch in batches for change in batch.changes]
    assert positions == sorted(positions)
    assert [position.revision for position in positions] == [1] * 5 + [2] * (MAX_SCANNED_LINES + 5)
    assert len({change.id for batch in batches for change in batch.changes}) == MAX_SCANNED_LINES + 10


def test_change_of_an_unserved_contact_has_no_contact(database_url: str) -> None:
    """Hidden and deleted contacts are None, whatever the kind of the change log line."""
    execute(database_url, INSERT_USERS, 3)
    hidden, deleted = (row[0] for row in execute(database_url, "SELECT id FROM contact_user ORDER BY id LIMIT 2"))
    execute(database_url, "UPDATE contact_user SET served = false WHERE id = %s", hidden)
    execute(database_url, "DELETE FROM contact_user WHERE id = %s", deleted)

    (batch,) = read_batches(database_url, 0)

    assert {change.id: change.contact is None for change in batch.changes} == {
        change.id: change.id in {hidden.hex, deleted.hex} for change in batch.changes
    }
    assert len(batch.changes) == 3


@pytest.mark.parametrize("position", [end_of_revision(6), Position(6, 0), end_of_revision(9_000_000_000)])
def test_unknown_position_is_gone(database_url: str, position: Position) -> None:
    """A position of another directory, or from before a restore, raises Gone."""
    execute(database_url, "UPDATE directory SET revision = 5")

    async def run() -> None:
        pool = open_async_engine(Database(url=database_url), Role.API)
        try:
            with pytest.raises(Gone, match="Directory-Revision"):
                await ChangeFeed(pool).read_after(position)
        finally:
            await pool.dispose()

    asyncio.run(run())


def test_whole_revisions_are_pruned(database_url: str) -> None:
    """Revisions are pruned by age from the oldest on; a younger one keeps all later ones, so that there is no gap."""
    for age in (50, 40, 5, 30, 1):
        execute(database_url, INSERT_USERS, 2)
        execute(database_url, "UPDATE change SET at = now() - %s WHERE at > now() - interval '1 hour'", timedelta(age))
    sync = open_engine(Database(url=database_url), Role.SYNC)

    def prune(days: int) -> int:
        with sync.begin() as connection:
            purge.prune(connection, "corp", timedelta(days))
        return int(execute(database_url, "SELECT pruned FROM directory")[0][0])

    assert prune(100) == 0
    assert prune(45) == 1
    assert prune(20) == 2
    assert [row[0] for row in execute(database_url, "SELECT revision FROM change ORDER BY 1")] == [3, 3, 4, 4, 5, 5]
    assert [change.position.revision for change in read_batches(database_url, 2)[0].changes] == [3, 3, 4, 4, 5, 5]
    with pytest.raises(Gone, match="revision 1 are deleted"):
        read_batches(database_url, 1)
    assert prune(0) == 5
    assert prune(0) == 5
    assert read_batches(database_url, 5)[0].changes == []
    execute(database_url, INSERT_USERS, 2)
    assert len(read_batches(database_url, 5)[0].changes) == 2
    with pytest.raises(Gone):
        read_batches(database_url, 4)
    sync.dispose()


def test_batches_are_read_by_indexes(database_url: str) -> None:
    """In a log of 150,000 lines no table is scanned sequentially, for any position."""
    execute(database_url, INSERT_USERS, 50_000)
    execute(database_url, CHANGE_USERS, 50_000)
    execute(database_url, CHANGE_USERS, 49_000)
    execute(database_url, "ANALYZE change; ANALYZE contact_user")
    for position in (end_of_revision(0), Position(1, 30_000), end_of_revision(1), end_of_revision(2)):
        query = SELECT_CHANGES.params(**position._asdict())
        compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in execute(database_url, f"EXPLAIN (ANALYZE, BUFFERS) {compiled}"))
        assert "Seq Scan on change" not in plan, plan
        assert "Seq Scan on contact_user" not in plan, plan
        assert "change_pkey" in plan, plan
        print(plan.splitlines()[-1])
