"""The watch: somebody who asks the running daemon for the directory, several times a second, from start to end."""

import http.client
import json
import threading
import time
from typing import Any, NamedTuple

INTERVAL = 0.25
"""Seconds between two looks."""

SILENCE = 60.0
"""Seconds without any answer that count as none; a machine under load is slow, not silent."""


class Look(NamedTuple):
    """One look in which something was not as it should be."""

    at: float
    why: str
    """Empty when all that is wrong is that contacts were absent."""
    absent: frozenset[str] = frozenset()
    retry: bool = False
    """The answer was 503 and told when to come again."""


class Daemon:
    """The daemon as a client sees it."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        # fewer at a time than the daemon has connections to its database: this is no drill of its load
        self._turn = threading.BoundedSemaphore(4)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], Any]:
        """Status, headers (lower case) and body of an answer. Raises OSError and HTTPException when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SILENCE)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            received = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, received, json.loads(answer.read())
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether it says that it can serve."""
        try:
            return self.request("GET", "/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def contacts(self, query: str) -> dict[str, dict[str, Any]]:
        """The contacts that it serves for a query, by id. Raises AssertionError when it does not."""
        with self._turn:
            status, _, body = self.request("GET", f"/api/v2/contacts?{query}")
        if status != 200:
            raise AssertionError(f"the directory is answered with {status}")
        return {contact["id"]: contact for contact in body["contacts"]}


class Watch:
    """Looks until it is stopped, and remembers only what was wrong."""

    def __init__(self, daemon: Daemon, custom: str) -> None:
        self._daemon = daemon
        self._custom = custom
        self._known: set[str] = set()
        self._looks: list[Look] = []
        self.count = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(SILENCE)

    def wrong(self, since: float, until: float) -> list[Look]:
        """The looks of this time in which something was wrong."""
        with self._lock:
            return [look for look in self._looks if since <= look.at <= until]

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            look = self._look()
            self.count += 1
            if look is not None:
                with self._lock:
                    self._looks.append(look)

    def _look(self) -> Look | None:
        asked = time.monotonic()
        for path in ("/api/v2/contacts?fields=id", f"/api/v2/contacts/{self._custom}"):
            try:
                status, headers, body = self._daemon.request("GET", path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return Look(asked, f"no answer ({type(error).__name__}: {error})")
            if status != 200:
                return Look(asked, f"answered with {status}", retry=status == 503 and "retry-after" in headers)
            if "contacts" in body:
                there = {contact["id"] for contact in body["contacts"]}
                absent = frozenset(self._known - there)
                self._known |= there
                if absent:
                    return Look(asked, "", absent)
        return None
