"""Mirrors of the directory: clients of the change feed, by long polls or by a stream of events."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx

FEED = "/api/v2/contacts/changes"
LIST = "/api/v2/contacts"


class Event(NamedTuple):
    """A server-sent event, with the last id received by then."""

    last_id: str
    kind: str
    data: str


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse a stream of events (WHATWG HTML 9.2.6). An event without data has only an id."""
    last_id, kind = "", ""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            yield Event(last_id, kind, "\n".join(data))
            kind, data = "", []
        elif name == "id":
            last_id = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        else:
            assert name in {"", "retry"}, line


class Mirror:
    """Contacts by id up to the revision `position`, kept current by a thread until it is stopped."""

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self._client = client
        self.contacts: dict[str, Any] = {}
        self.position = 0
        self.applied = 0
        self.reconnects = 0
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Load the list, then follow the feed."""
        with self._client() as client:
            answer = client.get(LIST)
            assert answer.status_code == 200, answer.text
            self.position = int(answer.headers["directory-revision"])
            self.contacts = {contact["id"]: contact for contact in answer.json()["contacts"]}
        self.follow()

    def follow(self) -> None:
        """Follow the feed from `position`, in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following. Raises the error that ended the thread, if any."""
        self.stopped.set()
        self._thread.join(90)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def apply(self, change: dict[str, Any]) -> None:
        """Apply one change of the feed."""
        self.applied += 1
        if change["change"] == "put":
            assert change["contact"]["id"] == change["id"]
            self.contacts[change["id"]] = change["contact"]
        else:
            assert change["change"] == "remove"
            assert "contact" not in change
            self.contacts.pop(change["id"], None)

    def _run(self) -> None:
        try:
            while not self.stopped.is_set():
                try:
                    with self._client() as client:
                        self._follow(client)
                except httpx.TransportError:
                    self.reconnects += 1
                    self.stopped.wait(0.1)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error

    def _follow(self, client: httpx.Client) -> None:
        raise NotImplementedError


class Poller(Mirror):
    """Follows by long polls of 2 s, at most 50 changes each."""

    def _follow(self, client: httpx.Client) -> None:
        while not self.stopped.is_set():
            answer = client.get(FEED, params={"since": self.position, "wait": 2, "limit": 50})
            if answer.status_code == 503:
                self.stopped.wait(0.2)
                continue
            assert answer.status_code == 200, answer.text
            body = answer.json()
            revisions = [change["revision"] for change in body["changes"]]
            assert revisions == sorted(revisions)
            assert all(self.position < revision <= body["revision"] for revision in revisions)
            assert len({change["id"] for change in body["changes"]}) == len(revisions) or len(revisions) > 500
            assert not body["more"] or len(revisions) >= 50
            for change in body["changes"]:
                self.apply(change)
            self.position = body["revision"]


class Listener(Mirror):
    """Follows by a stream of events; after an interruption it resumes from the last id."""

    def _follow(self, client: httpx.Client) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self.position)}
        with client.stream("GET", FEED, headers=headers) as answer:
            if answer.status_code == 503:
                self.stopped.wait(0.2)
                return
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            for event in parse_events(answer.iter_lines()):
                if event.data:
                    change = json.loads(event.data)
                    assert change["change"] == event.kind
                    assert change["revision"] >= int(event.last_id) >= self.position
                    self.apply(change)
                self.position = int(event.last_id or self.position)
                if self.stopped.is_set():
                    return
        self.reconnects += 1
