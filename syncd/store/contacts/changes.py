"""Change feed: the changes after a position of the change log, in batches of bounded length.

No connection is held between two batches. Changes committed meanwhile are later in the log, so that a reader at its end
has missed nothing and knows the directory at that revision.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.feed import ChangeBatch, LatestChange, Position, check_position, end_of_revision
from syncd.core.contacts.models import StoredContact
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts.reading import COLUMNS
from syncd.store.schema.tables import change, contact, directory

BATCH_SIZE = 500
"""Maximum of changes in a batch."""
MAX_SCANNED_LINES = 20_000
"""Maximum of log lines that are scanned for a batch; it bounds the duration of the query."""

_SELECT_STATE = select(directory.c.revision, directory.c.pruned)
_AFTER = tuple_(change.c.revision, change.c.id) > tuple_(
    bindparam("revision", type_=BigInteger), bindparam("line", type_=BigInteger)
)
_ORDER = (change.c.revision, change.c.id)

_window = (
    select(*_ORDER, change.c.contact_id, change.c.type)
    .where(_AFTER)
    .order_by(*_ORDER)
    .limit(MAX_SCANNED_LINES)
    .subquery()
)
_later = change.alias("later")
# only the last line of each contact counts; the index on contacts finds the superseded ones
_superseded = (_later.c.contact_id == _window.c.contact_id) & (
    tuple_(_later.c.revision, _later.c.id) > tuple_(_window.c.revision, _window.c.id)
)
_served = (contact.c.id == _window.c.contact_id) & (contact.c.type == _window.c.type) & contact.c.served
SELECT_CHANGES = (
    select(_window.c.revision, _window.c.id, func.replace(cast(_window.c.contact_id, Text), "-", ""), *COLUMNS)
    .select_from(_window.outerjoin(contact, _served))
    .where(~select(literal(1)).where(_superseded).exists())
    .order_by(_window.c.revision, _window.c.id)
    .limit(BATCH_SIZE + 1)
)
_SELECT_NEXT_WINDOW = select(*_ORDER).where(_AFTER).order_by(*_ORDER).offset(MAX_SCANNED_LINES).limit(1)


class ChangeFeed:
    """Reader of the change feed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def read_after(self, position: Position) -> ChangeBatch:
        """Return the first batch of changes after a position, from one snapshot.

        Raises Gone when the position is pruned or of another directory, and StoreUnavailable.
        """
        parameters = position._asdict()
        async with self._sessions.snapshot() as connection:
            revision, pruned = (await connection.execute(_SELECT_STATE)).one()
            check_position(position, revision, pruned)
            changes = [_to_latest(row) for row in await connection.execute(SELECT_CHANGES, parameters)]
            next_window = (
                None
                if len(changes) > BATCH_SIZE
                else (await connection.execute(_SELECT_NEXT_WINDOW, parameters)).one_or_none()
            )
        if len(changes) > BATCH_SIZE:
            return ChangeBatch(revision, changes[:-1], changes[-2].position, changes[-1].position.revision)
        if next_window is not None:
            return ChangeBatch(
                revision, changes, Position(next_window.revision, next_window.id - 1), next_window.revision
            )
        return ChangeBatch(revision, changes, end_of_revision(revision), None)


def _to_latest(row: Sequence[Any]) -> LatestChange:
    revision, line, id_, *members = row
    served = members[0] is not None
    return LatestChange(Position(revision, line), id_, StoredContact._make(members) if served else None)
