"""A server that stops answers what is under way and what is just arriving, says that it is the last, and ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from syncd.settings import Http
from syncd.web.http.drain import LINGER
from syncd.web.http.server import Server

ASK = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"connection: close"
Scene = Callable[["Site"], Awaitable[None]]


class Site:
    """A server in the test's own loop, so that the test decides what arrives when; `gate` holds answers back."""

    def __init__(self) -> None:
        self.server = Server(self._answer, Http(listen="127.0.0.1:0"))
        self.gate = asyncio.Event()
        self.gate.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gate.wait()
        await PlainTextResponse(scope["path"])(scope, receive, send)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def stopping(self) -> "asyncio.Task[None]":
        """The stop, begun: nothing new is let in."""
        task = asyncio.create_task(self.server.stop(30))
        async with asyncio.timeout(60):
            while True:
                try:
                    (await self.connect())[1].close()
                except ConnectionError:
                    return task
                await asyncio.sleep(0.01)


def play(scene: Scene) -> None:
    async def all_of_it() -> None:
        site = Site()
        await site.server.start()
        try:
            await scene(site)
        finally:
            await site.close()

    asyncio.run(all_of_it())


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The next answer, which ends with its path."""
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.lower() + await reader.readexactly(2)


def test_a_request_that_arrives_after_the_stop_on_a_kept_connection_is_answered() -> None:
    """With `Connection: close`, and that is the end of it."""

    async def scene(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(ASK % 1)
        assert CLOSE not in await answer(reader)
        stop = await site.stopping()
        writer.write(ASK % 2)

        last = await answer(reader)

        assert last.startswith(b"http/1.1 200 ")
        assert last.endswith(b"/2")
        assert CLOSE in last
        assert await reader.read() == b""
        await stop

    play(scene)


def test_a_request_under_way_is_answered() -> None:
    """However long it takes within the time; it is told that it is the last."""

    async def scene(site: Site) -> None:
        reader, writer = await site.connect()
        site.gate.clear()
        writer.write(ASK % 1)
        await asyncio.sleep(0.1)
        stop = await site.stopping()
        await asyncio.sleep(2 * LINGER)
        site.gate.set()

        last = await answer(reader)

        assert last.endswith(b"/1")
        assert CLOSE in last
        assert await reader.read() == b""
        await stop

    play(scene)


def test_requests_sent_one_after_the_other_without_waiting_are_all_answered() -> None:
    """The last of them closes the connection, none before it."""

    async def scene(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(ASK % 0)
        await answer(reader)
        stop = await site.stopping()
        site.gate.clear()
        writer.write(ASK % 1 + ASK % 2 + ASK % 3)
        await asyncio.sleep(0.1)
        site.gate.set()

        answers = [await answer(reader) for _ in range(3)]

        assert [text[-2:] for text in answers] == [b"/1", b"/2", b"/3"]
        assert [CLOSE in text for text in answers] == [False, False, True]
        assert await reader.read() == b""
        await stop

    play(scene)


def test_who_asks_nothing_is_not_waited_for() -> None:
    """A new connection and one between two requests are closed after a moment, and the stop comes to its end."""

    async def scene(site: Site) -> None:
        idle, silent = await site.connect(), await site.connect()
        idle[1].write(ASK % 1)
        await answer(idle[0])
        async with asyncio.timeout(60):
            await (await site.stopping())
            assert await idle[0].read() == b""
            assert await silent[0].read() == b""

    play(scene)
