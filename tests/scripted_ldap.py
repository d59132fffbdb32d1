"""An LDAP server with scripted answers.

Proxies, ports and LDAP messages are in `syncd.drill.proxy` and `syncd.drill.messages`.
"""

import contextlib
import socket
from collections.abc import Iterator

from syncd.drill.messages import ldap_result, message_end, message_id, operation, search_done, search_entry, tlv
from syncd.drill.proxy import Listener

BASE = search_entry("dc=example,dc=com", {"entryUUID": [b"00000000-0000-0000-0000-000000000000"]})


class ScriptedServer(Listener):
    """Answers binds with success, WhoAmI with protocolError, and the n-th search with the n-th item of the script.

    An item is a list of operations; each is wrapped with the messageID of the request, except bytes that begin with
    0x30, which are complete messages. The first search is the one for the base. `requests` are all messages received.
    """

    def __init__(self, *script: list[bytes], base: list[bytes] | None = None) -> None:
        super().__init__()
        self._script = [base or [BASE, search_done(cookie=None)], *script]
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
            answers = [ldap_result(0x61)]
        elif tag == 0x77:
            answers = [ldap_result(0x78, 2)]
        elif tag == 0x63:
            answers = next(searches, [])
        else:
            return
        number = message_id(request)
        for answer in answers:
            client.sendall(answer if answer[:1] == b"\x30" else tlv(0x30, number, answer))
