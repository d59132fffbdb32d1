"""The change feed: changes of contacts after a revision, by polling, long polling or server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.contacts import feed
from syncd.core.contacts.feed import PollRequest, Position
from syncd.core.contacts.models import ROLES
from syncd.errors import RequestError, RetryLater, StoreError
from syncd.observability import metrics
from syncd.web.endpoints.change_batches import BatchCache, BatchKey, EncodedBatch
from syncd.web.ports import ChangeReader, RevisionTracker
from syncd.web.routing import BASE, Endpoint, RequestContext, Route
from syncd.web.streaming import StreamedResponse

EVENT_STREAM = "text/event-stream"
HEARTBEAT_INTERVAL = 15
"""Seconds without changes after which a stream sends a comment and reauthorizes its caller."""
RECONNECT_DELAY = 2
"""Seconds after which a client reconnects when its stream has ended."""
EVENT_CHUNK_BYTES = 16 * 1024
"""Bytes of events that are sent at a time; about the memory that each of thousands of slow readers occupies."""
MAX_BUFFERED_PARTS = 4
"""Parts, one for each batch, up to which a response is buffered; a response with so many or more is streamed."""
_RETRY_DELAY = 1
"""Seconds between attempts to reach an unavailable database."""


class ChangeEndpoints:
    """GET on contacts/changes. Setting `stopping` ends all waits and streams."""

    def __init__(
        self, changes: ChangeReader, revisions: RevisionTracker, max_streams: int, stopping: asyncio.Event
    ) -> None:
        self._batches = BatchCache(changes)
        self._revisions = revisions
        self._max_streams = max_streams
        self._stopping = stopping
        self._stop_waiter: asyncio.Task[bool] | None = None
        self._open = 0

    def routes(self) -> Iterable[Route[RequestContext]]:
        """Return the routes of this endpoint."""
        return [Route(f"{BASE}/contacts/changes", {"GET": Endpoint(self.changes, ROLES, reports_freshness=True)})]

    async def changes(self, context: RequestContext) -> Response:
        """Return the changes as JSON, or as server-sent events to a client that accepts them."""
        return await (self._stream(context) if _wants_events(context.request) else self._poll(context))

    async def _poll(self, context: RequestContext) -> Response:
        """Return the changes in one response, after waiting for the first one if the request has `wait`."""
        poll, revision = feed.parse_poll(context.query), context.revision
        if poll.wait and poll.since == revision:
            with self._stream_slot():
                await self._wait_newer(revision, poll.wait)
            revision = await context.reauthorize()
        first = await self._batches.read_after(BatchKey(feed.end_of_revision(poll.since), revision, context.base))
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(aclosing(self._encode_json(poll, revision, context.base, first)))
            head: list[bytes] = []
            async for part in parts:
                head.append(part)
                if len(head) == MAX_BUFFERED_PARTS:
                    stream = StreamedResponse(head, parts, stack.pop_all(), _headers("application/json", first))
                    stream.prepare(context.request.headers, (), None)
                    return stream
        return Response(b"".join(head), headers=_headers("application/json", first))

    async def _encode_json(
        self, poll: PollRequest, revision: int, base: str, batch: EncodedBatch
    ) -> AsyncGenerator[bytes, None]:
        """Encode the response in parts; `revision` is its last member, known when the last part has been read."""
        text, comma, left, last = '{"statusCode":0,"changes":[', "", poll.limit, poll.since
        while True:
            count = batch.take(left, last)
            lines = batch.lines[:count]
            if lines:
                text, comma, last = text + comma + ",".join(lines), ",", batch.revisions[count - 1]
            next_ = batch.next_revision if count == len(batch.lines) else batch.revisions[count]
            if next_ is None:
                last = batch.revision
            left = None if left is None else left - count
            if next_ is None or (left is not None and left <= 0 and next_ != last):
                break
            yield text.encode()
            text = ""
            batch = await self._batches.read_after(BatchKey(batch.end, revision, base))
        yield f'{text}],"revision":{last},"more":{"false" if next_ is None else "true"}}}'.encode()

    async def _stream(self, context: RequestContext) -> Response:
        """Return a stream of events that ends when the client disconnects, the daemon stops or authorization ends."""
        since = feed.parse_start(context.query, context.request.headers.get(feed.LAST_EVENT_ID))
        async with AsyncExitStack() as stack:
            stack.enter_context(self._stream_slot())
            first = await self._batches.read_after(
                BatchKey(feed.end_of_revision(since), context.revision, context.base)
            )
            events = await stack.enter_async_context(aclosing(self._events(context, first)))
            opening = f"retry: {RECONNECT_DELAY * 1000}\nid: {since}\n\n".encode()
            return StreamedResponse([opening], events, stack.pop_all(), _headers(EVENT_STREAM, first))

    async def _events(self, context: RequestContext, first: EncodedBatch) -> AsyncGenerator[bytes, None]:
        batch: EncodedBatch | None = first
        position = first.end
        while not self._stopping.is_set():
            if batch is None:
                yield b":\n\n"
            else:
                for start in range(0, len(batch.events), EVENT_CHUNK_BYTES):
                    yield batch.events[start : start + EVENT_CHUNK_BYTES]
                position = batch.end
            try:
                batch = await self._next_batch(context, position)
            except StoreError:  # wait here: browsers do not reconnect after a 503 (WHATWG HTML, 9.2.3)
                batch = None
                await self._pause()
            except RequestError:  # the client gets the error when it reconnects
                return

    async def _next_batch(self, context: RequestContext, position: Position) -> EncodedBatch | None:
        """Wait for the batch after a position; None after HEARTBEAT_INTERVAL seconds without changes.

        Raises NotAuthenticated, Forbidden, Gone or StoreError.
        """
        newest = position.revision
        if position == feed.end_of_revision(newest):
            newest = await self._wait_newer(newest, HEARTBEAT_INTERVAL)
        revision = await context.reauthorize()
        if position != feed.end_of_revision(revision):
            return await self._batches.read_after(BatchKey(position, revision, context.base))
        if newest > revision:  # after a failover, the database can lack its latest changes
            await self._pause()
        return None

    async def _wait_newer(self, revision: int, seconds: float) -> int:
        """Wait for a newer revision or the stop of the daemon; returns the newest known revision."""
        newer = asyncio.ensure_future(self._revisions.wait_newer_than(revision, seconds))
        waiters: set[asyncio.Future[Any]] = {newer, self._stop_task()}
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            return newer.result() if newer.done() else revision
        finally:
            newer.cancel()

    async def _pause(self) -> None:
        await asyncio.wait({self._stop_task()}, timeout=_RETRY_DELAY)

    def _stop_task(self) -> "asyncio.Task[bool]":
        """Return the one task, made on first use, that ends when `stopping` is set."""
        if self._stop_waiter is None:
            self._stop_waiter = asyncio.create_task(self._stopping.wait())
        return self._stop_waiter

    @contextmanager
    def _stream_slot(self) -> Iterator[None]:
        """Occupy one of `max_streams` slots. Raises RetryLater when none is free."""
        if self._open >= self._max_streams:
            raise RetryLater(
                f"{self._open} callers wait for changes, which is the maximum; poll without wait, or try again later",
                HEARTBEAT_INTERVAL,
            )
        self._open += 1
        metrics.HTTP_STREAMS.inc()
        try:
            yield
        finally:
            self._open -= 1
            metrics.HTTP_STREAMS.dec()


def _wants_events(request: Request) -> bool:
    items = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(item.partition(";")[0].strip() == EVENT_STREAM for item in items)


def _headers(media: str, first: EncodedBatch) -> Mapping[str, str]:
    return {
        "Content-Type": media,
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # stops nginx from buffering events
        "Directory-Revision": str(first.revision),
    }
