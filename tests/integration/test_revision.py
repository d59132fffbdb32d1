"""The revision on a real database: asked together, heard of by NOTIFY, and true when nobody can listen."""

import asyncio

import psycopg
import pytest

from syncd.demo.servers import Postgres
from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.contacts.revision import RevisionTracker


def commit(url: str, *, told: bool = True) -> int:
    """One more revision, as a writer makes it."""
    with psycopg.connect(url) as connection:
        row = connection.execute("UPDATE directory SET revision = revision + 1 RETURNING revision").fetchone()
        assert row is not None
        if told:
            connection.execute("SELECT pg_notify('syncd_revision', %s)", (str(row[0]),))
        return int(row[0])


def questions(url: str) -> int:
    """How often the question was put, as the database counts it."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'directory'").fetchone()
        assert row is not None
        return int(row[0])


def test_whoever_asks_after_a_commit_is_told_of_it(database_url: str) -> None:
    """Of many who ask while others write nobody gets a revision older than one committed before they asked."""

    async def reader(revisions: RevisionTracker, committed: list[int]) -> None:
        for _ in range(50):
            before = committed[-1]
            assert (await revisions.current()).revision >= before

    async def writer(committed: list[int]) -> None:
        for _ in range(40):
            committed[:] = [await asyncio.to_thread(commit, database_url, told=False)]

    async def play() -> None:
        revisions, committed = RevisionTracker(Database(url=database_url)), [0]
        await asyncio.gather(writer(committed), *(reader(revisions, committed) for _ in range(20)))
        await revisions.close()

    asyncio.run(play())


def test_those_who_ask_at_the_same_moment_share_one_question(database_url: str) -> None:
    """A thousand questions at once cost the database at most a few."""

    async def play() -> None:
        revisions = RevisionTracker(Database(url=database_url))
        await asyncio.gather(*(revisions.current() for _ in range(1000)))
        await revisions.close()

    asyncio.run(play())
    assert questions(database_url) <= 3


def test_a_commit_is_heard_of_at_once(database_url: str) -> None:
    """Whoever waits for a later revision is woken by NOTIFY, and `changed` is called."""
    heard: list[int] = []

    async def play() -> None:
        revisions = RevisionTracker(Database(url=database_url), heard.append)
        listening = asyncio.create_task(revisions.listen())
        waiting = asyncio.create_task(revisions.wait_newer_than(0, 60))
        await asyncio.sleep(1)  # the listener is there by now, or asks every second
        new = await asyncio.to_thread(commit, database_url)
        assert await waiting == new
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await revisions.close()

    asyncio.run(play())
    assert heard[-1] == 1


def test_the_end_of_the_waiting_time_is_no_news(database_url: str) -> None:
    """When nothing happens, the answer is the revision that was known before."""

    async def play() -> int:
        return await RevisionTracker(Database(url=database_url)).wait_newer_than(5, 0.05)

    assert asyncio.run(play()) == 0


def test_a_listener_that_loses_its_connection_misses_nothing(database_url: str) -> None:
    """Its backend is ended while commits go on: who waits is told all the same."""

    async def play() -> None:
        revisions = RevisionTracker(Database(url=database_url))
        listening = asyncio.create_task(revisions.listen())
        for _ in range(3):
            before = (await revisions.current()).revision
            await asyncio.to_thread(_end_backends, database_url)
            new = await asyncio.to_thread(commit, database_url, told=False)
            assert await revisions.wait_newer_than(before, 60) == new
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await revisions.close()

    asyncio.run(play())


def _end_backends(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_database_that_is_not_there_is_said_to_be_so(postgres: Postgres) -> None:
    """And everybody who waits is told, each by an error of our own."""

    async def play() -> list[object]:
        revisions = RevisionTracker(Database(url=postgres.url("nowhere_to_be_found")))
        return list(await asyncio.gather(*(revisions.current() for _ in range(5)), return_exceptions=True))

    found = asyncio.run(play())
    assert [type(one) for one in found] == [StoreUnavailable] * 5
    with pytest.raises(StoreUnavailable):
        raise next(one for one in found if isinstance(one, BaseException))
