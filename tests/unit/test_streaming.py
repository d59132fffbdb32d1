"""A long answer whose client is slow, and how many there may be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.types import Message

from syncd.errors import StoreBusy
from syncd.web import streaming
from syncd.web.streaming import Lanes, Stalled, Stream


async def parts(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 1000


def sent(number: int, pause: float) -> int:
    """Send so many parts to a client that takes each after a pause; how many bytes it took."""
    taken = 0

    async def send(message: Message) -> None:
        nonlocal taken
        await asyncio.sleep(pause if message.get("body") else 0)
        taken += len(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def answer() -> None:
        await Stream([], parts(number), AsyncExitStack(), {})({"type": "http"}, receive, send)

    asyncio.run(answer())
    return taken


def test_who_takes_enough_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a client may take grows with what it has taken."""
    monkeypatch.setattr(streaming, "PATIENCE", 5)
    monkeypatch.setattr(streaming, "SLOWEST", 10_000)

    assert sent(100, 0.001) == 100_000


def test_who_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part that is not taken in time ends the answer."""
    monkeypatch.setattr(streaming, "PATIENCE", 0.05)

    with pytest.raises(Stalled):
        sent(1, 30)


def test_who_takes_a_little_at_a_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is taken in time, but all of them would take for ever."""
    monkeypatch.setattr(streaming, "PATIENCE", 0.5)
    monkeypatch.setattr(streaming, "SLOWEST", 1_000_000)

    with pytest.raises(Stalled):
        sent(1000, 0.02)


@pytest.mark.parametrize(("connections", "lanes"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_lanes(connections: int, lanes: int) -> None:
    """Half of the connections may be kept by long answers, at least one; the next is told so until one has ended."""

    async def fill() -> None:
        free = Lanes(connections)
        streams = [Stream([], parts(1), AsyncExitStack(), {}) for _ in range(lanes + 1)]
        for one in streams[:-1]:
            free.take(one)
        with pytest.raises(StoreBusy):
            free.take(streams[-1])
        await streams[0].close()
        free.take(streams[-1])
        for one in streams:
            await one.close()

    asyncio.run(fill())
