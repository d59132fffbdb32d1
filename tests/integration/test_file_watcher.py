"""Watching real files: every way in which a file changes is told, shortly after it is over."""

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
from syncd.system.file_watcher import changes


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator["asyncio.Queue[Path]"]:
    """The notices of these paths, as they come."""
    told: asyncio.Queue[Path] = asyncio.Queue()

    async def listen() -> None:
        async for path in changes(paths):
            told.put_nowait(path)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.3)  # the watch stands as soon as the task has run for the first time
    yield told
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def notice(told: "asyncio.Queue[Path]", seconds: float = 60) -> Path:
    return await asyncio.wait_for(told.get(), seconds)


async def quiet(told: "asyncio.Queue[Path]", seconds: float = 0.8) -> None:
    """Nothing more is told."""
    await asyncio.sleep(seconds)
    assert told.empty()


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its regular look it knows of a change by a notice, or not within this test."""
    monkeypatch.setattr(file_watcher, "_LOOK", 600_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "queues.toml"
    found.write_text("queue = []")
    return found


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, text: str) -> None:
    """As vim, sed -i and most editors save."""
    new = path.with_name(".new")
    new.write_text(text)
    new.rename(path)


@pytest.mark.usefixtures("blind")
def test_a_write_in_place_is_told_once(path: Path) -> None:
    """Within a second, because a person waits for it."""

    async def main() -> None:
        async with watching(path) as told:
            begun = time.monotonic()
            write(path, "queue = [1]")

            assert await notice(told) == path
            assert time.monotonic() - begun < 15  # of a busy machine, which is slower than a second
            await quiet(told)

    asyncio.run(main())


def test_a_replaced_file_is_told_every_time(path: Path) -> None:
    """The second replacement as well: the watch does not stay with the first file."""

    async def main() -> None:
        async with watching(path) as told:
            for text in ("one", "two", "three"):
                replace(path, text)
                assert await notice(told) == path
            await quiet(told)

    asyncio.run(main())


def test_a_burst_of_writes_is_told_once_or_twice(path: Path) -> None:
    """A file that is being written is read when it is done."""

    async def burst(told: "asyncio.Queue[Path]") -> int:
        """How often it is told of twenty writes."""
        for number in range(20):
            with path.open("a") as sink:
                sink.write(f"# {number}\n")
            await asyncio.sleep(0.01)
        await notice(told)
        await asyncio.sleep(1.5)
        return 1 + told.qsize()

    async def main() -> None:
        # a busy machine may pause so long between two writes that they are no burst, but not every time
        for _ in range(5):
            async with watching(path) as told:
                if await burst(told) <= 2:
                    return
        pytest.fail("it was told more than twice each time")

    asyncio.run(main())


def test_a_deleted_and_a_created_file_are_told(path: Path) -> None:
    """A missing file makes the source incomplete, which is to be known at once."""

    async def main() -> None:
        async with watching(path) as told:
            remove(path)
            assert await notice(told) == path
            await quiet(told)
            write(path, "queue = []")
            assert await notice(told) == path
            await quiet(told)

    asyncio.run(main())


def test_a_folder_that_is_missing_may_come_later(tmp_path: Path) -> None:
    """Also twice, and with changes after that."""
    path = tmp_path / "conf" / "queues.toml"

    async def main() -> None:
        async with watching(path) as told:
            for _ in range(2):
                path.parent.mkdir()
                path.write_text("queue = []")
                assert await notice(told) == path
                replace(path, "queue = [1]")
                assert await notice(told) == path
                shutil.rmtree(path.parent)
                assert await notice(told) == path

    asyncio.run(main())


def test_a_link_that_is_turned_is_told(tmp_path: Path) -> None:
    """As mounted configuration is updated: the folder behind a link is another one, the file's own link is not."""
    path = tmp_path / "queues.toml"
    for version in ("one", "two", "three"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "queues.toml").write_text("queue = []")
    (tmp_path / "data").symlink_to("one")
    path.symlink_to("data/queues.toml")

    async def main() -> None:
        async with watching(path) as told:
            for version in ("two", "three"):
                (tmp_path / "turned").symlink_to(version)
                (tmp_path / "turned").rename(tmp_path / "data")
                assert await notice(told) == path
                (tmp_path / version / "queues.toml").write_text("queue = [1]")
                assert await notice(told) == path

    asyncio.run(main())


def test_neighbours_are_not_told(path: Path, tmp_path: Path) -> None:
    """Only the file that changed, however busy its folder is."""
    other = tmp_path / "other.toml"
    other.write_text("x")

    async def main() -> None:
        async with watching(path, other) as told:
            for number in range(5):
                (tmp_path / f"stranger{number}").write_text("x")
            os.utime(path.parent)
            await quiet(told)
            other.write_text("y")
            assert await notice(told) == other
            await quiet(told)

    asyncio.run(main())


@pytest.mark.usefixtures("blind")
def test_it_stops_at_once_when_cancelled(path: Path) -> None:
    """The daemon's stop does not wait for a change."""

    async def main() -> None:
        async with watching(path):
            begun = time.monotonic()
        assert time.monotonic() - begun < 15

    asyncio.run(main())


def test_without_notices_the_file_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is out of watches, or a folder that cannot be watched, makes it slower, not blind."""

    def out_of_watches(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(watchfiles, "awatch", out_of_watches)

    async def main() -> None:
        async with watching(path) as told:
            replace(path, "queue = [1]")
            assert await notice(told) == path

    asyncio.run(main())
