"""One request and its answer as they are recorded: the request id, one wide log line, two metrics."""

import re
import time
import uuid
from typing import Any

from starlette.types import Message, Scope, Send

from syncd.core.contacts.models import Caller
from syncd.observability import log, metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LONGEST_PATH = 200
REFUSED = "requests"
"""What the log calls the trouble of requests that are answered with 503."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Exchange:
    """Follows one answer on its way out; sets X-Request-Id, the client's own if that is short and plain."""

    def __init__(self, scope: Scope, send: Send, client: str) -> None:
        self._scope = scope
        self._send = send
        self._client = client
        self._began = time.perf_counter()
        self.request_id = _request_id(scope)
        log.request.set(self.request_id)  # a request has a task, and with it a context, of its own
        self.headers = [(b"x-request-id", self.request_id.encode())]
        """What the answer gets besides its own."""
        self.caller: Caller | None = None
        self.error: Exception | None = None
        self.status: int | None = None
        """None until the answer has begun."""
        self._bytes = 0

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self.headers]
        else:
            self._bytes += len(message.get("body", b""))
        await self._send(message)

    def record(self) -> None:
        """Write the line and count. The query is left out: it may hold names and numbers of people."""
        record(
            method=self._scope["method"],
            path=self._scope["raw_path"].decode("ascii", "replace"),
            status=self.status,
            seconds=time.perf_counter() - self._began,
            size=self._bytes,
            client=self._client,
            caller=self.caller,
            error=self.error,
        )


def record(
    *,
    method: str,
    path: str,
    status: int | None,
    seconds: float,
    size: int,
    client: str | None = None,
    caller: Caller | None = None,
    error: Exception | None = None,
) -> None:
    """One request in the log and in the metrics, whichever layer has answered it."""
    metrics.HTTP_REQUESTS.labels(method if method in METHODS else "other", str(status or "none")).inc()
    metrics.HTTP_SECONDS.observe(seconds)
    line: dict[str, Any] = {
        "level": None if error is None else "error",
        "error": error,
        "method": method,
        "path": path.partition("&")[0][:LONGEST_PATH],
        "status": status,
        "seconds": round(seconds, 6),
        "bytes": size,
        "client": client,
        "caller": caller and caller.name,
        "role": caller and caller.role,
    }
    if status == 503:
        log.trouble(log.HTTP_REQUEST, REFUSED, str(error or ""), **line)
    else:
        log.emit(log.HTTP_REQUEST, **line)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return str(text)
    return uuid.uuid4().hex
