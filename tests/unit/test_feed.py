"""Change feed: requests, valid positions, and encoded batches."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts import feed
from syncd.core.contacts.feed import ChangeBatch, LatestChange, Position, check_position, end_of_revision
from syncd.core.contacts.models import StoredContact
from syncd.errors import Gone, InvalidParameter, MissingParameter
from syncd.web.endpoints.change_batches import EncodedBatch
from tests.mirror import parse_events

BASE = "http://x"


def latest(revision: int, line: int, *, served: bool = True) -> LatestChange:
    id_ = f"{line:032x}"
    stored = StoredContact(id_, "Custom", f"C{line}\u2028\n", (), None, None, None, None, None, (), (), None)
    return LatestChange(Position(revision, line), id_, stored if served else None)


def test_valid_polls() -> None:
    """`since`, optionally `limit` and `wait`; cache busters are ignored."""
    assert feed.parse_poll(b"since=7") == feed.PollRequest(7, None, 0)
    assert feed.parse_poll(b"limit=5&since=0&wait=60&_=1") == feed.PollRequest(0, 5, 60)


@pytest.mark.parametrize("raw", [b"", b"since=", b"limit=5"])
def test_since_is_required(raw: bytes) -> None:
    """The message tells where to get it."""
    with pytest.raises(MissingParameter, match="Directory-Revision"):
        feed.parse_poll(raw)


@pytest.mark.parametrize(
    "raw",
    [b"since=x", b"since=-1", b"since=1.5", b"since=1&since=2", b"since=1&limit=0", b"since=1&wait=61", b"sinc=1"],
)
def test_invalid_polls(raw: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidParameter):
        feed.parse_poll(raw)


def test_start_of_a_stream() -> None:
    """The header takes precedence, because a browser repeats the original query."""
    assert feed.parse_start(b"since=3", None) == 3
    assert feed.parse_start(b"since=3", " 9 ") == 9
    assert feed.parse_start(b"", "9") == 9
    with pytest.raises(InvalidParameter, match="Last-Event-ID"):
        feed.parse_start(b"since=3", "nine")
    with pytest.raises(MissingParameter):
        feed.parse_start(b"", None)
    with pytest.raises(InvalidParameter):
        feed.parse_start(b"since=3&limit=2", None)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_valid_positions(since: int, revision: int, pruned: int) -> None:
    """From the newest deleted revision to the current one; positions within a deleted revision are invalid."""
    pruned = min(pruned, revision)
    if pruned <= since <= revision:
        check_position(end_of_revision(since), revision, pruned)
    else:
        with pytest.raises(Gone):
            check_position(end_of_revision(since), revision, pruned)
    if since <= pruned:
        with pytest.raises(Gone):
            check_position(Position(since, 3), revision, pruned)


@st.composite
def logs(draw: st.DrawFn) -> list[LatestChange]:
    """Changes in the order of the log, several per revision."""
    revisions = sorted(draw(st.lists(st.integers(1, 6), max_size=12)))
    return [latest(revision, line, served=draw(st.booleans())) for line, revision in enumerate(revisions, 1)]


def split(log: list[LatestChange], revision: int, length: int) -> list[EncodedBatch]:
    """Split the log into batches of this length, as the store does."""
    batches = []
    for start in range(0, len(log), length):
        part, rest = log[start : start + length], log[start + length :]
        end, following = (part[-1].position, rest[0].position.revision) if rest else (end_of_revision(revision), None)
        batches.append(EncodedBatch(ChangeBatch(revision, part, end, following), BASE))
    return batches or [EncodedBatch(ChangeBatch(revision, [], end_of_revision(revision), None), BASE)]


@given(logs(), st.integers(1, 5), st.integers(6, 9))
def test_an_interrupted_stream_loses_nothing(log: list[LatestChange], length: int, revision: int) -> None:
    """After any event, all changes up to the revision of the last id were sent."""
    text = b"".join(written.events for written in split(log, revision, length)).decode()
    events = list(parse_events(iter(text.split("\n")[:-1])))
    changes: list[dict[str, Any]] = [json.loads(event.data) for event in events if event.data]

    assert [(change["revision"], change["id"]) for change in changes] == [(c.position.revision, c.id) for c in log]
    assert [change["change"] for change in changes] == ["put" if c.contact else "remove" for c in log]
    assert events[-1].last_id == str(revision)
    sent: list[int] = []
    for event in events:
        if event.data:
            sent.append(json.loads(event.data)["revision"])
        if event.last_id:
            assert [c.position.revision for c in log if c.position.revision <= int(event.last_id)] == [
                number for number in sent if number <= int(event.last_id)
            ]


@given(logs(), st.integers(1, 5), st.none() | st.integers(1, 8))
def test_a_response_has_whole_revisions(log: list[LatestChange], length: int, limit: int | None) -> None:
    """It ends with the first revision that reaches `limit` changes, for any length of batches."""
    taken: list[int] = []
    left, last = limit, 0
    for written in split(log, 9, length):
        number = written.take(left, last)
        taken += written.revisions[:number]
        left = None if left is None else left - number
        last = taken[-1] if taken else last
        if number < len(written.lines) or (left is not None and left <= 0 and written.next_revision != last):
            break

    every = [change.position.revision for change in log]
    end = every[min(limit, len(every)) - 1] if limit and every else 9
    assert taken == [revision for revision in every if revision <= end]
