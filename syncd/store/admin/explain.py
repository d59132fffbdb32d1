"""What the directory knows of a name, a number or a key: contacts in every state, their log, what is held of them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from syncd.core.contacts.text import dialled, fold
from syncd.core.sync.explain import Known
from syncd.core.sync.history import HeldItem, Leaver, PastChange
from syncd.core.sync.lifecycle import Lifecycle
from syncd.store.admin import approvals, pending_removals
from syncd.store.run.partition import members

_MOST = 20
_LINES = 50

_FIND = f"""
SELECT c.id, c.type, c.source, c.source_key, c.state, c.served, c.state_since, c.gone_run,
       jsonb_strip_nulls({members("c")}) AS members
  FROM contact c
 WHERE c.id = CAST(:id AS uuid) OR c.source_key = :text OR c.source_key = lower(:text) OR c.user_name = :text
    OR c.name_folded = :folded OR c.email_address = :text
    OR (:number <> '' AND c.tails && ARRAY[right(:number, 7)] AND c.dialled @> ARRAY[:number])
    OR c.source_key = ANY (CAST(:keys AS text[]))
 ORDER BY c.state, c.name_folded COLLATE "C", c.id LIMIT {_MOST}
"""  # noqa: S608 - columns of ours

# of who was purged only the log remembers anything
_PURGED = f"""
SELECT DISTINCT ON (contact_id) contact_id, type, source_key, at, run_id, jsonb_strip_nulls(old) AS old,
       (SELECT source FROM run WHERE run.id = change.run_id) AS source
  FROM change
 WHERE kind = 'purge' AND NOT EXISTS (SELECT FROM contact c WHERE c.id = contact_id)
   AND (contact_id = CAST(:id AS uuid) OR source_key = :text OR source_key = lower(:text)
        OR old ->> 'name' = :text OR old ->> 'userName' = :text)
 ORDER BY contact_id, id DESC LIMIT {_MOST}
"""  # noqa: S608 - a number of ours

_LOG = f"""
SELECT revision, at, run_id, caller, contact_id, type, source_key, kind, reason, jsonb_strip_nulls(old),
       jsonb_strip_nulls(new) FROM (
    SELECT *, row_number() OVER (PARTITION BY contact_id ORDER BY id DESC) AS newest FROM change
     WHERE contact_id = ANY (CAST(:ids AS uuid[]))) lines
 WHERE newest <= {_LINES} ORDER BY id DESC
"""  # noqa: S608 - a number of ours


def known(connection: Connection, asked: str, keys: Sequence[str], terms: Mapping[str, Lifecycle]) -> list[Known]:
    """The contacts of this name, user name, number, e-mail address, key or id, and those of these keys."""
    values = {"id": _identifier(asked), "text": asked, "folded": fold(asked), "number": dialled(asked), "keys": keys}
    rows = connection.execute(text(_FIND), values | {"keys": list(keys)}).mappings().all()
    purged = connection.execute(text(_PURGED), {"id": values["id"], "text": asked}).mappings().all()
    ids = [row["id"] for row in rows] + [row["contact_id"] for row in purged]
    lines = _log(connection, ids)
    held = approvals.of_contacts(connection, ids)
    leavers = pending_removals.of_contacts(connection, terms, ids)
    return [_contact(row, lines, held, leavers) for row in rows] + [_forgotten(row, lines) for row in purged]


def _identifier(asked: str) -> str | None:
    try:
        return str(UUID(asked))
    except ValueError:
        return None


def _log(connection: Connection, ids: Sequence[UUID]) -> dict[str, list[PastChange]]:
    found: dict[str, list[PastChange]] = {}
    for row in connection.execute(text(_LOG), {"ids": list(ids)}):
        found.setdefault(row.contact_id.hex, []).append(PastChange(*row)._replace(contact=row.contact_id.hex))
    return found


def _contact(
    row: Mapping[Any, Any],
    lines: Mapping[str, Sequence[PastChange]],
    held: Mapping[UUID, HeldItem],
    leavers: Mapping[UUID, Leaver],
) -> Known:
    id_ = row["id"].hex
    return Known(
        id_, row["type"], row["source"], row["source_key"], row["state"], row["served"], row["state_since"],
        row["gone_run"], row["members"], lines.get(id_, ()), held.get(row["id"]), leavers.get(row["id"]),
    )  # fmt: skip


def _forgotten(row: Mapping[Any, Any], lines: Mapping[str, Sequence[PastChange]]) -> Known:
    id_ = row["contact_id"].hex
    return Known(
        id_, row["type"], row["source"], row["source_key"], "purged", False, row["at"], None, row["old"],
        lines.get(id_, ()),
    )  # fmt: skip
