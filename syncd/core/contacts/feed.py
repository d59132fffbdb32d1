"""Change feed: requests, positions and JSON form of changes.

The position of a reader is a revision. Within a revision, positions are lines of the change log, because one run may
change a hundred thousand contacts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from syncd.core.contacts import query
from syncd.core.contacts.contact_json import contact_to_json, encode
from syncd.core.contacts.models import StoredContact
from syncd.errors import Gone, InvalidParameter, MissingParameter

PARAMETERS = ("since", "limit", "wait")
"""Query parameters of the JSON feed."""
EVENT_PARAMETERS = ("since",)
"""Query parameters of the event stream, which has no limit and always waits."""
LAST_EVENT_ID = "Last-Event-ID"
"""Request header with the position of an event stream (WHATWG HTML, 9.2.4); it takes precedence over `since`."""
MAX_WAIT = 60
"""Maximum of the parameter `wait`, in seconds."""


class Position(NamedTuple):
    """Position in the change log: everything up to this line of this revision has been read."""

    revision: int
    line: int


def end_of_revision(revision: int) -> Position:
    """Return the position after all changes of a revision."""
    return Position(revision, query.MAX_INTEGER)


class LatestChange(NamedTuple):
    """Last change of a contact, with the contact as it is served now; None for a contact that is not served."""

    position: Position
    id: str
    contact: StoredContact | None


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """Changes after a position, from one snapshot: each contact once, with its last change."""

    revision: int
    """Revision of the directory at the snapshot."""
    changes: Sequence[LatestChange]
    end: Position
    """Position of a reader after this batch."""
    next_revision: int | None
    """Revision of the first change after this batch; None at the end of the log."""


@dataclass(frozen=True, slots=True)
class PollRequest:
    """Validated request to the JSON feed."""

    since: int
    limit: int | None
    """Number of changes after which the response ends, at the end of a revision; None for no limit."""
    wait: int
    """Seconds to wait for a change when there is none."""


def parse_poll(raw: bytes) -> PollRequest:
    """Parse the query string of the JSON feed. Raises MissingParameter or InvalidParameter."""
    parameters = query.parse_parameters(raw, PARAMETERS)
    limit, wait = query.parse_integer(parameters, "limit"), query.parse_integer(parameters, "wait") or 0
    if limit == 0:
        raise InvalidParameter("limit: 1 is the minimum, because a response holds at least one revision")
    if wait > MAX_WAIT:
        raise InvalidParameter(f"wait: at most {MAX_WAIT} seconds, then ask again")
    return PollRequest(_require_since(query.parse_integer(parameters, "since")), limit, wait)


def parse_start(raw: bytes, last_event_id: str | None) -> int:
    """Return the revision after which an event stream starts: that of the header, else of the query string.

    Raises MissingParameter or InvalidParameter.
    """
    parameters = query.parse_parameters(raw, EVENT_PARAMETERS)
    if last_event_id is not None:
        return _require_since(query.parse_integer({LAST_EVENT_ID: [last_event_id.strip()]}, LAST_EVENT_ID))
    return _require_since(query.parse_integer(parameters, "since"))


def _require_since(revision: int | None) -> int:
    if revision is None:
        raise MissingParameter(
            "since is missing: send the revision of your copy, which is the header Directory-Revision of the list of "
            "contacts"
        )
    return revision


def check_position(position: Position, revision: int, pruned: int) -> None:
    """Check that the changes after a position are still in the log. Raises Gone.

    `revision` is the current one of the directory, `pruned` the newest one whose changes were deleted.
    """
    if position < end_of_revision(pruned):
        reason = f"changes after revision {position.revision} are deleted, only those after {pruned} are kept"
    elif position.revision > revision:
        reason = f"the directory is at revision {revision}, so {position.revision} is of another one or it was restored"
    else:
        return
    raise Gone(f"{reason}; read the whole list, and go on from the revision in its header Directory-Revision")


def change_kind(change: LatestChange) -> str:
    """Return `put` or `remove`."""
    return "remove" if change.contact is None else "put"


def encode_change(change: LatestChange, base: str) -> str:
    """Encode a change as JSON, with all members of a served contact. `base` is the public URL of this server."""
    members: dict[str, Any] = {"revision": change.position.revision, "change": change_kind(change), "id": change.id}
    if change.contact is not None:
        members["contact"] = contact_to_json(change.contact, base)
    return encode(members)
