"""The change feed: what became of contacts after a revision, asked for again and again, or sent as it happens."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from syncd.core.contacts import feed
from syncd.core.contacts.feed import Poll, Position
from syncd.core.contacts.models import ROLES
from syncd.errors import NotNow, RequestError, StoreError
from syncd.observability import metrics
from syncd.web.endpoints.change_batches import Changes, Key, Sections, Written
from syncd.web.routing import BASE, Call, Operation, Place
from syncd.web.streaming import Stream

EVENTS = "text/event-stream"
HEARTBEAT = 15
"""Seconds after which a silent stream says that it lives, and its caller is looked at again."""
RECONNECT = 2
"""Seconds after which a client whose stream has ended comes back."""
PART = 16 * 1024
"""Bytes of events that are sent at a time: about what each of thousands of slow readers makes us hold."""
WHOLE = 4
"""Sections from which on an answer is streamed."""
_PAUSE = 1
"""Seconds between two questions to a database that does not answer."""


class Revisions(Protocol):
    """Waiting."""

    async def later_than(self, revision: int, seconds: float) -> int:
        """The newest revision heard of, as soon as it is above this one, or when the seconds are over."""


class Feed:
    """The operation. `ending` is set when the daemon is about to stop: then nobody is kept waiting."""

    def __init__(self, changes: Changes, revisions: Revisions, most: int, ending: asyncio.Event) -> None:
        self._sections = Sections(changes)
        self._revisions = revisions
        self._most = most
        self._ending = ending
        self._watched: asyncio.Task[bool] | None = None
        self._open = 0

    def places(self) -> Iterable[Place]:
        """Where it is found."""
        return [Place(f"{BASE}/contacts/changes", {"GET": Operation(self.changes, ROLES, dated=True)})]

    async def changes(self, call: Call) -> Response:
        """GET: as JSON, or as a stream of events for those who ask for that."""
        return await (self._stream(call) if _wants_events(call.request) else self._poll(call))

    async def _poll(self, call: Call) -> Response:
        """One answer; when there is nothing to tell yet, after waiting for it."""
        poll, revision = feed.poll(call.query), call.revision
        if poll.wait and poll.since == revision:
            with self._seat():
                await self._later(revision, poll.wait)
            revision = await call.renew()
        first = await self._sections.after(Key(feed.at(poll.since), revision, call.base))
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(aclosing(self._json(poll, revision, call.base, first)))
            head: list[bytes] = []
            async for part in parts:
                head.append(part)
                if len(head) == WHOLE:
                    stream = Stream(head, parts, stack.pop_all(), _headers("application/json", first))
                    stream.prepare(call.request.headers, (), None)
                    return stream
        return Response(b"".join(head), headers=_headers("application/json", first))

    async def _json(self, poll: Poll, revision: int, base: str, section: Written) -> AsyncGenerator[bytes, None]:
        """The answer in parts. Where it leads stands at its end: that is known when the last part is read."""
        text, comma, left, reached = '{"statusCode":0,"changes":[', "", poll.limit, poll.since
        while True:
            taken = section.fitting(left, reached)
            lines = section.lines[:taken]
            if lines:
                text, comma, reached = text + comma + ",".join(lines), ",", section.revisions[taken - 1]
            next_ = section.following if taken == len(section.lines) else section.revisions[taken]
            if next_ is None:
                reached = section.revision
            left = None if left is None else left - taken
            if next_ is None or (left is not None and left <= 0 and next_ != reached):
                break
            yield text.encode()
            text = ""
            section = await self._sections.after(Key(section.end, revision, base))
        yield f'{text}],"revision":{reached},"more":{"false" if next_ is None else "true"}}}'.encode()

    async def _stream(self, call: Call) -> Response:
        """Events until the client goes, the daemon stops, or the caller may no longer have them."""
        since = feed.stand(call.query, call.request.headers.get(feed.LAST_EVENT_ID))
        async with AsyncExitStack() as stack:
            stack.enter_context(self._seat())
            first = await self._sections.after(Key(feed.at(since), call.revision, call.base))
            events = await stack.enter_async_context(aclosing(self._events(call, first)))
            opening = f"retry: {RECONNECT * 1000}\nid: {since}\n\n".encode()
            return Stream([opening], events, stack.pop_all(), _headers(EVENTS, first))

    async def _events(self, call: Call, first: Written) -> AsyncGenerator[bytes, None]:
        section: Written | None = first
        position = first.end
        while not self._ending.is_set():
            if section is None:
                yield b":\n\n"
            else:
                for start in range(0, len(section.events), PART):
                    yield section.events[start : start + PART]
                position = section.end
            try:
                section = await self._next(call, position)
            except StoreError:  # a client would take 503 for the end of all streams; so it waits here for the database
                section = None
                await self._pause()
            except RequestError:  # told to the client when it comes back
                return

    async def _next(self, call: Call, position: Position) -> Written | None:
        """What follows; None when nothing does for a while. Raises NotAuthenticated, NotAllowed, Gone or StoreError."""
        heard = position.revision
        if position == feed.at(heard):
            heard = await self._later(heard, HEARTBEAT)
        revision = await call.renew()
        if position != feed.at(revision):
            return await self._sections.after(Key(position, revision, call.base))
        if heard > revision:  # a database that has lost its last changes, when another server took over
            await self._pause()
        return None

    async def _later(self, revision: int, seconds: float) -> int:
        """Wait for a later revision, or for the end; the newest one heard of."""
        later = asyncio.ensure_future(self._revisions.later_than(revision, seconds))
        either: set[asyncio.Future[Any]] = {later, self._end()}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return later.result() if later.done() else revision
        finally:
            later.cancel()

    async def _pause(self) -> None:
        await asyncio.wait({self._end()}, timeout=_PAUSE)

    def _end(self) -> "asyncio.Task[bool]":
        """What all of them watch: one task, made with the first."""
        if self._watched is None:
            self._watched = asyncio.create_task(self._ending.wait())
        return self._watched

    @contextmanager
    def _seat(self) -> Iterator[None]:
        """A place among those who wait. Raises NotNow when all are taken."""
        if self._open >= self._most:
            raise NotNow(
                f"{self._open} callers wait for changes, and no more may; ask without waiting, or later", HEARTBEAT
            )
        self._open += 1
        metrics.HTTP_FEEDS.inc()
        try:
            yield
        finally:
            self._open -= 1
            metrics.HTTP_FEEDS.dec()


def _wants_events(request: Request) -> bool:
    given = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(item.partition(";")[0].strip() == EVENTS for item in given)


def _headers(media: str, first: Written) -> Mapping[str, str]:
    return {
        "Content-Type": media,
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx would keep events until it has enough of them
        "Directory-Revision": str(first.revision),
    }
