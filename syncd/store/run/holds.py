"""Held removals: marked in the plan, listed for operators, released by an approval."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import ContactType
from syncd.core.sync.guard import Action, GuardDecision
from syncd.core.sync.history import ATTRIBUTE_PREFIX
from syncd.core.sync.plan import JobKind, Report
from syncd.core.sync.record import Presence, PresenceCheck
from syncd.store.run.partition import execute

_HOLD_ALL = """
UPDATE plan SET hold = :code, doubt = :why WHERE kind IN ('miss', 'remove', 'purge') AND hold IS NULL;
"""
_KEEP_MISSING = """
DELETE FROM plan WHERE kind = 'remove' AND was = 'missing' AND hold IS NULL
   AND EXISTS (SELECT FROM plan WHERE kind IN ('miss', 'remove') AND was = 'active' AND hold IS NULL)
"""
_HOLD_ROWS = """
UPDATE plan p SET hold = d.code, doubt = d.sentence
  FROM unnest(CAST(:keys AS text[]), CAST(:codes AS text[]), CAST(:sentences AS text[])) AS d (key, code, sentence)
 WHERE p.source_key = d.key AND p.kind IN ('miss', 'remove')
"""
_NOTE_MOVED = """
UPDATE plan p SET reason = 'out of scope, found at ' || e.place
  FROM unnest(CAST(:keys AS text[]), CAST(:places AS text[])) AS e (key, place)
 WHERE p.source_key = e.key AND p.kind IN ('miss', 'remove')
"""


def note_moved(connection: Connection, checks: Iterable[PresenceCheck]) -> None:
    """Note in the plan where entries that are out of scope were found."""
    moved = [sighting for sighting in checks if sighting.presence is Presence.ELSEWHERE]
    if moved:
        values = {"keys": [s.key for s in moved], "places": [s.location for s in moved]}
        connection.execute(text(_NOTE_MOVED), values)


def mark_holds(connection: Connection, decision: GuardDecision) -> None:
    """Mark in the plan what the guard holds. While contacts that leave are held, no grace period ends either."""
    connection.exec_driver_sql("UPDATE plan SET doubt = 'a person decided to keep it' WHERE hold = 'kept'")
    if decision.action is Action.HOLD:
        connection.exec_driver_sql(_KEEP_MISSING)
        connection.execute(text(_HOLD_ALL), {"code": decision.code, "why": decision.cause})
    elif decision.held_keys:
        reasons = decision.held_keys.values()
        codes, sentences = [reason.code for reason in reasons], [reason.sentence for reason in reasons]
        values = {"keys": list(decision.held_keys), "codes": codes, "sentences": sentences}
        connection.execute(text(_HOLD_ROWS), values)


def select_held_items(connection: Connection) -> list[str]:
    """Return the ids of the contacts whose removal is held."""
    return [str(id_) for id_ in connection.scalars(text("SELECT id FROM plan WHERE hold IS NOT NULL"))]


def select_leaving_items(connection: Connection) -> list[str]:
    """Return the ids of the contacts that leave or are purged without a hold."""
    query = (
        "SELECT id FROM plan WHERE (was = 'active' AND kind IN ('miss', 'remove') OR kind = 'purge') AND hold IS NULL"
    )
    return [str(id_) for id_ in connection.scalars(text(query))]


def digest_items(items: Iterable[str]) -> bytes:
    """Return the SHA-256 of a list of held items, independent of their order."""
    return hashlib.sha256("\n".join(sorted(items)).encode()).digest()


def release(connection: Connection, items: Sequence[str], operator: str) -> None:
    """Release these items, which the operator approved; they are removed without a grace period."""
    ids = [item for item in items if not item.startswith(ATTRIBUTE_PREFIX)]
    connection.execute(
        text("""
        UPDATE plan SET hold = NULL, doubt = NULL, approved = true, reason = 'approved by ' || :who,
               kind = CASE WHEN kind = 'miss' THEN 'remove' ELSE kind END
         WHERE id = ANY (CAST(:ids AS uuid[]))
        """),
        {"who": operator, "ids": ids},
    )


def count_held(connection: Connection) -> int:
    """Return the number of held contacts in the plan."""
    return int(connection.execute(text("SELECT count(*) FROM plan WHERE hold IS NOT NULL")).scalar_one())


def count_unapproved_removals(connection: Connection) -> int:
    """Return the number of active contacts that leave without an approval."""
    query = """
    SELECT count(*) FROM plan
     WHERE kind IN ('miss', 'remove') AND was = 'active' AND hold IS NULL AND NOT approved
    """
    return int(connection.execute(text(query)).scalar_one())


def to_attribute_items(attributes: Sequence[str]) -> list[str]:
    """Return the held items that stand for the loss of these attributes."""
    return [f"{ATTRIBUTE_PREFIX}{name}" for name in attributes]


class Approval(NamedTuple):
    """Approval that has not been used yet."""

    run_id: int
    list: bytes
    """SHA-256 of the approved items, see `digest_items`."""
    items: int
    """Number of approved items."""
    approved_by: str


def find_approval(connection: Connection, source: str, job: JobKind) -> Approval | None:
    """Return the newest approval that a run may use now; None when there is none, or it has expired."""
    row = connection.execute(
        text("""
        SELECT run_id, list, items, approved_by FROM approval
         WHERE source = :source AND job = :job AND used_by IS NULL AND void IS NULL AND expires_at > now()
         ORDER BY approved_at DESC LIMIT 1
        """),
        {"source": source, "job": job},
    ).one_or_none()
    return None if row is None else Approval(row.run_id, bytes(row.list), row.items, row.approved_by)


def explain_void(approval: Approval, items: Sequence[str]) -> str:
    """Return the sentence that an approval is void, because it does not match the items held now."""
    reason = f"{approval.items} removals were approved, now {len(items)} are held and they are not the same"
    return f"the approval of run {approval.run_id} is void: {reason if items else 'nothing is held any more'}"


_INSERT_CONTACTS = """
INSERT INTO held (source, job, item, run_id, source_key, name, code, reason, kept_by, kept_at)
SELECT :source, :job, c.id::text, :run, p.source_key, c.name, p.hold, p.doubt, h.kept_by, h.kept_at
  FROM plan p JOIN {partition} c ON c.id = p.id
  LEFT JOIN held h ON h.source = :source AND h.job = :job AND h.item = c.id::text
 WHERE p.hold IS NOT NULL
