"""Reading the change feed: what follows a position in the change log, in sections of bounded length.

No connection is held between two sections. Whatever changes meanwhile stands further on in the log, so a reader who has
come to the end has missed nothing and knows the directory of that moment.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, cast, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.feed import Latest, Position, Section, at, check
from syncd.core.contacts.models import StoredContact
from syncd.store.connection.transactions import Sessions
from syncd.store.contacts.reading import COLUMNS
from syncd.store.schema.tables import change, contact, directory

LENGTH = 500
"""Changes in a section."""
REACH = 20_000
"""Lines of the log that are looked at for a section, whatever becomes of them, so that no question takes long."""

_STATE = select(directory.c.revision, directory.c.pruned)
_AFTER = tuple_(change.c.revision, change.c.id) > tuple_(
    bindparam("revision", type_=BigInteger), bindparam("line", type_=BigInteger)
)
_ORDER = (change.c.revision, change.c.id)

_near = select(*_ORDER, change.c.contact_id, change.c.type).where(_AFTER).order_by(*_ORDER).limit(REACH).subquery()
_later = change.alias("later")
# only the last line of each contact counts: the others are passed over, by the index on contacts
_passed = (_later.c.contact_id == _near.c.contact_id) & (
    tuple_(_later.c.revision, _later.c.id) > tuple_(_near.c.revision, _near.c.id)
)
_served = (contact.c.id == _near.c.contact_id) & (contact.c.type == _near.c.type) & contact.c.served
CHANGES = (
    select(_near.c.revision, _near.c.id, func.replace(cast(_near.c.contact_id, Text), "-", ""), *COLUMNS)
    .select_from(_near.outerjoin(contact, _served))
    .where(~select(literal(1)).where(_passed).exists())
    .order_by(_near.c.revision, _near.c.id)
    .limit(LENGTH + 1)
)
_BEYOND = select(*_ORDER).where(_AFTER).order_by(*_ORDER).offset(REACH).limit(1)


class Feed:
    """The change feed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def after(self, position: Position) -> Section:
        """What follows a position, from one moment. Raises Gone when that is not known, and StoreUnavailable."""
        after = position._asdict()
        async with self._sessions.reading() as connection:
            revision, pruned = (await connection.execute(_STATE)).one()
            check(position, revision, pruned)
            found = [_latest(row) for row in await connection.execute(CHANGES, after)]
            beyond = None if len(found) > LENGTH else (await connection.execute(_BEYOND, after)).one_or_none()
        if len(found) > LENGTH:
            return Section(revision, found[:-1], found[-2].position, found[-1].position.revision)
        if beyond is not None:
            return Section(revision, found, Position(beyond.revision, beyond.id - 1), beyond.revision)
        return Section(revision, found, at(revision), None)


def _latest(row: Sequence[Any]) -> Latest:
    revision, line, id_, *members = row
    served = members[0] is not None
    return Latest(Position(revision, line), id_, StoredContact._make(members) if served else None)
