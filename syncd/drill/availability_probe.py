"""The availability probe: reads the directory from the running daemon, four times a second, during the whole drill."""

import http.client
import json
import threading
import time
from typing import Any, NamedTuple

PROBE_INTERVAL = 0.25
"""Seconds between two probes."""

REQUEST_TIMEOUT = 60.0
"""Seconds without data after which a request fails; long, because a machine under load answers slowly."""


class ProbeFailure(NamedTuple):
    """One probe that failed or found contacts absent."""

    time: float
    """Of the request, on the monotonic clock."""
    reason: str
    """Empty if the only problem is absent contacts."""
    absent: frozenset[str] = frozenset()
    """Ids of contacts that an earlier probe has seen."""
    retry_after: bool = False
    """The response was 503 with Retry-After."""


class DaemonClient:
    """HTTP client of the daemon, for several threads."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        # fewer concurrent reads than the daemon has database connections: the drill is no load test
        self._slots = threading.BoundedSemaphore(4)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], Any]:
        """Send a request; return status, headers (names in lower case) and parsed JSON body of the response.

        Raises: OSError and HTTPException without a response, ValueError for a body that is not JSON.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_TIMEOUT)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return response.status, received, json.loads(response.read())
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether `/ready` answers 200."""
        try:
            return self.request("GET", "/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def contacts(self, query: str) -> dict[str, dict[str, Any]]:
        """Read the contacts that match a query string, by id.

        Raises: AssertionError for another status than 200; the errors of `request`.
        """
        with self._slots:
            status, _, body = self.request("GET", f"/api/v2/contacts?{query}")
        if status != 200:
            raise AssertionError(f"the directory responds with status {status}")
        return {contact["id"]: contact for contact in body["contacts"]}


class AvailabilityProbe:
    """A thread that probes until it is stopped and keeps only the failures."""

    def __init__(self, client: DaemonClient, custom_id: str) -> None:
        self._client = client
        self._custom_id = custom_id
        self._seen_ids: set[str] = set()
        self._failures: list[ProbeFailure] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._probe_until_stopped, daemon=True)

    def start(self) -> None:
        """Start probing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop probing; wait at most REQUEST_TIMEOUT for the current probe."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(REQUEST_TIMEOUT)

    def failures(self, since: float, until: float) -> list[ProbeFailure]:
        """Select the failures between two times of the monotonic clock."""
        with self._lock:
            return [failure for failure in self._failures if since <= failure.time <= until]

    def _probe_until_stopped(self) -> None:
        while not self._stop.wait(PROBE_INTERVAL):
            failure = self._probe()
            if failure is not None:
                with self._lock:
                    self._failures.append(failure)

    def _probe(self) -> ProbeFailure | None:
        sent_at = time.monotonic()
        for path in ("/api/v2/contacts?fields=id", f"/api/v2/contacts/{self._custom_id}"):
            try:
                status, headers, body = self._client.request("GET", path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return ProbeFailure(sent_at, f"no response ({type(error).__name__}: {error})")
            if status != 200:
                retry_after = status == 503 and "retry-after" in headers
                return ProbeFailure(sent_at, f"response status {status}", retry_after=retry_after)
            if "contacts" in body:
                ids = {contact["id"] for contact in body["contacts"]}
                absent = frozenset(self._seen_ids - ids)
                self._seen_ids |= ids
                if absent:
                    return ProbeFailure(sent_at, "", absent)
        return None
