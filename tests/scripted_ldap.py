"""An LDAP server that plays a script, and waiting for what another process does.

Proxies, ports and LDAP messages are those of the drill: `syncd.drill.proxy` and `syncd.drill.messages`.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

from syncd.drill.messages import done, entry, message_end, message_id, operation, result, tlv
from syncd.drill.proxy import Listener

BASE = entry("dc=example,dc=com", {"entryUUID": [b"00000000-0000-0000-0000-000000000000"]})


class ScriptedServer(Listener):
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
