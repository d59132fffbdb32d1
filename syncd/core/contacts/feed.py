"""The change feed: what became of contacts after a revision, where a reader of it stands, how it is written. Pure.

The position of a reader is a revision. While one is read there are places within it, because it may be a run that
changed a hundred thousand contacts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from syncd.core.contacts import contact_json
from syncd.core.contacts import query as asked
from syncd.core.contacts.models import StoredContact
from syncd.errors import Gone, InvalidParameter, MissingParameter

PARAMETERS = ("since", "limit", "wait")
"""Of the feed as JSON."""
EVENT_PARAMETERS = ("since",)
"""Of the feed as a stream of events, which has no limit and always waits."""
LAST_EVENT_ID = "Last-Event-ID"
"""The header by which a client of a stream says where it stands; it counts more than `since`."""
LONGEST_WAIT = 60
"""Seconds that a caller may ask to wait for a change."""


class Position(NamedTuple):
    """A place in the change log: everything up to this line of this revision is known."""

    revision: int
    line: int


def at(revision: int) -> Position:
    """The place after all of a revision."""
    return Position(revision, asked.LARGEST)


class Latest(NamedTuple):
    """What has become of a contact: where its last change stands, and how it is served, None when it is not."""

    position: Position
    id: str
    contact: StoredContact | None


@dataclass(frozen=True, slots=True)
class Section:
    """What follows a position, as of one moment: each contact once, by its last change."""

    revision: int
    """The directory's at that moment."""
    changes: Sequence[Latest]
    end: Position
    """Where a reader stands who has these."""
    following: int | None
    """The revision of what comes next; None when these are all."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A checked request for what follows a revision."""

    since: int
    limit: int | None
    """Changes after which the answer ends with a whole revision; None for all."""
    wait: int
    """Seconds to wait when nothing follows yet."""


def poll(raw: bytes) -> Poll:
    """The query string of the feed as JSON. Raises MissingParameter or InvalidParameter."""
    given = asked.parameters(raw, PARAMETERS)
    limit, wait = asked.integer(given, "limit"), asked.integer(given, "wait") or 0
    if limit == 0:
        raise InvalidParameter("limit: an answer holds one revision at least, so write 1 or more")
    if wait > LONGEST_WAIT:
        raise InvalidParameter(f"wait: at most {LONGEST_WAIT} seconds, then ask again")
    return Poll(_since(asked.integer(given, "since")), limit, wait)


def stand(raw: bytes, last: str | None) -> int:
    """The revision from which a stream of events goes on: that of the header, else of the query string."""
    given = asked.parameters(raw, EVENT_PARAMETERS)
    if last is not None:
        return _since(asked.integer({LAST_EVENT_ID: [last.strip()]}, LAST_EVENT_ID))
    return _since(asked.integer(given, "since"))


def _since(revision: int | None) -> int:
    if revision is None:
        raise MissingParameter(
            "since is missing: the revision up to which you know the directory; the list of contacts bears it "
            "in its header Directory-Revision"
        )
    return revision


def check(position: Position, revision: int, pruned: int) -> None:
    """Raise Gone when nobody can tell what follows a position: it is forgotten, or no past of this directory.

    `revision` is the directory's, `pruned` the newest one whose changes are forgotten.
    """
    if position < at(pruned):
        reason = f"what followed revision {position.revision} is no longer known, only what followed {pruned}"
    elif position.revision > revision:
        reason = f"the directory is at revision {revision}, so {position.revision} is of another one or it was restored"
    else:
        return
    raise Gone(f"{reason}; read the whole list, and go on from the revision in its header Directory-Revision")


def kind(latest: Latest) -> str:
    """`put` or `remove`."""
    return "remove" if latest.contact is None else "put"


def written(latest: Latest, base: str) -> str:
    """A change as JSON, with the contact as GET shows it if it does."""
    change: dict[str, Any] = {"revision": latest.position.revision, "change": kind(latest), "id": latest.id}
    if latest.contact is not None:
        change["contact"] = contact_json.contact(latest.contact, base)
    return contact_json.encode(change)
