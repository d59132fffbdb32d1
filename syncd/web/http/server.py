"""uvicorn inside the daemon's event loop: listening sockets, the limit of open files, start and stop."""

import asyncio
import contextlib
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from syncd.errors import SyncdError
from syncd.observability import log
from syncd.settings import Http
from syncd.web.http.protocol import OVERFLOW_CONNECTIONS, DrainState, LimitedProtocol

FIRST_PASSED_DESCRIPTOR = 3
KEEP_ALIVE_TIMEOUT = 5
"""Seconds for which an idle connection is kept open for the next request."""
_OTHER_FILES = 512
"""Open files reserved for everything but connections of clients; a generous estimate."""


class Server:
    """Serves an ASGI application until it is stopped."""

    def __init__(self, application: ASGIApp, settings: Http) -> None:
        self.application = application
        """The application for new requests; it may be replaced."""
        self.address = settings.listen
        """The listening address as in the setting `http.listen`; after `start`, with the real port."""
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            http=LimitedProtocol,
            limit_concurrency=_limit_connections(settings.max_connections),
            timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = _EmbeddedServer(config)
        self._serving: asyncio.Task[None] | None = None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)

    async def start(self) -> None:
        """Listen and accept requests. Raises SyncdError when listening fails."""
        listener, self.address = _open_listener(self.address)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.accepting.wait()

    async def stop(self, seconds: float) -> None:
        """Stop accepting; requests in progress have `seconds` to finish, then they are aborted."""
        if self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, int(seconds))
        self._server.should_exit = True
        await self._serving


class _EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers; the daemon handles signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state: DrainState = DrainState()
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


def _limit_connections(connections: int) -> int:
    """Raise the limit of open files; returns `connections`, or fewer if the hard limit of files is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections + OVERFLOW_CONNECTIONS + _OTHER_FILES
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
    if hard >= files:
        return connections
    possible = max(1, hard - OVERFLOW_CONNECTIONS - _OTHER_FILES)
    log.emit(log.HTTP_LIMITED, setting=connections, connections=possible)
    return possible


def _open_listener(listen: str) -> tuple[socket.socket, str]:
    """Return a bound socket and its address: systemd's (sd_listen_fds(3)), else a new Unix or TCP socket.

    Raises SyncdError.
    """
    if _is_socket_passed():
        # child processes must not use the socket
        for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(variable, None)
        return socket.socket(fileno=FIRST_PASSED_DESCRIPTOR), "systemd"
    try:
        if listen.startswith("unix:"):
            return _listen_unix(Path(listen.removeprefix("unix:"))), listen
        return _listen_tcp(listen)
    except OSError as error:
        raise SyncdError(f"cannot listen on {listen}: {error.strerror or error}; see http.listen") from error


def _is_socket_passed() -> bool:
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1"


def _listen_unix(path: Path) -> socket.socket:
    """Bind a Unix socket; the stale socket of an earlier process is replaced. Raises SyncdError for one in use."""
    listener = socket.socket(socket.AF_UNIX)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise SyncdError(f"another process listens on {path}; stop it or choose another http.listen")
        path.unlink()
    listener.bind(str(path))
    # as for systemd's sockets, permissions of the folder restrict access; each request is authenticated anyway
    path.chmod(0o666)
    return listener


def _listen_tcp(listen: str) -> tuple[socket.socket, str]:
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener, f"{host}:{listener.getsockname()[1]}"
