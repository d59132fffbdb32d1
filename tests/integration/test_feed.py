"""The change feed read from a real database: sections, what is forgotten, and the plan of the question."""

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

PEOPLE = """
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision),
     made AS (INSERT INTO contact_user (type, name, name_folded, search, source, source_key)
              SELECT 'User', 'P' || n, 'p' || n, '', 'tests', gen_random_uuid()::text FROM generate_series(1, %s) n
              RETURNING id)
INSERT INTO change (revision, caller, contact_id, type, kind)
SELECT next.revision, 'tests', made.id, 'User', 'add' FROM next, made
"""
AGAIN = """
WITH next AS (UPDATE directory SET revision = revision + 1 RETURNING revision)
INSERT INTO change (revision, caller, contact_id, type, kind)
SELECT next.revision, 'tests', c.id, 'User', 'change' FROM next, (SELECT id FROM contact_user ORDER BY id LIMIT %s) c
"""


def execute(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def sections(url: str, since: int) -> list[ChangeBatch]:
    """All that follows a revision."""

    async def play() -> list[ChangeBatch]:
        pool = open_async_engine(Database(url=url), Role.API)
        feed, found = ChangeFeed(pool), []
        position = end_of_revision(since)
        try:
            while True:
                found.append(await feed.read_after(position))
                position = found[-1].end
                if found[-1].next_revision is None:
                    return found
        finally:
            await pool.dispose()

    return asyncio.run(play())


def test_a_long_revision_comes_in_sections(database_url: str) -> None:
    """Each of bounded length, in order, every contact once; the last one ends at the directory's revision."""
    execute(database_url, PEOPLE, 3 * BATCH_SIZE + 7)
    execute(database_url, AGAIN, BATCH_SIZE)

    found = sections(database_url, 0)

    assert [len(section.changes) for section in found] == [BATCH_SIZE, BATCH_SIZE, BATCH_SIZE, 7]
    assert [section.next_revision for section in found] == [1, 1, 2, None]
    positions = [change.position for section in found for change in section.changes]
    assert positions == sorted(positions)
    assert [position.revision for position in positions] == [1] * (2 * BATCH_SIZE + 7) + [2] * BATCH_SIZE
    assert len({change.id for section in found for change in section.changes}) == 3 * BATCH_SIZE + 7
    assert found[-1].end == end_of_revision(2)


def test_a_section_that_is_just_full_is_the_last(database_url: str) -> None:
    """Nobody is sent for what is not there."""
    execute(database_url, PEOPLE, BATCH_SIZE)

    assert [(len(section.changes), section.next_revision) for section in sections(database_url, 0)] == [
        (BATCH_SIZE, None)
    ]


def test_a_long_past_is_passed_over_in_steps(database_url: str) -> None:
    """Lines that later ones have made void cost time, but never much in one question; nothing is left out."""
    execute(database_url, PEOPLE, MAX_SCANNED_LINES + 10)
    execute(database_url, AGAIN, MAX_SCANNED_LINES + 5)

    found = sections(database_url, 0)

    assert len(found[0].changes) <= 5
    assert found[0].next_revision == 1
    positions = [change.position for section in found for change in section.changes]
    assert positions == sorted(positions)
    assert [position.revision for position in positions] == [1] * 5 + [2] * (MAX_SCANNED_LINES + 5)
    assert len({change.id for section in found for change in section.changes}) == MAX_SCANNED_LINES + 10


def test_who_is_served_no_more_is_without_a_contact(database_url: str) -> None:
    """Hidden or gone, whatever the line in the log says."""
    execute(database_url, PEOPLE, 3)
    hidden, gone = (row[0] for row in execute(database_url, "SELECT id FROM contact_user ORDER BY id LIMIT 2"))
    execute(database_url, "UPDATE contact_user SET served = false WHERE id = %s", hidden)
    execute(database_url, "DELETE FROM contact_user WHERE id = %s", gone)

    (section,) = sections(database_url, 0)

    assert {change.id: change.contact is None for change in section.changes} == {
        change.id: change.id in {hidden.hex, gone.hex} for change in section.changes
    }
    assert len(section.changes) == 3


@pytest.mark.parametrize("position", [end_of_revision(6), Position(6, 0), end_of_revision(9_000_000_000)])
def test_a_position_that_never_was_is_gone(database_url: str, position: Position) -> None:
    """Of another directory, or from before it was restored."""
    execute(database_url, "UPDATE directory SET revision = 5")

    async def play() -> None:
        pool = open_async_engine(Database(url=database_url), Role.API)
        try:
            with pytest.raises(Gone, match="Directory-Revision"):
                await ChangeFeed(pool).read_after(position)
        finally:
            await pool.dispose()

    asyncio.run(play())


def test_whole_revisions_are_forgotten_and_told(database_url: str) -> None:
    """By age, from the oldest on: one that is younger keeps the later ones, so that there is no gap."""
    for age in (50, 40, 5, 30, 1):
        execute(database_url, PEOPLE, 2)
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
    assert [change.position.revision for change in sections(database_url, 2)[0].changes] == [3, 3, 4, 4, 5, 5]
    with pytest.raises(Gone, match="no longer known"):
        sections(database_url, 1)
    assert prune(0) == 5
    assert prune(0) == 5
    assert sections(database_url, 5)[0].changes == []
    execute(database_url, PEOPLE, 2)
    assert len(sections(database_url, 5)[0].changes) == 2
    with pytest.raises(Gone):
        sections(database_url, 4)
    sync.dispose()


def test_a_section_is_found_by_indexes(database_url: str) -> None:
    """In a log of 150,000 lines no table is read as a whole, wherever one stands."""
    execute(database_url, PEOPLE, 50_000)
    execute(database_url, AGAIN, 50_000)
    execute(database_url, AGAIN, 49_000)
    execute(database_url, "ANALYZE change; ANALYZE contact_user")
    for position in (end_of_revision(0), Position(1, 30_000), end_of_revision(1), end_of_revision(2)):
        question = SELECT_CHANGES.params(**position._asdict())
        compiled = question.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in execute(database_url, f"EXPLAIN (ANALYZE, BUFFERS) {compiled}"))
        assert "Seq Scan on change" not in plan, plan
        assert "Seq Scan on contact_user" not in plan, plan
        assert "change_pkey" in plan, plan
        print(plan.splitlines()[-1])
