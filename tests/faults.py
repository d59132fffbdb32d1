"""Servers that fail on purpose: a proxy that breaks a real server's answers, and an LDAP server that plays a script.

Both run in threads, listen on a free loopback port and are context managers; `url` is what a client gets.
"""

import atexit
import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from types import TracebackType
from typing import Literal, Self

SEARCH_DONE = 0x65


class _Listener:
    """A loopback port whose connections are served by one thread each."""

    def __init__(self) -> None:
        self.connections = 0
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._reserved = _reserved()
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


def _reset(client: socket.socket) -> None:
    """Close with RST instead of FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Proxy(_Listener):
    """Between a client and `port`: passes all on until `bytes_` of the answers, or `searches` results, are through.

    A result is a SearchResultDone; with paging each page ends in one, and the read of the base before them is one too.
    What then happens is `then`: `cut` closes, `reset` closes with RST, `stall` passes nothing on any more, `drip`
    passes one byte each `interval` seconds. Neither limit: nothing happens. A limit of 0 bytes acts at once.
    """

    def __init__(
        self,
        port: int,
        then: Literal["cut", "reset", "stall", "drip"] = "cut",
        *,
        bytes_: int | None = None,
        searches: int | None = None,
        interval: float = 0.05,
    ) -> None:
        super().__init__()
        self._target = port
        self._then = then
        self._bytes = bytes_
        self._searches = searches
        self._interval = interval

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._open.append(server)
        self._run(self._forward, client, server)
        budget = _Budget(self._bytes, self._searches)
        try:
            for data in self._receive(server):
                allowed = budget.spend(data)
                client.sendall(data[:allowed])
                if allowed < len(data) or budget.spent:
                    self._break(client, server, data[allowed:])
                    return
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for data in self._receive(client):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _break(self, client: socket.socket, server: socket.socket, rest: bytes) -> None:
        if self._then == "reset":
            _reset(client)
        elif self._then == "cut":
            client.shutdown(socket.SHUT_RDWR)
        elif self._then == "stall":
            self._stop.wait()
        else:
            self._drip(client, server, rest)

    def _drip(self, client: socket.socket, server: socket.socket, rest: bytes) -> None:
        for data in chain([rest], self._receive(server)):
            for value in data:
                client.sendall(bytes([value]))
                if self._stop.wait(self._interval):
                    return


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


def message_end(buffer: bytes, at: int = 0) -> int | None:
    """Where the LDAP message that begins at `at` ends; None when it is not all there."""
    if len(buffer) < at + 2:
        return None
    length, begin = buffer[at + 1], at + 2
    if length > 0x7F:
        count = length & 0x7F
        if len(buffer) < begin + count:
            return None
        length, begin = int.from_bytes(buffer[begin : begin + count], "big"), begin + count
    return begin + length if begin + length <= len(buffer) else None


def operation(message: bytes) -> int:
    """The tag of a message's protocolOp."""
    at = 2 if message[1] <= 0x7F else 2 + (message[1] & 0x7F)
    return message[at + 2 + message[at + 1]]


def message_id(message: bytes) -> bytes:
    """The element that holds a message's number."""
    at = 2 if message[1] <= 0x7F else 2 + (message[1] & 0x7F)
    return message[at : at + 2 + message[at + 1]]


def reserved_port() -> int:
    """A port of 127.0.0.1 for a server that starts later, or again: no other process is given it before we end.

    It is bound and not listened on. The system gives such a port to nobody who asks for any port, refuses connections
    to it, and lets a server with SO_REUSEADDR have it, which all of ours set.
    """
    reserved = _reserved()
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port


def _reserved() -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


@cache
def dead_port() -> int:
    """A port on which connections are refused, now and later."""
    return reserved_port()


def tlv(tag: int, *contents: bytes) -> bytes:
    """One BER element."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def entry(dn: str, attributes: dict[str, list[bytes]]) -> bytes:
    """A SearchResultEntry."""
    parts = [
        tlv(0x30, tlv(0x04, name.encode()), tlv(0x31, *(tlv(0x04, value) for value in values)))
        for name, values in attributes.items()
    ]
    return tlv(0x64, tlv(0x04, dn.encode()), tlv(0x30, *parts))


def result(tag: int, code: int = 0, *more: bytes, message: str = "") -> bytes:
    """A response that is an LDAPResult."""
    return tlv(tag, tlv(0x0A, bytes([code])), tlv(0x04), tlv(0x04, message.encode()), *more)


def done(code: int = 0, cookie: bytes | None = b"", message: str = "") -> bytes:
    """A SearchResultDone; its paging control is left out when the cookie is None."""
    if cookie is None:
        return result(SEARCH_DONE, code, message=message)
    value = tlv(0x30, tlv(0x02, b"\x00"), tlv(0x04, cookie))
    control = tlv(0x30, tlv(0x04, b"1.2.840.113556.1.4.319"), tlv(0x04, value))
    return result(SEARCH_DONE, code, message=message) + tlv(0xA0, control)


BASE = entry("dc=example,dc=com", {"entryUUID": [b"00000000-0000-0000-0000-000000000000"]})


class ScriptedServer(_Listener):
    """Answers binds with success, WhoAmI with protocolError, and the n-th search with the n-th item of the script.

    An item is a list of operations; each is wrapped with the request's number, except bytes that begin with 0x30,
    which are sent as they are. The first search is the one for the base. `requests` keeps what clients sent.
    """

    def __init__(self, *script: list[bytes], base: list[bytes] | None = None) -> None:
        super().__init__()
        self._script = [base or [BASE, done(cookie=None)], *script]
        self.requests: list[bytes] = []

    def _serve(self, client: socket.socket) -> None:
        searches = iter(self._script)
        buffer = b""
        with contextlib.suppress(OSError):
            for data in self._receive(client):
                buffer += data
                while (end := message_end(buffer)) is not None:
                    request, buffer = buffer[:end], buffer[end:]
                    self.requests.append(request)
                    self._answer(client, request, searches)

    def _answer(self, client: socket.socket, request: bytes, searches: Iterator[list[bytes]]) -> None:
        tag = operation(request)
        if tag == 0x60:
            answers = [result(0x61)]
        elif tag == 0x77:
            answers = [result(0x78, 2)]
        elif tag == 0x63:
            answers = next(searches, [])
        else:
            return
        number = message_id(request)
        for answer in answers:
            client.sendall(answer if answer[:1] == b"\x30" else tlv(0x30, number, answer))


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return when something has become true; fail when it does not in time, which is long enough for a busy machine."""
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            raise AssertionError("it did not become true in time")
        time.sleep(0.01)
