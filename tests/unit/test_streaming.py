"""Streamed responses: slow clients, and the limit of concurrent streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.types import Message

from syncd.errors import StoreBusy
from syncd.web import streaming
from syncd.web.streaming import SlowClient, StreamedResponse, StreamLimiter


async def parts(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 1000


def accepted_bytes(number: int, pause: float) -> int:
    """Send `number` parts to a client that accepts each after `pause` seconds; returns the bytes it accepted."""
    accepted = 0

    async def send(message: Message) -> None:
        nonlocal accepted
        await asyncio.sleep(pause if message.get("body") else 0)
        accepted += len(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def run() -> None:
        await StreamedResponse([], parts(number), AsyncExitStack(), {})(
            {"type": "http", "method": "GET"}, receive, send
        )

    asyncio.run(run())
    return accepted


def test_a_fast_enough_client_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's time budget grows with the bytes it has accepted."""
    monkeypatch.setattr(streaming, "CHUNK_TIMEOUT", 5)
    monkeypatch.setattr(streaming, "MIN_BYTES_PER_SECOND", 10_000)

    assert accepted_bytes(100, 0.001) == 100_000


def test_a_stalled_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part that is not accepted within CHUNK_TIMEOUT ends the response."""
    monkeypatch.setattr(streaming, "CHUNK_TIMEOUT", 0.05)

    with pytest.raises(SlowClient):
        accepted_bytes(1, 30)


def test_a_slow_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that accepts each part in time, but less than MIN_BYTES_PER_SECOND, is disconnected."""
    monkeypatch.setattr(streaming, "CHUNK_TIMEOUT", 0.5)
    monkeypatch.setattr(streaming, "MIN_BYTES_PER_SECOND", 1_000_000)

    with pytest.raises(SlowClient):
        accepted_bytes(1000, 0.02)


@pytest.mark.parametrize(("connections", "slots"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_stream_limiter(connections: int, slots: int) -> None:
    """Half of the connections, at least one, are for streams; another stream is refused until one has ended."""

    async def fill() -> None:
        limiter = StreamLimiter(connections)
        streams = [StreamedResponse([], parts(1), AsyncExitStack(), {}) for _ in range(slots + 1)]
        for stream in streams[:-1]:
            limiter.acquire(stream)
        with pytest.raises(StoreBusy):
            limiter.acquire(streams[-1])
        await streams[0].close()
        limiter.acquire(streams[-1])
        for stream in streams:
            await stream.close()

    asyncio.run(fill())
