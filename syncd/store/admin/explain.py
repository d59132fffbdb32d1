"""Contacts in every state by a name, number or key, with their changes, holds and pending removals."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from syncd.core.contacts.text import fold, normalize_dialled
from syncd.core.sync.explain import KnownContact
from syncd.core.sync.history import HeldItem, PastChange, PendingRemoval
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.admin import approvals, pending_removals
from syncd.store.run.partition import build_members

_MAX_CONTACTS = 20
_MAX_CHANGES = 50

_FIND = f"""
SELECT c.id, c.type, c.source, c.source_key, c.state, c.served, c.state_since, c.gone_run,
       jsonb_strip_nulls({build_members("c")}) AS members
  FROM contact c
 WHERE c.id = CAST(:id AS uuid) OR c.source_key = :text OR c.source_key = lower(:text) OR c.user_name = :text
    OR c.name_folded = :folded OR c.email_address = :text
    OR (:number <> '' AND c.tails && ARRAY[right(:number, 7)] AND c.dialled @> ARRAY[:number])
    OR c.source_key = ANY (CAST(:keys AS text[]))
 ORDER BY c.state, c.name_folded COLLATE "C", c.id LIMIT {_MAX_CONTACTS}
"""  # noqa: S608 - columns of ours

# of a purged contact only lines of the change log are left
_PURGED = f"""
SELECT DISTINCT ON (contact_id) contact_id, type, source_key, at, run_id, jsonb_strip_nulls(old) AS old,
       (SELECT source FROM run WHERE run.id = change.run_id) AS source
  FROM change
 WHERE kind = 'purge' AND NOT EXISTS (SELECT FROM contact c WHERE c.id = contact_id)
   AND (contact_id = CAST(:id AS uuid) OR source_key = :text OR source_key = lower(:text)
        OR old ->> 'name' = :text OR old ->> 'userName' = :text)
 ORDER BY contact_id, id DESC LIMIT {_MAX_CONTACTS}
"""  # noqa: S608 - a number of ours

_LOG = f"""
SELECT revision, at, run_id, caller, contact_id, type, source_key, kind, reason, jsonb_strip_nulls(old),
       jsonb_strip_nulls(new) FROM (
    SELECT *, row_number() OVER (PARTITION BY contact_id ORDER BY id DESC) AS newest FROM change
     WHERE contact_id = ANY (CAST(:ids AS uuid[]))) lines
 WHERE newest <= {_MAX_CHANGES} ORDER BY id DESC
"""  # noqa: S608 - a number of ours


def find_contacts(
    connection: Connection, term: str, keys: Sequence[str], lifecycles: Mapping[str, Lifecycle]
) -> list[KnownContact]:
    """Return the contacts whose name, user name, number, e-mail address, source key or id is `term`, or key in `keys`.

    At most 20 stored contacts and 20 purged ones, each with its last 50 changes, newest first.
    """
    values = {
        "id": _parse_id(term),
        "text": term,
        "folded": fold(term),
        "number": normalize_dialled(term),
        "keys": list(keys),
    }
    rows = connection.execute(text(_FIND), values).mappings().all()
    purged = connection.execute(text(_PURGED), {"id": values["id"], "text": term}).mappings().all()
    ids = [row["id"] for row in rows] + [row["contact_id"] for row in purged]
    changes = _load_changes(connection, ids)
    held = approvals.load_held_items(connection, ids)
    removals = pending_removals.load_pending_removals(connection, lifecycles, ids)
    return [_to_known(row, changes, held, removals) for row in rows] + [_to_purged(row, changes) for row in purged]


def _parse_id(term: str) -> str | None:
    try:
        return str(UUID(term))
    except ValueError:
        return None


def _load_changes(connection: Connection, ids: Sequence[UUID]) -> dict[str, list[PastChange]]:
    changes: dict[str, list[PastChange]] = {}
    for row in connection.execute(text(_LOG), {"ids": list(ids)}):
        changes.setdefault(row.contact_id.hex, []).append(PastChange(*row)._replace(contact=row.contact_id.hex))
    return changes


def _to_known(
    row: Mapping[Any, Any],
    changes: Mapping[str, Sequence[PastChange]],
    held: Mapping[UUID, HeldItem],
    removals: Mapping[UUID, PendingRemoval],
) -> KnownContact:
    id_ = row["id"].hex
    return KnownContact(
        id_, row["type"], row["source"], row["source_key"], row["state"], row["served"], row["state_since"],
        row["gone_run"], row["members"], changes.get(id_, ()), held.get(row["id"]), removals.get(row["id"]),
    )  # fmt: skip


def _to_purged(row: Mapping[Any, Any], changes: Mapping[str, Sequence[PastChange]]) -> KnownContact:
    id_ = row["contact_id"].hex
    return KnownContact(
        id_, row["type"], row["source"], row["source_key"], "purged", False, row["at"], None, row["old"],
        changes.get(id_, ()),
    )  # fmt: skip
