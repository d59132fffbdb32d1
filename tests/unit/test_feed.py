"""The change feed: what a caller may ask, which positions are good, and how sections become answers and events."""

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


def test_what_a_poll_may_ask() -> None:
    """since, and if wanted a limit and a time to wait; cache busters are let pass."""
    assert feed.parse_poll(b"since=7") == feed.PollRequest(7, None, 0)
    assert feed.parse_poll(b"limit=5&since=0&wait=60&_=1") == feed.PollRequest(0, 5, 60)


@pytest.mark.parametrize("raw", [b"", b"since=", b"limit=5"])
def test_since_is_needed(raw: bytes) -> None:
    """The sentence tells where to get it."""
    with pytest.raises(MissingParameter, match="Directory-Revision"):
        feed.parse_poll(raw)


@pytest.mark.parametrize(
    "raw",
    [b"since=x", b"since=-1", b"since=1.5", b"since=1&since=2", b"since=1&limit=0", b"since=1&wait=61", b"sinc=1"],
)
def test_what_a_poll_may_not_ask(raw: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidParameter):
        feed.parse_poll(raw)


def test_where_a_stream_goes_on() -> None:
    """The header wins, because a browser repeats the query as it was."""
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
def test_which_positions_are_good(since: int, revision: int, pruned: int) -> None:
    """From what is forgotten to what is there; within a revision that is forgotten nothing is good."""
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
    """Changes in the order of the log, several in a revision."""
    revisions = sorted(draw(st.lists(st.integers(1, 6), max_size=12)))
    return [latest(revision, line, served=draw(st.booleans())) for line, revision in enumerate(revisions, 1)]


def cut(log: list[LatestChange], revision: int, length: int) -> list[EncodedBatch]:
    """The log in sections of this length, as the store hands them out."""
    found = []
    for start in range(0, len(log), length):
        part, rest = log[start : start + length], log[start + length :]
        end, following = (part[-1].position, rest[0].position.revision) if rest else (end_of_revision(revision), None)
        found.append(EncodedBatch(ChangeBatch(revision, part, end, following), BASE))
    return found or [EncodedBatch(ChangeBatch(revision, [], end_of_revision(revision), None), BASE)]


@given(logs(), st.integers(1, 5), st.integers(6, 9))
def test_a_stream_that_is_cut_off_anywhere_loses_nothing(log: list[LatestChange], length: int, revision: int) -> None:
    """After any event the last id is that of a revision of which, and of all before, everything was sent."""
    text = b"".join(written.events for written in cut(log, revision, length)).decode()
    heard = list(parse_events(iter(text.split("\n")[:-1])))
    told: list[dict[str, Any]] = [json.loads(event.data) for event in heard if event.data]

    assert [(change["revision"], change["id"]) for change in told] == [(c.position.revision, c.id) for c in log]
    assert [change["change"] for change in told] == ["put" if c.contact else "remove" for c in log]
    assert heard[-1].last_id == str(revision)
    sent: list[int] = []
    for event in heard:
        if event.data:
            sent.append(json.loads(event.data)["revision"])
        if event.last_id:
            assert [c.position.revision for c in log if c.position.revision <= int(event.last_id)] == [
                number for number in sent if number <= int(event.last_id)
            ]


@given(logs(), st.integers(1, 5), st.none() | st.integers(1, 8))
def test_an_answer_holds_whole_revisions(log: list[LatestChange], length: int, limit: int | None) -> None:
    """It ends with the first revision that makes it `limit` changes, in whatever sections it was read."""
    taken: list[int] = []
    left, last = limit, 0
    for written in cut(log, 9, length):
        number = written.take(left, last)
        taken += written.revisions[:number]
        left = None if left is None else left - number
        last = taken[-1] if taken else last
        if number < len(written.lines) or (left is not None and left <= 0 and written.next_revision != last):
            break

    every = [change.position.revision for change in log]
    end = every[min(limit, len(every)) - 1] if limit and every else 9
    assert taken == [revision for revision in every if revision <= end]
