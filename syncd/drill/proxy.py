"""Proxies that break a real server's answers on purpose: after so many bytes or pages, or message by message.

They run in threads, listen on a free loopback port and are context managers; `url` is what a client gets.
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

from syncd.demo.servers import free_port, reserve
from syncd.drill.messages import ENTRY, SEARCH_DONE, message_end, operation

How: TypeAlias = Literal["cut", "reset", "stall", "drip"]
"""`cut` closes, `reset` closes with RST, `stall` passes nothing on any more, `drip` passes one byte each interval."""


@cache
def dead_port() -> int:
    """A port on which connections are refused, now and later."""
    return free_port()


class Listener:
    """A loopback port whose connections are served by one thread each."""

    def __init__(self) -> None:
        self.connections = 0
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._reserved = reserve()
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
            except OSError:  # there is an outage
                self._stop.wait(0.05)
                continue
            self.connections += 1
            self._open.append(client)
            self._run(self._serve, client)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Connections are refused meanwhile, and the port stays ours: nobody else can take it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        yield
        self._socket.listen()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _receive(self, source: socket.socket) -> Iterator[bytes]:
        """What arrives, until the other side closes, or until this server stops and has read what was sent before."""
        while True:
            try:
                # no timeout of the socket: that would cut short what another thread is sending on it
                if not select.select([source], [], [], 0.05)[0]:
                    if self._stop.is_set():
                        return
                    continue
                data = source.recv(65536)
            except (OSError, ValueError):  # the latter when another thread has closed it
                return
            if not data:
                return
            yield data


class _Between(Listener):
    """Between clients and the server on `port`: requests pass, what becomes of the answers is told by `_passed`."""

    def __init__(self, port: int, interval: float) -> None:
        super().__init__()
        self._target = port
        self._interval = interval

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._open.append(server)
        self._run(self._forward, client, server)
        try:
            for data, how, rest in self._passed(self._receive(server)):
                client.sendall(data)
                if how is not None:
                    self._break(how, client, rest)
                    return
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _passed(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, How | None, Iterator[bytes]]]:
        """What the client gets, how the connection breaks then if it does, and what would have come after that."""
        raise NotImplementedError

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for data in self._receive(client):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _break(self, how: How, client: socket.socket, rest: Iterator[bytes]) -> None:
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        elif how == "cut":
            client.shutdown(socket.SHUT_RDWR)
        elif how == "stall":
            self._stop.wait()
        else:
            self._drip(client, rest)

    def _drip(self, client: socket.socket, rest: Iterator[bytes]) -> None:
        for data in rest:
            for value in data:
                client.sendall(bytes([value]))
                if self._stop.wait(self._interval):
                    return


class Proxy(_Between):
    """Passes all on until `bytes_` of the answers, or `searches` results, are through, and breaks then.

    A result is a SearchResultDone; with paging each page ends in one, and the read of the base before them is one too.
    Neither limit: nothing happens. A limit of 0 bytes acts at once.
    """

    def __init__(
        self,
        port: int,
        then: How = "cut",
        *,
        bytes_: int | None = None,
        searches: int | None = None,
        interval: float = 0.05,
    ) -> None:
        super().__init__(port, interval)
        self._then: How = then
        self._bytes = bytes_
        self._searches = searches

    def _passed(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, How | None, Iterator[bytes]]]:
        budget = _Budget(self._bytes, self._searches)
        for data in received:
            allowed = budget.spend(data)
            broken = allowed < len(data) or budget.spent
            yield data[:allowed], self._then if broken else None, chain([data[allowed:]], received)


class _Budget:
    """How much of the answers may still pass."""

    def __init__(self, bytes_: int | None, searches: int | None) -> None:
        self._bytes = bytes_
        self._searches = searches
        self._behind = b""
        self.spent = bytes_ == 0

    def spend(self, data: bytes) -> int:
        """How many of these bytes pass."""
        if self._bytes is not None:
            allowed = min(self._bytes, len(data))
            self._bytes -= allowed
            self.spent = self._bytes == 0
            return allowed
        if self._searches is not None:
            return self._count(data)
        return len(data)

    def _count(self, data: bytes) -> int:
        buffer = self._behind + data
        at = 0
        while (end := message_end(buffer, at)) is not None:
            if operation(buffer[at:end]) == SEARCH_DONE:
                self._searches = (self._searches or 0) - 1
                if self._searches == 0:
                    self.spent = True
                    return end - len(self._behind)
            at = end
        self._behind = buffer[at:]
        return len(data)


class Answer(NamedTuple):
    """One message of a server, and where in its connection it comes."""

    message: bytes
    page: int
    """0 up to the end of the first search, which is the one for the base; then the pages, from 1."""
    entry: int
    """Which entry of its page it is, from 1; 0 when it is none."""

    @property
    def ends_page(self) -> bool:
        """True for the SearchResultDone of a page."""
        return self.page > 0 and operation(self.message) == SEARCH_DONE


class Break(NamedTuple):
    """The end of a connection's health, after so many bytes of the answer."""

    how: How
    after: int = 0


Meddle: TypeAlias = Callable[[Answer], bytes | Break]
"""What a client gets in place of an answer. It may take its time: the connection waits for it."""


class Meddler(_Between):
    """Passes on, message by message, what `meddle` makes of the answers."""

    def __init__(self, port: int, meddle: Meddle, *, interval: float = 0.05) -> None:
        super().__init__(port, interval)
        self._meddle = meddle

    def _passed(self, received: Iterator[bytes]) -> Iterator[tuple[bytes, How | None, Iterator[bytes]]]:
        answers = _answers(received)
        for answer in answers:
            made = self._meddle(answer)
            if isinstance(made, Break):
                following = (later.message for later in answers)
                yield answer.message[: made.after], made.how, chain([answer.message[made.after :]], following)
            else:
                yield made, None, iter(())


def _answers(received: Iterator[bytes]) -> Iterator[Answer]:
    """The messages of a connection, counted."""
    buffer = b""
    page = entry = 0
    for data in received:
        buffer += data
        at = 0
        while (end := message_end(buffer, at)) is not None:
            message = buffer[at:end]
            at = end
            tag = operation(message)
            entry += tag == ENTRY
            yield Answer(message, page, entry if tag == ENTRY else 0)
            if tag == SEARCH_DONE:
                page, entry = page + 1, 0
        buffer = buffer[at:]
