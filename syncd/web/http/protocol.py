"""One connection of a client: HTTP/1.1 with limits on what it sends and how long it takes, with refusals in JSON.

Whatever uvicorn would answer in plain text is answered here in the contract's form. A connection costs little and
never for long: what is sent ahead of the answers is not read, a peer that takes nothing is given up, and a read that
its client no longer waits for is cancelled, so that the database is free for others.
"""

import asyncio
import socket
import sys
import uuid
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from syncd.observability import log
from syncd.web import access_log, responses
from syncd.web.access_log import Exchange
from syncd.web.application import ABORT
from syncd.web.http.drain import Draining
from syncd.web.proxy_headers import UNIX

LONGEST_URL = 8 * 1024
LARGEST_HEADERS = 32 * 1024
PATIENCE = 10
"""Seconds in which the head of a request has to arrive, and in which a refused client may read why."""
STALLED = 30
"""Seconds in which a client has to take some of what was sent."""
SPARE = 64
"""Connections above the most that are let in to ask how the service is; any more are closed at once."""
HASTE = 1
"""Seconds that such a one has."""
AT_ONCE = 4 * 1024
"""Bytes that are parsed at a time, which bounds how many requests one can have waiting for their turn."""
VITAL = frozenset({b"/health", b"/ready", b"/metrics"})
"""What is answered however many connections there are."""

_SAFE = frozenset({"GET", "HEAD"})


class Wire(Draining):
    """uvicorn's protocol, bounded. At any time an answer is being made, or a timer runs, so that it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn's own check counts the same, but answers in plain text
        self._most, self.limit_concurrency = self.limit_concurrency or sys.maxsize, None
        self._surplus = False
        self._unparsed = b""
        self._size = 0
        self._refusal = (400, 2, "this is not a valid HTTP request")
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Let a client in, if there is room."""
        super().connection_made(transport)
        self._surplus = len(self.connections) > self._most
        if len(self.connections) > self._most + SPARE:
            transport.abort()
            return
        wire = transport.get_extra_info("socket")
        if wire.family != socket.AF_UNIX:
            # from then on the system itself ends what does not move, however little of it is ours to see
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED * 1000)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what only the client has waited for."""
        self._head_is_there()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._running is None or self._running.response_complete:
            return
        # uvicorn tells only the last one of several requests
        self._running.disconnected = True
        self._running.message_event.set()
        if self._task is not None and self._running.scope["method"] in _SAFE:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, or keep it until it has its turn."""
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and not (self.pipeline or self._refused or self.transport.is_closing()):
            part, self._unparsed = self._unparsed[:AT_ONCE], self._unparsed[AT_ONCE:]
            super().data_received(part)
        if self._refused:
            self._unparsed = b""
        elif self._unparsed:
            self.flow.pause_reading()
        elif not self._answering():
            self._await_head()  # uvicorn waits no longer once a byte is there

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self._abort, "gone": self.transport.is_closing}}
        self._size = 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        super().on_url(url)
        if len(self.url) > LONGEST_URL:
            self._refuse(414, f"the URL is longer than {LONGEST_URL} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        self._size += len(name) + len(value)
        if self._size > LARGEST_HEADERS:
            self._refuse(431, f"the headers are larger than {LARGEST_HEADERS} bytes")

    def on_headers_complete(self) -> None:
        """The head is there; the application gets the request, or it waits for its turn."""
        self._head_is_there()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The next request has its turn; as long as there is one, no more are read."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._unparsed:
            self._parse()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._surplus and cycle.scope["raw_path"] not in VITAL:
            app = _full
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer what the parser, or a limit here, has refused; then let the client read it before the end."""
        self._head_is_there()
        self._refused = True
        if self._running is not None and not self._running.response_complete:
            if self._running.response_started or self._running is not self.cycle:
                self._abort()
                return
            # the broken bytes belong to a request that the application has already: its answer is not wanted any more
            self._running.disconnected = True
            self._running.message_event.set()
        status, code, message = self._refusal
        answer = responses.refused(status, code, message, {"Connection": "close"})
        request_id = uuid.uuid4().hex
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"x-request-id", request_id.encode())]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        log.request.set(request_id)  # in the context of this connection, which ends with it
        access_log.record(method="-", path="-", status=status, seconds=0.0, size=len(answer.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # closing at once, with bytes of the client unread, would reset the connection and lose the answer
        self._timer = self.loop.call_later(PATIENCE, self.transport.abort)

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, 2, message)
        raise ValueError(message)  # the parser stops, and uvicorn calls send_400_response

    def _abort(self) -> None:
        """Break the connection; the answer that is being sent is known to be lost at once."""
        self.transport.abort()
        if self._running is not None:
            self._running.disconnected = True

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HASTE if self._surplus else PATIENCE, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._answering():  # what is sent ahead is not read meanwhile, so it is not the client who is late
            self._await_head()
        else:
            self.transport.close()

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a connection too many."""
    followed = Exchange(scope, send, scope["client"][0] if scope["client"] else UNIX)
    message = "too many connections are open; try again in a few seconds"
    await responses.refused(503, 4, message, {"Connection": "close"})(scope, receive, followed.send)
    followed.record()
