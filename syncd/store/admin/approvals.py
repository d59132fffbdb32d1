"""Held removals for operators, and decisions on them: approval or rejection."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from syncd.core.sync.history import ATTRIBUTE_PREFIX, HeldItem, PastRun, Slice, rfc3339
from syncd.core.sync.plan import Outcome
from syncd.errors import SyncdError
from syncd.store.admin import history
from syncd.store.run.holds import digest_items
from syncd.store.schema.tables import approval, held

_VALID = and_(approval.c.used_by.is_(None), approval.c.void.is_(None), approval.c.expires_at > func.now())
_HELD = select(
    held.c.source, held.c.job, held.c.run_id, held.c.item, held.c.source_key, held.c.name, held.c.code, held.c.reason,
    held.c.since, held.c.kept_by, held.c.kept_at, approval.c.approved_by, approval.c.expires_at,
).join_from(held, approval, and_(approval.c.run_id == held.c.run_id, _VALID), isouter=True)  # fmt: skip


def list_held_items(
    connection: Connection, sources: Sequence[str] = (), limit: int | None = None, offset: int = 0
) -> Slice[HeldItem]:
    """Return the held items of these sources (none: of all), ordered by source, job and name."""
    of_sources = held.c.source.in_(sources) if sources else literal(True)
    ordered = _HELD.where(of_sources).order_by(held.c.source, held.c.job, held.c.name, held.c.item)
    total = connection.execute(select(func.count()).select_from(held).where(of_sources)).scalar_one()
    return Slice(total, [HeldItem._make(row) for row in connection.execute(ordered.limit(limit).offset(offset))])


def load_held_items(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, HeldItem]:
    """Return the held item of each of these contacts that has one, by contact id."""
    of_contacts = held.c.item.in_([str(id_) for id_ in ids])
    return {UUID(row.item): HeldItem._make(row) for row in connection.execute(_HELD.where(of_contacts))}


class HoldDecision(NamedTuple):
    """Decision of an operator about everything that a run holds."""

    source: str
    job: str
    contacts: int
    attributes: tuple[str, ...]
    expires_at: datetime | None = None
    """Set for an approval only."""
    undone: int | None = None
    """The run that the held undo would reverse."""
    withdrawn: bool = False
    """True when a rejection has cancelled an approval of the list."""


def approve(connection: Connection, run_id: int, operator: str, lifetime: timedelta) -> HoldDecision:
    """Approve exactly the items that this run holds, for one use within `lifetime`.

    Raises SyncdError when the run does not exist, holds nothing (any more) or is approved already.
    """
    run = _load_run(connection, run_id)
    _check_not_approved(connection, run_id)
    items = _lock_items(connection, run)
    values = {
        "run_id": run_id, "source": run.source, "job": run.job, "list": digest_items(items), "items": len(items),
        "approved_by": operator, "approved_at": func.now(), "expires_at": func.now() + lifetime, "used_by": None,
        "void": None,
    }  # fmt: skip
    upsert = insert(approval).values(values).on_conflict_do_update(index_elements=[approval.c.run_id], set_=values)
    expires_at = connection.execute(upsert.returning(approval.c.expires_at)).scalar_one()
    connection.execute(update(held).where(held.c.run_id == run_id).values(kept_by=None, kept_at=None))
    return _to_decision(run, items)._replace(expires_at=expires_at)


def reject(connection: Connection, run_id: int, operator: str) -> HoldDecision:
    """Keep the items that this run holds until an approval, or until they are back at the source.

    Raises SyncdError when the run does not exist or holds nothing (any more).
    """
    run = _load_run(connection, run_id)
    items = _lock_items(connection, run)
    connection.execute(update(held).where(held.c.run_id == run_id).values(kept_by=operator, kept_at=func.now()))
    withdraw = update(approval).where(approval.c.run_id == run_id, _VALID).values(void=f"withdrawn by {operator}")
    return _to_decision(run, items)._replace(withdrawn=connection.execute(withdraw).rowcount > 0)


def load_source(connection: Connection, run_id: int) -> str:
    """Return the source of a run. Raises SyncdError when there is no such run."""
    return str(_load_run(connection, run_id).source)


def _load_run(connection: Connection, run_id: int) -> PastRun:
    run = history.load_run(connection, run_id)
    if run is None:
        raise SyncdError(f"there is no run {run_id}; `syncd held` lists what is held, and by which run")
    return run


def _check_not_approved(connection: Connection, run_id: int) -> None:
    """Raise SyncdError when the list of this run has a valid or used approval."""
    query = select(approval.c.approved_by, approval.c.expires_at, approval.c.used_by, _VALID.label("valid"))
    row = connection.execute(query.where(approval.c.run_id == run_id)).one_or_none()
    if row is not None and row.used_by is not None:
        raise SyncdError(f"what run {run_id} held was approved by {row.approved_by}, and run {row.used_by} removed it")
    if row is not None and row.valid:
        raise SyncdError(
            f"what run {run_id} holds is approved already, by {row.approved_by}, until "
            f"{rfc3339(row.expires_at)}; the next run makes use of it"
        )


def _lock_items(connection: Connection, run: PastRun) -> list[str]:
    """Lock and return the items that this run holds; a run that ends meanwhile waits for the lock.

    Raises SyncdError when there are none.
    """
    query = select(held.c.item).where(held.c.run_id == run.id).with_for_update()
    items = list(connection.scalars(query))
    if items:
        return items
    if not run.held and run.outcome != Outcome.HELD:
        raise SyncdError(f"run {run.id} of {run.source} held nothing")
    newer = select(func.max(held.c.run_id)).where(held.c.source == run.source, held.c.job == run.job)
    newer_id = connection.execute(newer).scalar_one()
    if newer_id is not None and newer_id > run.id:
        raise SyncdError(
            f"run {newer_id} has replaced the list of run {run.id}: look at it with `syncd held {run.source}`, "
            f"then use run {newer_id}"
        )
    raise SyncdError(f"what run {run.id} held is not held any more; there is nothing to decide")


def _to_decision(run: PastRun, items: Sequence[str]) -> HoldDecision:
    attributes = tuple(
        sorted(item.removeprefix(ATTRIBUTE_PREFIX) for item in items if item.startswith(ATTRIBUTE_PREFIX))
    )
    return HoldDecision(run.source, run.job, len(items) - len(attributes), attributes, undone=run.undone)
