"""Mirrors of the directory: clients that know it only by the change feed, by polls or by a stream of events."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx

FEED = "/api/v2/contacts/changes"
LIST = "/api/v2/contacts"


class Event(NamedTuple):
    """A server-sent event as a client sees it, with the last id that was heard by then."""

    last: str
    kind: str
    data: str


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream, by the rules of WHATWG HTML 9.2.6; one without data tells only its id."""
    last, kind, data = "", "", []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            yield Event(last, kind, "\n".join(data))
            kind, data = "", []
        elif name == "id":
            last = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        else:
            assert name in {"", "retry"}, line


class Mirror:
    """Contacts by id, and the revision up to which they are known, kept up by a thread until told to stop."""

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self._client = client
        self.contacts: dict[str, Any] = {}
        self.position = 0
        self.applied = 0
        self.reconnects = 0
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin with the list, and go on by the feed."""
        with self._client() as client:
            answer = client.get(LIST)
            assert answer.status_code == 200, answer.text
            self.position = int(answer.headers["directory-revision"])
            self.contacts = {contact["id"]: contact for contact in answer.json()["contacts"]}
        self._thread.start()

    def stop(self) -> None:
        """End it, and raise what went wrong."""
        self.over.set()
        self._thread.join(90)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def apply(self, change: dict[str, Any]) -> None:
        """What a client does with each change."""
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
            while not self.over.is_set():
                try:
                    with self._client() as client:
                        self._follow(client)
                except httpx.TransportError:
                    self.reconnects += 1
                    self.over.wait(0.1)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error

    def _follow(self, client: httpx.Client) -> None:
        raise NotImplementedError


class Poller(Mirror):
    """Asks again and again, waiting a little, and takes a few changes at a time."""

    def _follow(self, client: httpx.Client) -> None:
        while not self.over.is_set():
            answer = client.get(FEED, params={"since": self.position, "wait": 2, "limit": 50})
            if answer.status_code == 503:
                self.over.wait(0.2)
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
    """Takes events as they come. It forgets nothing when cut off, and goes on from the last id."""

    def _follow(self, client: httpx.Client) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self.position)}
        with client.stream("GET", FEED, headers=headers) as answer:
            if answer.status_code == 503:
                self.over.wait(0.2)
                return
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            for event in events(answer.iter_lines()):
                if event.data:
                    change = json.loads(event.data)
                    assert change["change"] == event.kind
                    assert change["revision"] >= int(event.last) >= self.position
                    self.apply(change)
                self.position = int(event.last or self.position)
                if self.over.is_set():
                    return
        self.reconnects += 1
