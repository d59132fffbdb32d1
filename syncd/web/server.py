"""uvicorn as a part of our own loop: where it listens, what it refuses by itself, how it stops.

Whatever uvicorn would answer in plain text is answered here in the contract's form.
"""

import asyncio
import contextlib
import os
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from syncd import log
from syncd.errors import SyncdError
from syncd.settings import Http
from syncd.web import answers, exchange
from syncd.web.drain import Draining, State
from syncd.web.router import ABORT

LONGEST_URL = 8 * 1024
LARGEST_HEADERS = 32 * 1024
PATIENCE = 10
"""Seconds in which the head of a request has to arrive, and in which a refused client may read why."""
FIRST_PASSED_DESCRIPTOR = 3


class Server:
    """Serves an application until it is told to stop."""

    def __init__(self, application: ASGIApp, settings: Http) -> None:
        self.application = application
        """What answers the requests to come; it may be exchanged."""
        self.address = settings.listen
        """Where it listens, as the setting writes it; once started, with the real port."""
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            http=_Wire,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = _Quiet(config)
        self._serving: asyncio.Task[None] | None = None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)

    async def start(self) -> None:
        """Listen and accept requests. Raises SyncdError when it cannot listen."""
        listener, self.address = _listener(self.address)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.accepting.wait()

    async def stop(self, seconds: float) -> None:
        """Accept nothing more, let the requests under way end within the time, break the rest."""
        if self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, int(seconds))
        self._server.should_exit = True
        await self._serving


class _Quiet(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon decides when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: State = State()
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.draining = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Wire(Draining):
    """HTTP/1.1 with limits on URL, headers and the time they take, and with refusals in JSON."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._size = 0
        self._refusal = (400, 2, "this is not a valid HTTP request")
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}
        self._size = 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > LONGEST_URL:
            self._refuse(414, f"the URL is longer than {LONGEST_URL} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._size += len(name) + len(value)
        if self._size > LARGEST_HEADERS:
            self._refuse(431, f"the headers are larger than {LARGEST_HEADERS} bytes")

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer what the parser, or a limit here, has refused; then let the client read it before the end."""
        self._head_is_there()
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            # the broken bytes belong to a request that the application has already: its answer is not wanted any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        status, code, message = self._refusal
        answer = answers.refused(status, code, message, {"Connection": "close"})
        request_id = uuid.uuid4().hex
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"x-request-id", request_id.encode())]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        log.request.set(request_id)  # in the context of this connection, which ends with it
        exchange.record(method="-", path="-", status=status, seconds=0.0, size=len(answer.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # closing at once, with bytes of the client unread, would reset the connection and lose the answer
        self._timer = self.loop.call_later(PATIENCE, self.transport.close)

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, 2, message)
        raise ValueError(message)  # the parser stops, and uvicorn calls send_400_response

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self.transport.close)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _listener(listen: str) -> tuple[socket.socket, str]:
    """A bound socket: systemd's (sd_listen_fds(3)), else a Unix or TCP one, with its address as a setting has it."""
    if _is_passed():
        # a child must not take it for its own
        for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(variable, None)
        return socket.socket(fileno=FIRST_PASSED_DESCRIPTOR), "systemd"
    try:
        if listen.startswith("unix:"):
            return _unix(Path(listen.removeprefix("unix:"))), listen
        return _tcp(listen)
    except OSError as error:
        raise SyncdError(f"cannot listen on {listen}: {error.strerror or error}; see http.listen") from error


def _is_passed() -> bool:
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1"


def _unix(path: Path) -> socket.socket:
    """What an earlier process has left behind is replaced, what another one serves is not."""
    listener = socket.socket(socket.AF_UNIX)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise SyncdError(f"another process listens on {path}; stop it or choose another http.listen")
        path.unlink()
    listener.bind(str(path))
    # the folder decides who reaches it, as for systemd's sockets; each request has to show its token anyway
    path.chmod(0o666)
    return listener


def _tcp(listen: str) -> tuple[socket.socket, str]:
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener, f"{host}:{listener.getsockname()[1]}"
