"""Receivers of alerts: a webhook server and a mail server that record messages, and reject them on demand."""

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


class WebhookSink:
    """A web server that records body, headers and path of each POST, and answers with `status`."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 204
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.received.append(json.loads(body))
                sink.headers.append(dict(self.headers))
                sink.paths.append(self.path)
                self.send_response(sink.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/syncd?to=team"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def subjects(self) -> list[tuple[str, str]]:
        """Return (kind, about) of each alert."""
        return [(message["kind"], message["about"]) for message in self.received]


class MailSink(Listener):
    """A mail server (RFC 5321) that records messages; with STARTTLS if it has a TLS context, and AUTH PLAIN."""

    def __init__(self, context: ssl.SSLContext | None = None, password: str = "") -> None:
        super().__init__()
        self.messages: list[str] = []
        self.logins: list[str] = []
        self.rejection = ""
        """The reply to DATA by which a message is rejected; empty: accepted."""
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
            message = b""
            while (part := reader.readline()) not in {b".\r\n", b""}:
                message += part
            if not self.rejection:
                self.messages.append(message.decode())
            yield self.rejection or "250 taken"
        else:
            yield "221 good-bye" if word == b"QUIT" else "250 fine"
