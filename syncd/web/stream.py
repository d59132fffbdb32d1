"""A long answer, sent in parts while it is read. It ends completely or the connection breaks: never a cut body."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syncd.web import representation
from syncd.web.representation import RawHeaders

PATIENCE = 15
"""Seconds that one part may wait for the client: a stalled one must not keep a database connection for ever."""


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
        self._stack = stack
        self._packer: representation.Packer | None = None

    def prepare(self, request: Headers, more: RawHeaders, tag: str | None) -> None:
        """Make ready for a request with these headers: more headers, a tag if there is one, packed if asked for."""
        packed = representation.accepts_gzip(request)
        self._packer = representation.Packer() if packed else None
        self.raw_headers = [*self.raw_headers, *more, *representation.long_headers(tag, packed=packed)]

    async def close(self) -> None:
        """Give back what is needed for sending, when nothing will be sent."""
        await self._stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it. Raises what reading raises, and Stalled; then the caller has to break the connection."""
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            async with self._stack:
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
        if part:
            await _sent(send, part)


async def _sent(send: Send, part: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except TimeoutError as error:
        raise Stalled(f"the client has taken nothing for {PATIENCE} seconds") from error


async def _disconnected(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
