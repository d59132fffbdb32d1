"""A long answer, sent in parts while it is read. It ends completely or the connection breaks: never a cut body."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd.errors import StoreBusy
from syncd.web.caching import conditional
from syncd.web.caching.conditional import RawHeaders

PATIENCE = 15
"""Seconds that one part may wait for the client: a stalled one must not keep a database connection for ever."""
SLOWEST = 32 * 1024
"""Bytes a second that a client has to take on the whole, after the first PATIENCE seconds."""


class Lanes:
    """How many long answers may be on their way: each keeps a database connection, and some are left for others."""

    def __init__(self, connections: int) -> None:
        self._free = (connections + 1) // 2

    def take(self, stream: "Stream") -> None:
        """Take a lane until the stream is closed. Raises StoreBusy."""
        if not self._free:
            raise StoreBusy("too many long answers are on their way; try again in a few seconds, or ask with a limit")
        self._free -= 1
        stream.stack.callback(self._give_back)

    def _give_back(self) -> None:
        self._free += 1


class Stalled(Exception):
    """The client takes nothing more."""


class Stream(Response):
    """An answer of unknown length. `stack` holds what is needed while it is sent, and is closed with it."""

    def __init__(
        self, head: Sequence[bytes], rest: AsyncIterator[bytes], stack: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._head = head
        self._rest = rest
        self.stack = stack
        self._packer: conditional.Packer | None = None
        self._taken = 0
        self._waited = 0.0

    def prepare(self, request: Headers, more: RawHeaders, tag: str | None) -> None:
        """Make ready for a request with these headers: more headers, a tag if there is one, packed if asked for."""
        packed = conditional.accepts_gzip(request)
        self._packer = conditional.Packer() if packed else None
        self.raw_headers = [*self.raw_headers, *more, *conditional.long_headers(tag, packed=packed)]

    async def close(self) -> None:
        """Give back what is needed for sending, when nothing will be sent."""
        await self.stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it. Raises what reading raises, and Stalled; then the caller has to break the connection."""
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            async with self.stack:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                for part in self._head:
                    await self._send(send, part)
                async for part in self._rest:
                    if gone.done():
                        return
                    await self._send(send, part)
            end = b"" if self._packer is None else self._packer.end()
            await send({"type": "http.response.body", "body": end, "more_body": False})
        finally:
            gone.cancel()

    async def _send(self, send: Send, part: bytes) -> None:
        if self._packer is not None:
            part = self._packer.packed(part)
        if not part:
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(PATIENCE, PATIENCE + self._taken / SLOWEST - self._waited)):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError as error:
            raise Stalled(f"the client took {self._taken} bytes, and then too little for too long") from error
        self._taken += len(part)
        self._waited += time.monotonic() - began


async def _disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
