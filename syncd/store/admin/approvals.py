"""What is held, as people see it, and their word on it: approve, or reject."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from syncd.core.sync.history import ATTRIBUTE, HeldItem, Listing, PastRun, moment
from syncd.core.sync.plan import Outcome
from syncd.errors import SyncdError
from syncd.store.admin import history
from syncd.store.run.holds import list_digest
from syncd.store.schema.tables import approval, held

_VALID = and_(approval.c.used_by.is_(None), approval.c.void.is_(None), approval.c.expires_at > func.now())
_HELD = select(
    held.c.source, held.c.job, held.c.run_id, held.c.item, held.c.source_key, held.c.name, held.c.code, held.c.reason,
    held.c.since, held.c.kept_by, held.c.kept_at, approval.c.approved_by, approval.c.expires_at,
).join_from(held, approval, and_(approval.c.run_id == held.c.run_id, _VALID), isouter=True)  # fmt: skip


def listing(
    connection: Connection, sources: Sequence[str] = (), limit: int | None = None, offset: int = 0
) -> Listing[HeldItem]:
    """What is held of these sources, or of all."""
    mine = held.c.source.in_(sources) if sources else literal(True)
    ordered = _HELD.where(mine).order_by(held.c.source, held.c.job, held.c.name, held.c.item)
    total = connection.execute(select(func.count()).select_from(held).where(mine)).scalar_one()
    return Listing(total, [HeldItem._make(row) for row in connection.execute(ordered.limit(limit).offset(offset))])


def of_contacts(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, HeldItem]:
    """What is held of these contacts, by their ids."""
    wanted = held.c.item.in_([str(id_) for id_ in ids])
    return {UUID(row.item): HeldItem._make(row) for row in connection.execute(_HELD.where(wanted))}


class Word(NamedTuple):
    """What a person has said about the list of a run."""

    source: str
    job: str
    contacts: int
    attributes: tuple[str, ...]
    expires_at: datetime | None = None
    """Of an approval."""
    undone: int | None = None
    """The run that the held one would take back."""
    withdrawn: bool = False
    """True when a rejection has ended an approval of the list."""


def approve(connection: Connection, number: int, who: str, expires: timedelta) -> Word:
    """Release exactly what this run holds, once, until that time has passed. Raises SyncdError."""
    found = _run(connection, number)
    _unused(connection, number)
    items = _items(connection, found)
    values = {
        "run_id": number, "source": found.source, "job": found.job, "list": list_digest(items), "items": len(items),
        "approved_by": who, "approved_at": func.now(), "expires_at": func.now() + expires, "used_by": None,
        "void": None,
    }  # fmt: skip
    given = insert(approval).values(values)
    again = given.on_conflict_do_update(index_elements=[approval.c.run_id], set_=values)
    until = connection.execute(again.returning(approval.c.expires_at)).scalar_one()
    connection.execute(update(held).where(held.c.run_id == number).values(kept_by=None, kept_at=None))
    return _word(found, items)._replace(expires_at=until)


def reject(connection: Connection, number: int, who: str) -> Word:
    """Keep what this run holds until somebody approves it, or it is back at the source. Raises SyncdError."""
    found = _run(connection, number)
    items = _items(connection, found)
    connection.execute(update(held).where(held.c.run_id == number).values(kept_by=who, kept_at=func.now()))
    withdrawn = update(approval).where(approval.c.run_id == number, _VALID).values(void=f"withdrawn by {who}")
    return _word(found, items)._replace(withdrawn=connection.execute(withdrawn).rowcount > 0)


def source_of(connection: Connection, number: int) -> str:
    """The source that a run was for. Raises SyncdError when there is no such run."""
    return str(_run(connection, number).source)


def _run(connection: Connection, number: int) -> PastRun:
    found = history.one_run(connection, number)
    if found is None:
        raise SyncdError(f"there is no run {number}; `syncd held` lists what is held, and by which run")
    return found


def _unused(connection: Connection, number: int) -> None:
    """Raises SyncdError when the list of this run was approved and that still stands, or was made use of."""
    given = select(approval.c.approved_by, approval.c.expires_at, approval.c.used_by, _VALID.label("valid"))
    row = connection.execute(given.where(approval.c.run_id == number)).one_or_none()
    if row is not None and row.used_by is not None:
        raise SyncdError(f"what run {number} held was approved by {row.approved_by}, and run {row.used_by} removed it")
    if row is not None and row.valid:
        raise SyncdError(
            f"what run {number} holds is approved already, by {row.approved_by}, until "
            f"{moment(row.expires_at)}; the next run makes use of it"
        )


def _items(connection: Connection, found: PastRun) -> list[str]:
    """What this run holds, if it is still the one that holds it. The rows are locked: a run that ends now waits."""
    items = select(held.c.item).where(held.c.run_id == found.id).with_for_update()
    listed = list(connection.scalars(items))
    if listed:
        return listed
    if not found.held and found.outcome != Outcome.HELD:
        raise SyncdError(f"run {found.id} of {found.source} held nothing")
    newer = select(func.max(held.c.run_id)).where(held.c.source == found.source, held.c.job == found.job)
    number = connection.execute(newer).scalar_one()
    if number is not None and number > found.id:
        raise SyncdError(
            f"run {number} has replaced the list of run {found.id}: look at it with `syncd held {found.source}`, "
            f"then use run {number}"
        )
    raise SyncdError(f"what run {found.id} held is not held any more; there is nothing to decide")


def _word(found: PastRun, items: Sequence[str]) -> Word:
    attributes = tuple(sorted(item.removeprefix(ATTRIBUTE) for item in items if item.startswith(ATTRIBUTE)))
    return Word(found.source, found.job, len(items) - len(attributes), attributes, undone=found.undone)