ON CONFLICT (source, job, item) DO UPDATE SET run_id = excluded.run_id, code = excluded.code, reason = excluded.reason
"""
_INSERT_ATTRIBUTES = """
INSERT INTO held (source, job, item, run_id, name, code, reason)
SELECT :source, :job, 'attribute ' || name, :run, name, 'attribute', :why FROM unnest(CAST(:names AS text[])) AS name
ON CONFLICT (source, job, item) DO UPDATE SET run_id = excluded.run_id, reason = excluded.reason
"""
_DELETE_OLD = "DELETE FROM held WHERE source = :source AND job = :job AND run_id <> :run"
_CLOSE_APPROVALS = """
UPDATE approval SET used_by = CASE WHEN :void = '' THEN CAST(:run AS bigint) END, void = nullif(:void, '')
 WHERE source = :source AND job = :job AND used_by IS NULL AND void IS NULL AND run_id < :run
"""


def save_holds(connection: Connection, report: Report, type_: ContactType) -> None:
    """Replace the held items of the last run by those of this one, and mark its approval as used or void."""
    values: dict[str, Any] = {"source": report.source, "job": report.job, "run": report.run}
    execute(connection, _INSERT_CONTACTS, type_, **values)
    if report.held_attributes:
        names = {"names": list(report.held_attributes), "why": report.reason}
        connection.execute(text(_INSERT_ATTRIBUTES), values | names)
    connection.execute(text(_DELETE_OLD), values)
    if report.approved is not None or report.invalid_approval:
        connection.execute(text(_CLOSE_APPROVALS), values | {"void": report.invalid_approval})
