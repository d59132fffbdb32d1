"""uvicorn as a part of our own loop: where it listens, how many files it may have open, how it stops."""

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
from syncd.web.http.drain import State
from syncd.web.http.protocol import SPARE, Wire

FIRST_PASSED_DESCRIPTOR = 3
IDLE = 5
"""Seconds that a connection is kept open for the next request."""
_OTHERS = 512
"""Open files besides clients' connections, by far."""


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
            http=Wire,
            limit_concurrency=_possible(settings.max_connections),
            timeout_keep_alive=IDLE,
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


def _possible(connections: int) -> int:
    """So many connections, or fewer when the system lets this process open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE + _OTHERS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard >= wanted:
        return connections
    possible = max(1, hard - SPARE - _OTHERS)
    log.emit(log.HTTP_LIMITED, setting=connections, connections=possible)
    return possible


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
