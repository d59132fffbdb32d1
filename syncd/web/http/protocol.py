"""HTTP/1.1 connections: limits of size and time, JSON error responses, and draining when the server stops.

Error responses that uvicorn would send as plain text have the contract's JSON form here. The cost of a connection is
bounded: pipelined requests are not read before the responses of earlier ones have been sent, a client that reads
nothing is disconnected, and the task of a read whose client has disconnected is cancelled, which frees its database
connection.
"""

import asyncio
import socket
import sys
import uuid
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from syncd.observability import log
from syncd.web import access_log, responses
from syncd.web.access_log import RequestRecord
from syncd.web.proxy_headers import peer_address

MAX_URL_BYTES = 8 * 1024
MAX_HEADER_BYTES = 32 * 1024
HEAD_TIMEOUT = 10
"""Seconds in which the head of a request must arrive, and in which a rejected client may read the response."""
WRITE_TIMEOUT = 30
"""Seconds in which a client must acknowledge some of the data sent to it."""
OVERFLOW_CONNECTIONS = 64
"""Connections above the maximum that are accepted for the paths in ALWAYS_SERVED; any more are aborted at once."""
OVERFLOW_TIMEOUT = 1
"""HEAD_TIMEOUT of these connections."""
PARSE_BYTES = 4 * 1024
"""Bytes that are parsed at a time, which bounds the number of pipelined requests in memory."""
ALWAYS_SERVED = frozenset({b"/health", b"/ready", b"/metrics"})
"""Paths that are served at any number of connections."""
DRAIN_LINGER = 1.0
"""Seconds for which an idle connection stays open after the stop, for a request that was sent before it."""

ABORT = "syncd.abort"
"""The extension of the ASGI scope whose `call` aborts the connection, and whose `gone` returns whether it is closed."""

_SAFE = frozenset({"GET", "HEAD"})


class DrainState(ServerState):
    """State that the connections of a server share."""

    draining = False
    """Whether the server has stopped accepting connections."""


class DrainingProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a graceful end: the last response has `Connection: close` (RFC 9112, 9.6).

    uvicorn itself closes an idle connection at once, and a request that is being sent at that moment is lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start a connection; one that the system accepted before the stop serves one request."""
        super().connection_made(transport)
        if self._is_draining():
            self.shutdown()

    def on_headers_complete(self) -> None:
        """Start a request; while draining, it is the last one."""
        super().on_headers_complete()
        if self._is_draining():
            self._close_after_current()

    def shutdown(self) -> None:
        """Close the connection after the current request, else after the next one or DRAIN_LINGER seconds."""
        if self._is_responding():
            self._close_after_current()
        else:
            self.loop.call_later(DRAIN_LINGER, self._close_if_idle)

    def _is_draining(self) -> bool:
        return isinstance(self.server_state, DrainState) and self.server_state.draining

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_after_current(self) -> None:
        """Make the newest request the last one; pipelined requests before it are answered first."""
        if self._last is not None and not self._last.response_started:
            self._last.keep_alive = True
        self._last = self.cycle if self.cycle.keep_alive else None
        self.cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        if not self._is_responding():
            self.transport.close()


class LimitedProtocol(DrainingProtocol):
    """A draining protocol with limits. At any time a response is in progress or a timer runs, so it always ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn's own check counts the same connections, but responds in plain text
        self._max_connections, self.limit_concurrency = self.limit_concurrency or sys.maxsize, None
        self._is_overflow = False
        self._unparsed = b""
        self._header_bytes = 0
        self._is_head_complete = False
        self._is_upgrade = False
        self._refusal = (400, 2, "this is not a valid HTTP request")
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._current: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start a connection, unless there are too many."""
        super().connection_made(transport)
        self._is_overflow = len(self.connections) > self._max_connections
        if len(self.connections) > self._max_connections + OVERFLOW_CONNECTIONS:
            transport.abort()
            return
        connected = transport.get_extra_info("socket")
        if connected.family != socket.AF_UNIX:
            # the kernel ends a connection whose data is not acknowledged, even if all of it is in the kernel's buffer
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_TIMEOUT * 1000)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the task of a read, because its only consumer is gone."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._current is None or self._current.response_complete:
            return
        # uvicorn notifies only the last of several pipelined requests
        self._current.disconnected = True
        self._current.message_event.set()
        if self._task is not None and self._current.scope["method"] in _SAFE:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or keep them until earlier requests have been answered."""
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and not (self.pipeline or self._is_refused or self.transport.is_closing()):
            part, self._unparsed = self._unparsed[:PARSE_BYTES], self._unparsed[PARSE_BYTES:]
            self._feed(part)
        if self._is_refused:
            self._unparsed = b""
        elif self._unparsed:
            self.flow.pause_reading()
        elif not self._is_responding():
            self._start_head_timer()  # uvicorn's own timer ends at the first byte

    def _feed(self, data: bytes) -> None:
        """Parse bytes. An Upgrade is ignored (RFC 9110, 7.8).

        The parser ends at one, and would take the body and what follows it for another request; therefore it gets the
        head again, without that header.
        """
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed(self._head_without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _head_without_upgrade(self) -> bytes:
        start = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([start, *fields, b"", b""])

    def on_message_begin(self) -> None:
        """Start the head of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self._abort, "gone": self.transport.is_closing}}
        self._header_bytes = 0
        self._is_head_complete = False
        self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        """Take a fragment of the URL; too long a URL is rejected with 414."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(414, f"the URL is longer than {MAX_URL_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; headers that are too large are rejected with 431.

        A trailer field is dropped (RFC 9110, 6.5.1): it could pretend to be a header that a proxy has removed.
        """
        if not self._is_head_complete:
            super().on_header(name, value)
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            self._refuse(501, "the body may have no Transfer-Encoding but chunked")
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, f"the headers are larger than {MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """Pass the request to the application, or queue it behind earlier ones."""
        if self.parser.get_http_version() not in {"1.0", "1.1"}:
            self._refuse(505, "send the request as HTTP/1.1")
        self._is_head_complete = True
        self._is_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._is_upgrade:
            return
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the body of a request."""
        if not self._is_upgrade:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next queued request; reading resumes when the queue is empty."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._unparsed:
            self._parse()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        if self._is_overflow and cycle.scope["raw_path"] not in ALWAYS_SERVED:
            app = _respond_overloaded
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the response has more details
        """Send the response to a malformed or too large request; the client has time to read it before the close."""
        self._stop_head_timer()
        self._is_refused = True
        if self._current is not None and not self._current.response_complete:
            if self._current.response_started or self._current is not self.cycle:
                self._abort()
                return
            # the malformed bytes belong to a request that the application already has: its response is dropped
            self._current.disconnected = True
            self._current.message_event.set()
        status, code, message = self._refusal
        response = responses.error(status, code, message, {"Connection": "close", "Cache-Control": "no-store"})
        request_id = uuid.uuid4().hex
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"x-request-id", request_id.encode())]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(response.body))
        log.request_id.set(request_id)  # in the context of this connection, which ends with the response
        access_log.log_request(method="-", path="-", status=status, seconds=0.0, size=len(response.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # closing at once, with unread bytes of the client, would reset the connection and lose the response
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, 2, message)
        raise ValueError(message)  # the parser stops, and uvicorn calls send_400_response

    def _abort(self) -> None:
        """Abort the connection and mark the response in progress as lost."""
        self.transport.abort()
        if self._current is not None:
            self._current.disconnected = True

    def _start_head_timer(self) -> None:
        if self._timer is None:
            timeout = OVERFLOW_TIMEOUT if self._is_overflow else HEAD_TIMEOUT
            self._timer = self.loop.call_later(timeout, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timer = None
        if self._is_responding():  # the next request is not read meanwhile, so it cannot be late
            self._start_head_timer()
        else:
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _respond_overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with 503 on a connection above the maximum."""
    record = RequestRecord(scope, send, peer_address(scope))
    message = "too many connections are open; try again in a few seconds"
    await responses.error(503, 4, message, {"Connection": "close"})(scope, receive, record.send)
    record.write()
