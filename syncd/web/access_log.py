"""The access log: the request id, one wide log line and two metrics of each request."""

import re
import time
import uuid
from typing import Any

from starlette.types import Message, Scope, Send

from syncd.core.contacts.models import Caller
from syncd.observability import log, metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MAX_LOGGED_PATH = 200
"""Bytes of the path in the log line."""
UNAVAILABLE_KEY = "requests"
"""The key by which the log throttle counts responses with status 503."""
_NO_STORE = (b"cache-control", b"no-store")
"""Header of responses without Cache-Control, some of which a cache could store without it (RFC 9111, 4.2.2)."""
_BROWSER_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    # a page of another site must not learn by the success of <img> or <script> whether a contact exists
    (b"cross-origin-resource-policy", b"same-origin"),
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestRecord:
    """Records one request and its response.

    The response has the header X-Request-Id: the client's value if it is short and plain, else a new one.
    """

    def __init__(self, scope: Scope, send: Send, client: str) -> None:
        self._scope = scope
        self._send = send
        self._client = client
        self._started = time.perf_counter()
        self.request_id = _request_id(scope)
        log.request_id.set(self.request_id)  # each request has its own task and therefore its own context
        self.extra_headers = [(b"x-request-id", self.request_id.encode()), *_BROWSER_HEADERS]
        """Headers that are added to the response."""
        self.caller: Caller | None = None
        self.error: Exception | None = None
        self.status: int | None = None
        """The response's status; None before its first message."""
        self._bytes = 0

    async def send(self, message: Message) -> None:
        """Pass a message of the response on; the first one gets the extra headers. Raises what the server raises."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *self.extra_headers]
            if all(name != b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            message["headers"] = headers
        elif self._scope["method"] != "HEAD":
            self._bytes += len(message.get("body", b""))
        await self._send(message)

    def write(self) -> None:
        """Log and count the request. The query is left out, because it may contain names and numbers of people."""
        log_request(
            method=self._scope["method"],
            path=self._scope["raw_path"].decode("ascii", "replace"),
            status=self.status,
            seconds=time.perf_counter() - self._started,
            size=self._bytes,
            client=self._client,
            caller=self.caller,
            error=self.error,
        )


def log_request(
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
    """Log and count one request, by whichever layer it was answered; lines of status 503 are throttled."""
    metrics.HTTP_REQUESTS.labels(method if method in METHODS else "other", str(status or "none")).inc()
    metrics.HTTP_SECONDS.observe(seconds)
    line: dict[str, Any] = {
        "level": None if error is None else "error",
        "error": error,
        "method": method,
        "path": path.partition("&")[0][:MAX_LOGGED_PATH],
        "status": status,
        "seconds": round(seconds, 6),
        "bytes": size,
        "client": client,
        "caller": caller and caller.name,
        "role": caller and caller.role,
    }
    if status == 503:
        log.emit_throttled(log.HTTP_REQUEST, UNAVAILABLE_KEY, str(error or ""), **line)
    else:
        log.emit(log.HTTP_REQUEST, **line)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return str(text)
    return uuid.uuid4().hex
