"""Watching real files: every kind of change is reported, shortly after its end."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import watchfiles

from syncd.system import file_watcher
from syncd.system.file_watcher import watch


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator["asyncio.Queue[Path]"]:
    """Watch paths and yield the queue of reported paths."""
    changes: asyncio.Queue[Path] = asyncio.Queue()

    async def listen() -> None:
        async for path in watch(paths):
            changes.put_nowait(path)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.3)  # the watch is active as soon as the task has run for the first time
    yield changes
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def next_change(changes: "asyncio.Queue[Path]", seconds: float = 60) -> Path:
    return await asyncio.wait_for(changes.get(), seconds)


async def assert_no_change(changes: "asyncio.Queue[Path]", seconds: float = 0.8) -> None:
    """Assert that no further change is reported."""
    await asyncio.sleep(seconds)
    assert changes.empty()


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the regular comparison, a change is found by an event or not within the test."""
    monkeypatch.setattr(file_watcher, "_POLL_INTERVAL", 600_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "queues.toml"
    file.write_text("queue = []")
    return file


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, text: str) -> None:
    """Save as vim, sed -i and most editors do."""
    new = path.with_name(".new")
    new.write_text(text)
    new.rename(path)


@pytest.mark.usefixtures("no_polling")
def test_a_write_in_place_is_reported_once(path: Path) -> None:
    """Normally within a second."""

    async def main() -> None:
        async with watching(path) as changes:
            start = time.monotonic()
            write(path, "queue = [1]")

            assert await next_change(changes) == path
            assert time.monotonic() - start < 15  # on a busy machine
            await assert_no_change(changes)

    asyncio.run(main())


def test_a_replaced_file_is_reported_every_time(path: Path) -> None:
    """The second replacement, too: the watch does not stay with the first file."""

    async def main() -> None:
        async with watching(path) as changes:
            for text in ("one", "two", "three"):
                replace(path, text)
                assert await next_change(changes) == path
            await assert_no_change(changes)

    asyncio.run(main())


def test_a_burst_of_writes_is_reported_once_or_twice(path: Path) -> None:
    """A file that is being written is reported after its last write."""

    async def burst(changes: "asyncio.Queue[Path]") -> int:
        """Write twenty times and return the number of reports."""
        for number in range(20):
            with path.open("a") as sink:
                sink.write(f"# {number}\n")
            await asyncio.sleep(0.01)
        await next_change(changes)
        await asyncio.sleep(1.5)
        return 1 + changes.qsize()

    async def main() -> None:
        # on a busy machine two writes can be too far apart for a burst, but not in every attempt
        for _ in range(5):
            async with watching(path) as changes:
                if await burst(changes) <= 2:
                    return
        pytest.fail("it was reported more than twice each time")

    asyncio.run(main())


def test_a_deleted_and_a_created_file_are_reported(path: Path) -> None:
    """A missing file makes the source incomplete, so it is reported at once."""

    async def main() -> None:
        async with watching(path) as changes:
            remove(path)
            assert await next_change(changes) == path
            await assert_no_change(changes)
            write(path, "queue = []")
            assert await next_change(changes) == path
            await assert_no_change(changes)

    asyncio.run(main())


def test_a_folder_may_be_created_later(tmp_path: Path) -> None:
    """It may vanish and reappear; changes in it are reported each time."""
    path = tmp_path / "conf" / "queues.toml"

    async def main() -> None:
        async with watching(path) as changes:
            for _ in range(2):
                path.parent.mkdir()
                path.write_text("queue = []")
                assert await next_change(changes) == path
                replace(path, "queue = [1]")
                assert await next_change(changes) == path
                shutil.rmtree(path.parent)
                assert await next_change(changes) == path

    asyncio.run(main())


def test_a_link_with_a_new_target_is_reported(tmp_path: Path) -> None:
    """As mounted configuration is updated: the target of a folder link changes, the link of the file does not."""
    path = tmp_path / "queues.toml"
    for version in ("one", "two", "three"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "queues.toml").write_text("queue = []")
    (tmp_path / "data").symlink_to("one")
    path.symlink_to("data/queues.toml")

    async def main() -> None:
        async with watching(path) as changes:
            for version in ("two", "three"):
                (tmp_path / "new").symlink_to(version)
                (tmp_path / "new").rename(tmp_path / "data")
                assert await next_change(changes) == path
                (tmp_path / version / "queues.toml").write_text("queue = [1]")
                assert await next_change(changes) == path

    asyncio.run(main())


def test_neighbours_are_not_reported(path: Path, tmp_path: Path) -> None:
    """Only the changed file is reported, however many others change in its folder."""
    other = tmp_path / "other.toml"
    other.write_text("x")

    async def main() -> None:
        async with watching(path, other) as changes:
            for number in range(5):
                (tmp_path / f"stranger{number}").write_text("x")
            os.utime(path.parent)
            await assert_no_change(changes)
            other.write_text("y")
            assert await next_change(changes) == other
            await assert_no_change(changes)

    asyncio.run(main())


@pytest.mark.usefixtures("no_polling")
def test_it_stops_at_once_when_cancelled(path: Path) -> None:
    """The stop of the daemon does not wait for a change."""

    async def main() -> None:
        async with watching(path):
            start = time.monotonic()
        assert time.monotonic() - start < 15

    asyncio.run(main())


def test_without_events_the_file_is_compared_regularly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system is out of watches or a folder cannot be watched, changes are reported later."""

    def out_of_watches(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(watchfiles, "awatch", out_of_watches)

    async def main() -> None:
        async with watching(path) as changes:
            replace(path, "queue = [1]")
            assert await next_change(changes) == path

    asyncio.run(main())
