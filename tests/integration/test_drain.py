"""Draining of connections: a stopping server answers requests in progress and arriving ones, then closes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from syncd.settings import Http
from syncd.web.http.protocol import DRAIN_LINGER
from syncd.web.http.server import Server

REQUEST = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"connection: close"
Scenario = Callable[["DrainServer"], Awaitable[None]]


class DrainServer:
    """A server in the test's event loop, which controls the order of events; a cleared `gate` delays responses."""

    def __init__(self) -> None:
        self.server = Server(self._respond, Http(listen="127.0.0.1:0"))
        self.gate = asyncio.Event()
        self.gate.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
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

    async def begin_stop(self) -> "asyncio.Task[None]":
        """Begin the stop; returns its task when new connections are refused."""
        task = asyncio.create_task(self.server.stop(30))
        async with asyncio.timeout(60):
            while True:
                try:
                    (await self.connect())[1].close()
                except ConnectionError:
                    return task
                await asyncio.sleep(0.01)


def run_scenario(scenario: Scenario) -> None:
    async def run() -> None:
        server = DrainServer()
        await server.server.start()
        try:
            await scenario(server)
        finally:
            await server.close()

    asyncio.run(run())


async def read_response(reader: asyncio.StreamReader) -> bytes:
    """Read the next response, whose body is its path of two characters; the head is in lower case."""
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.lower() + await reader.readexactly(2)


def test_a_request_that_arrives_after_the_stop_on_a_kept_connection_is_answered() -> None:
    """A request on an idle connection after the stop gets a response with `Connection: close`."""

    async def scenario(server: DrainServer) -> None:
        reader, writer = await server.connect()
        writer.write(REQUEST % 1)
        assert CLOSE not in await read_response(reader)
        stop_task = await server.begin_stop()
        writer.write(REQUEST % 2)

        response = await read_response(reader)

        assert response.startswith(b"http/1.1 200 ")
        assert response.endswith(b"/2")
        assert CLOSE in response
        assert await reader.read() == b""
        await stop_task

    run_scenario(scenario)


def test_a_request_under_way_is_answered() -> None:
    """A request in progress has the whole time of the stop; its response has `Connection: close`."""

    async def scenario(server: DrainServer) -> None:
        reader, writer = await server.connect()
        server.gate.clear()
        writer.write(REQUEST % 1)
        await asyncio.sleep(0.1)
        stop_task = await server.begin_stop()
        await asyncio.sleep(2 * DRAIN_LINGER)
        server.gate.set()

        response = await read_response(reader)

        assert response.endswith(b"/1")
        assert CLOSE in response
        assert await reader.read() == b""
        await stop_task

    run_scenario(scenario)


def test_requests_sent_one_after_the_other_without_waiting_are_all_answered() -> None:
    """Pipelined requests are all answered; only the last response has `Connection: close`."""

    async def scenario(server: DrainServer) -> None:
        reader, writer = await server.connect()
        writer.write(REQUEST % 0)
        await read_response(reader)
        stop_task = await server.begin_stop()
        server.gate.clear()
        writer.write(REQUEST % 1 + REQUEST % 2 + REQUEST % 3)
        await asyncio.sleep(0.1)
        server.gate.set()

        all_responses = [await read_response(reader) for _ in range(3)]

        assert [text[-2:] for text in all_responses] == [b"/1", b"/2", b"/3"]
        assert [CLOSE in text for text in all_responses] == [False, False, True]
        assert await reader.read() == b""
        await stop_task

    run_scenario(scenario)


def test_who_asks_nothing_is_not_waited_for() -> None:
    """A connection without a request and an idle one are closed after DRAIN_LINGER, and the stop completes."""

    async def scenario(server: DrainServer) -> None:
        idle, silent = await server.connect(), await server.connect()
        idle[1].write(REQUEST % 1)
        await read_response(idle[0])
        async with asyncio.timeout(60):
            await (await server.begin_stop())
            assert await idle[0].read() == b""
            assert await silent[0].read() == b""

    run_scenario(scenario)
