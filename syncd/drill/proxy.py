"""TCP proxies that break or change the responses of a real server: after bytes, after searches, or message by message.

They run in threads, listen on a free loopback port (`url`) and are context managers.
"""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias

from syncd.demo.servers import free_port, reserve_port
from syncd.drill.messages import ENTRY, SEARCH_DONE, message_end, operation

BreakMode: TypeAlias = Literal["cut", "reset", "stall", "drip"]
"""`cut` closes with FIN, `reset` with RST, `stall` forwards nothing more, `drip` forwards one byte per interval."""


@cache
def dead_port() -> int:
    """Return a port that refuses connections until this process ends."""
    return free_port()


class Listener:
    """A server on a free loopback port with one thread for each connection; subclasses implement `_serve`."""

    def __init__(self) -> None:
        self.connections = 0
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._reserved = reserve_port()
        self.port: int = self._reserved.getsockname()[1]
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._socket.settimeout(0.05)
        self.url = f"ldap://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        for opened in [self._socket, self._reserved, *self._open]:
            opened.close()

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:  # during an outage
                self._stop.wait(0.05)
                continue
            self.connections += 1
            self._open.append(client)
            self._run(self._serve, client)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Refuse connections while the context lasts; the port stays reserved."""
        self._socket.shutdown(socket.SHUT_RDWR)
        yield
        self._socket.listen()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _receive(self, source: socket.socket) -> Iterator[bytes]:
        """Yield received data until the peer closes; after `stop`, until the data sent before is read."""
        while True:
            try:
                # a timeout of the socket would also apply to a thread that is sending on it
                if not select.select([source], [], [], 0.05)[0]:
                    if self._stop.is_set():
                        return
                    continue
                data = source.recv(65536)
            except (OSError, ValueError):  # ValueError: another thread has closed it
                return
            if not data:
                return
            yield data


class _InterceptingProxy(Listener):
    """Forwards requests to the server on `port` unchanged, and responses as `_intercept` says."""

    def __init__(self, port: int, interval: float) -> None:
        super().__init__()
        self._server_port = port
        self._interval = interval

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        self._open.append(server)
        self._run(self._forward, client, server)
        try:
            for data, mode, rest in self._intercept(self._receive(server)):
                client.sendall(data)
                if mode is not None:
                    self._break(mode, client, rest)
                    return
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _intercept(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, BreakMode | None, Iterator[bytes]]]:
        """Yield data for the client, the mode if the connection breaks after it, and the data that would follow."""
        raise NotImplementedError

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for data in self._receive(client):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _break(self, mode: BreakMode, client: socket.socket, rest: Iterator[bytes]) -> None:
        if mode == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        elif mode == "cut":
            client.shutdown(socket.SHUT_RDWR)
        elif mode == "stall":
            self._stop.wait()
        else:
            self._drip(client, rest)

    def _drip(self, client: socket.socket, rest: Iterator[bytes]) -> None:
        for data in rest:
            for value in data:
                client.sendall(bytes([value]))
                if self._stop.wait(self._interval):
                    return


class Proxy(_InterceptingProxy):
    """Breaks a connection after `max_bytes` of the responses, or after `max_searches` SearchResultDone messages.

    With paging each page ends in a SearchResultDone, and so does the read of the base before the pages. Without a limit
    the connection does not break. A limit of 0 bytes breaks it before the first byte.
    """

    def __init__(
        self,
        port: int,
        mode: BreakMode = "cut",
        *,
        max_bytes: int | None = None,
        max_searches: int | None = None,
        interval: float = 0.05,
    ) -> None:
        super().__init__(port, interval)
        self._mode: BreakMode = mode
        self._max_bytes = max_bytes
        self._max_searches = max_searches

    def _intercept(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, BreakMode | None, Iterator[bytes]]]:
        budget = _Budget(self._max_bytes, self._max_searches)
        for data in received:
            allowed = budget.count_allowed(data)
            broken = allowed < len(data) or budget.spent
            yield data[:allowed], self._mode if broken else None, chain([data[allowed:]], received)


class _Budget:
    """Bytes or searches of one connection that may still pass."""

    def __init__(self, max_bytes: int | None, searches: int | None) -> None:
        self._bytes = max_bytes
        self._searches = searches
        self._incomplete = b""
        self.spent = max_bytes == 0

    def count_allowed(self, data: bytes) -> int:
        """Return how many of these bytes may pass, and take them from the budget."""
        if self._bytes is not None:
            allowed = min(self._bytes, len(data))
            self._bytes -= allowed
            self.spent = self._bytes == 0
            return allowed
        if self._searches is not None:
            return self._count_until_search(data)
        return len(data)

    def _count_until_search(self, data: bytes) -> int:
        buffer = self._incomplete + data
        start = 0
        while (end := message_end(buffer, start)) is not None:
            if operation(buffer[start:end]) == SEARCH_DONE:
                self._searches = (self._searches or 0) - 1
                if self._searches == 0:
                    self.spent = True
                    return end - len(self._incomplete)
            start = end
        self._incomplete = buffer[start:]
        return len(data)


class ServerMessage(NamedTuple):
    """One message of a server and its position in the connection."""

    data: bytes
    page: int
    """0 until the end of the first search, which reads the base; then the number of the page, from 1."""
    entry: int
    """Number of the entry in its page, from 1; 0 for other messages."""

    @property
    def ends_page(self) -> bool:
        """True for the SearchResultDone of a page."""
        return self.page > 0 and operation(self.data) == SEARCH_DONE


class ConnectionBreak(NamedTuple):
    """A break of the connection after a number of bytes of the current message."""

    mode: BreakMode
    after_bytes: int = 0


Tamper: TypeAlias = Callable[[ServerMessage], bytes | ConnectionBreak]
"""Replaces a message for the client, or breaks the connection. It may block: only its connection waits."""


class TamperingProxy(_InterceptingProxy):
    """Forwards each message of the server as `tamper` returns it."""

    def __init__(self, port: int, tamper: Tamper, *, interval: float = 0.05) -> None:
        super().__init__(port, interval)
        self._tamper = tamper

    def _intercept(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, BreakMode | None, Iterator[bytes]]]:
        messages = _parse_messages(received)
        for message in messages:
            forwarded = self._tamper(message)
            if isinstance(forwarded, ConnectionBreak):
                at = forwarded.after_bytes
                rest = chain([message.data[at:]], (later.data for later in messages))
                yield message.data[:at], forwarded.mode, rest
            else:
                yield forwarded, None, iter(())


def _parse_messages(received: Iterator[bytes]) -> Iterator[ServerMessage]:
    """Split the data of a connection into messages and number pages and entries."""
    buffer = b""
    page = entry = 0
    for data in received:
        buffer += data
        start = 0
        while (end := message_end(buffer, start)) is not None:
            message = buffer[start:end]
            start = end
            tag = operation(message)
            entry += tag == ENTRY
            yield ServerMessage(message, page, entry if tag == ENTRY else 0)
            if tag == SEARCH_DONE:
                page, entry = page + 1, 0
        buffer = buffer[start:]
