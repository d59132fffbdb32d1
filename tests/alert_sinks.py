"""Where notices arrive: a web server and a mail server that keep what they get, refuse when told to, or are silent."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from syncd.drill.proxy import Listener


class Hook:
    """A web server for POST: the JSON and the headers of each, and the status that it answers."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 204
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.got.append(json.loads(body))
                sink.headers.append(dict(self.headers))
                sink.paths.append(self.path)
                self.send_response(sink.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/syncd?to=team"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> list[tuple[str, str]]:
        """What was said, about what."""
        return [(message["kind"], message["about"]) for message in self.got]


class MailSink(Listener):
    """A mail server (RFC 5321), with STARTTLS when it has a certificate; wants a login when it has a password."""

    def __init__(self, context: ssl.SSLContext | None = None, password: str = "") -> None:
        super().__init__()
        self.letters: list[str] = []
        self.logins: list[str] = []
        self.refuse = ""
        """The answer to a message that is not taken."""
        self._context = context
        self._password = password

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(30)
        client.sendall(b"220 sink\r\n")
        reader = client.makefile("rb")
        while line := reader.readline().strip():
            word = line.split()[0].upper()
            if word == b"STARTTLS" and self._context is not None:
                client.sendall(b"220 go ahead\r\n")
                try:
                    client = self._context.wrap_socket(client, server_side=True)
                except OSError:
                    return
                self._open.append(client)
                reader = client.makefile("rb")
                continue
            for answer in self._answers(word, line, reader):
                client.sendall(answer.encode() + b"\r\n")

    def _answers(self, word: bytes, line: bytes, reader: Any) -> Iterator[str]:
        if word == b"EHLO":
            yield from ("250-sink", *(["250-STARTTLS"] if self._context else []), "250 AUTH PLAIN")
        elif word == b"AUTH":
            name, password = base64.b64decode(line.split()[2]).decode().split("\0")[1:]
            self.logins.append(name)
            yield "235 welcome" if password == self._password else f"535 no, not {password}"
        elif word == b"DATA":
            yield "354 go ahead"
            letter = b""
            while (more := reader.readline()) not in {b".\r\n", b""}:
                letter += more
            if not self.refuse:
                self.letters.append(letter.decode())
            yield self.refuse or "250 taken"
        else:
            yield "221 good-bye" if word == b"QUIT" else "250 fine"
