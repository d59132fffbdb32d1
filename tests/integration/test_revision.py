"""Revision tracker: shared queries, notification by NOTIFY, and correct tracker without a listener."""

import asyncio

import psycopg
import pytest

from syncd.demo.servers import Postgres
from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.contacts.revision import RevisionTracker
from tests.waiting import wait_until


def commit(url: str, *, notify: bool = True) -> int:
    """Increment the revision as a writer does; return it."""
    with psycopg.connect(url) as connection:
        row = connection.execute("UPDATE directory SET revision = revision + 1 RETURNING revision").fetchone()
        assert row is not None
        if notify:
            connection.execute("SELECT pg_notify('syncd_revision', %s)", (str(row[0]),))
        return int(row[0])


def count_queries(url: str) -> int:
    """Return the number of version queries from the statistics of the database."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'directory'").fetchone()
        assert row is not None
        return int(row[0])


def test_revision_includes_earlier_commits(database_url: str) -> None:
    """With concurrent readers and a writer, no reader gets a revision older than one committed before its call."""

    async def reader(tracker: RevisionTracker, committed: list[int]) -> None:
        for _ in range(50):
            before = committed[-1]
            assert (await tracker.current()).revision >= before

    async def writer(committed: list[int]) -> None:
        for _ in range(40):
            committed[:] = [await asyncio.to_thread(commit, database_url, notify=False)]

    async def run() -> None:
        tracker, committed = RevisionTracker(Database(url=database_url)), [0]
        await asyncio.gather(writer(committed), *(reader(tracker, committed) for _ in range(20)))
        await tracker.close()

    asyncio.run(run())


def test_simultaneous_calls_share_one_query(database_url: str) -> None:
    """1000 simultaneous calls take at most 3 queries."""

    async def run() -> None:
        tracker = RevisionTracker(Database(url=database_url))
        await asyncio.gather(*(tracker.current() for _ in range(1000)))
        await tracker.close()

    asyncio.run(run())
    assert count_queries(database_url) <= 3


def test_commit_is_notified(database_url: str) -> None:
    """NOTIFY wakes a call that waits for a newer revision, and `on_change` is called."""
    notified: list[int] = []

    async def run() -> None:
        tracker = RevisionTracker(Database(url=database_url), notified.append)
        listening = asyncio.create_task(tracker.listen())
        waiting = asyncio.create_task(tracker.wait_newer_than(0, 60))
        await asyncio.sleep(1)  # the listener is connected by now, or queries every second
        new = await asyncio.to_thread(commit, database_url)
        assert await waiting == new
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await tracker.close()

    asyncio.run(run())
    assert notified[-1] == 1


@pytest.mark.parametrize("payload", ["x", "", "999999999", "-1", "0x10", "9" * 200, "ü"])
def test_the_payload_of_a_notification_is_not_trusted(database_url: str, payload: str) -> None:
    """Whatever another login notifies, the listener goes on, and only committed revisions are returned."""
    notified: list[int] = []

    async def run() -> None:
        tracker = RevisionTracker(Database(url=database_url), notified.append)
        listening = asyncio.create_task(tracker.listen())
        before = (await tracker.current()).revision
        await asyncio.to_thread(send_notification, database_url, payload)
        new = await asyncio.to_thread(commit, database_url)
        assert await tracker.wait_newer_than(before, 60) == new
        assert not listening.done()
        await asyncio.to_thread(send_notification, database_url, payload)
        newest = await asyncio.to_thread(commit, database_url)
        assert await tracker.wait_newer_than(new, 60) == newest
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await tracker.close()

    asyncio.run(run())
    assert notified == [1, 2]


def send_notification(url: str, payload: str) -> None:
    """Notify on the channel of revisions once the listener is connected."""
    with psycopg.connect(url, autocommit=True) as connection:
        sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        wait_until(lambda: connection.execute(sessions).rowcount >= 2)  # the tracker's own and the listening one
        connection.execute("SELECT pg_notify('syncd_revision', %s)", [payload])


def test_wait_times_out(database_url: str) -> None:
    """Without a commit, `wait_newer_than` returns the revision known before."""

    async def run() -> int:
        return await RevisionTracker(Database(url=database_url)).wait_newer_than(5, 0.05)

    assert asyncio.run(run()) == 0


def test_lost_listener_misses_no_commit(database_url: str) -> None:
    """When the backend of the listener is terminated, `wait_newer_than` still returns each later commit."""

    async def run() -> None:
        tracker = RevisionTracker(Database(url=database_url))
        listening = asyncio.create_task(tracker.listen())
        for _ in range(3):
            before = (await tracker.current()).revision
            await asyncio.to_thread(terminate_backends, database_url)
            new = await asyncio.to_thread(commit, database_url, notify=False)
            assert await tracker.wait_newer_than(before, 60) == new
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await tracker.close()

    asyncio.run(run())


def terminate_backends(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_missing_database_fails_all_calls(postgres: Postgres) -> None:
    """All simultaneous calls raise StoreUnavailable."""

    async def run() -> list[object]:
        tracker = RevisionTracker(Database(url=postgres.url("nowhere_to_be_found")))
        return list(await asyncio.gather(*(tracker.current() for _ in range(5)), return_exceptions=True))

    results = asyncio.run(run())
    assert [type(result) for result in results] == [StoreUnavailable] * 5
    with pytest.raises(StoreUnavailable):
        raise next(result for result in results if isinstance(result, BaseException))
