"""Streamed responses: bodies of unknown length, sent while they are read.

A body is sent completely or the connection is aborted, so no client takes a truncated body for a complete one.
"""

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

CHUNK_TIMEOUT = 15
"""Seconds in which the client must accept one part; a stalled client would hold its database connection for ever."""
MIN_BYTES_PER_SECOND = 32 * 1024
"""Minimum average rate at which a client must accept the body, after the first CHUNK_TIMEOUT seconds."""


class StreamLimiter:
    """Limits concurrent streamed responses to half of the database connections, at least one.

    Each holds a connection; the other half is left for other requests.
    """

    def __init__(self, connections: int) -> None:
        self._free = (connections + 1) // 2

    def acquire(self, stream: "StreamedResponse") -> None:
        """Occupy a slot until the stream is closed. Raises StoreBusy when none is free."""
        if not self._free:
            raise StoreBusy("too many long responses are being sent; try again in a few seconds, or with a limit")
        self._free -= 1
        stream.stack.callback(self._release)

    def _release(self) -> None:
        self._free += 1


class SlowClient(Exception):
    """The client accepts the body too slowly or not at all."""


class StreamedResponse(Response):
    """A response of unknown length: the parts of `head`, then those of `rest`.

    `stack` holds the resources of `rest`; it is closed when the response has been sent or has failed.
    """

    def __init__(
        self, head: Sequence[bytes], rest: AsyncIterator[bytes], stack: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._head = head
        self._rest = rest
        self.stack = stack
        self._encoder: conditional.GzipEncoder | None = None
        self._sent_bytes = 0
        self._send_seconds = 0.0

    def prepare(self, request: Headers, extra_headers: RawHeaders, tag: str | None) -> None:
        """Adapt to a request with these headers: add `extra_headers`, the ETag `tag`, and gzip if it is accepted."""
        gzipped = conditional.accepts_gzip(request)
        self._encoder = conditional.GzipEncoder() if gzipped else None
        self.raw_headers = [*self.raw_headers, *extra_headers, *conditional.stream_headers(tag, gzipped=gzipped)]

    async def close(self) -> None:
        """Release the resources of a response that will not be sent."""
        await self.stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, of HEAD only the headers.

        Raises SlowClient and the errors of reading; the caller must abort the connection then.
        """
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            async with self.stack:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                if scope["method"] == "HEAD":
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                for part in self._head:
                    await self._send(send, part)
                async for part in self._rest:
                    if disconnected.done():
                        return
                    await self._send(send, part)
            end = b"" if self._encoder is None else self._encoder.finish()
            await send({"type": "http.response.body", "body": end, "more_body": False})
        finally:
            disconnected.cancel()

    async def _send(self, send: Send, part: bytes) -> None:
        if self._encoder is not None:
            part = self._encoder.encode(part)
        if not part:
            return
        budget = CHUNK_TIMEOUT + self._sent_bytes / MIN_BYTES_PER_SECOND - self._send_seconds
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(CHUNK_TIMEOUT, budget)):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError as error:
            raise SlowClient(f"the client was too slow; it accepted {self._sent_bytes} bytes") from error
        self._sent_bytes += len(part)
        self._send_seconds += time.monotonic() - started


async def _wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
