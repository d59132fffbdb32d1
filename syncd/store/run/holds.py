"""What the guard holds back: marked in the plan, listed for people, and released by their word."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import Type
from syncd.core.sync.guard import Action, Decision
from syncd.core.sync.history import ATTRIBUTE
from syncd.core.sync.plan import JobKind, Report
from syncd.core.sync.record import Sight, Sighting
from syncd.store.run.partition import execute

_HOLD_ALL = """
UPDATE plan SET hold = :code, doubt = :why WHERE kind IN ('miss', 'remove', 'purge') AND hold IS NULL;
"""
_WAIT = """
DELETE FROM plan WHERE kind = 'remove' AND was = 'missing' AND hold IS NULL
   AND EXISTS (SELECT FROM plan WHERE kind IN ('miss', 'remove') AND was = 'active' AND hold IS NULL)
"""
_HOLD_ROWS = """
UPDATE plan p SET hold = d.code, doubt = d.sentence
  FROM unnest(CAST(:keys AS text[]), CAST(:codes AS text[]), CAST(:sentences AS text[])) AS d (key, code, sentence)
 WHERE p.source_key = d.key AND p.kind IN ('miss', 'remove')
"""
_ELSEWHERE = """
UPDATE plan p SET reason = 'out of scope, found at ' || e.place
  FROM unnest(CAST(:keys AS text[]), CAST(:places AS text[])) AS e (key, place)
 WHERE p.source_key = e.key AND p.kind IN ('miss', 'remove')
"""


def remark(connection: Connection, sightings: Iterable[Sighting]) -> None:
    """Note where those were found who are out of scope."""
    elsewhere = [sighting for sighting in sightings if sighting.sight is Sight.ELSEWHERE]
    if elsewhere:
        values = {"keys": [s.key for s in elsewhere], "places": [s.place for s in elsewhere]}
        connection.execute(text(_ELSEWHERE), values)


def hold(connection: Connection, decision: Decision) -> None:
    """Mark what the guard holds. While it holds those who leave, nobody's grace ends either."""
    connection.exec_driver_sql("UPDATE plan SET doubt = 'a person decided to keep it' WHERE hold = 'kept'")
    if decision.action is Action.HOLD:
        connection.exec_driver_sql(_WAIT)
        connection.execute(text(_HOLD_ALL), {"code": decision.code, "why": decision.cause})
    elif decision.rows:
        rows = decision.rows
        codes, sentences = [d.code for d in rows.values()], [d.sentence for d in rows.values()]
        connection.execute(text(_HOLD_ROWS), {"keys": list(rows), "codes": codes, "sentences": sentences})


def held_items(connection: Connection) -> list[str]:
    """The ids of the contacts whose rows are held."""
    return [str(id_) for id_ in connection.scalars(text("SELECT id FROM plan WHERE hold IS NOT NULL"))]


def leaving_items(connection: Connection) -> list[str]:
    """The ids of the contacts that leave, or are forgotten, without being held."""
    query = (
        "SELECT id FROM plan WHERE (was = 'active' AND kind IN ('miss', 'remove') OR kind = 'purge') AND hold IS NULL"
    )
    return [str(id_) for id_ in connection.scalars(text(query))]


def list_digest(items: Iterable[str]) -> bytes:
    """SHA-256 of a list of what is held, in whatever order it comes."""
    return hashlib.sha256("\n".join(sorted(items)).encode()).digest()


def release(connection: Connection, items: Sequence[str], who: str) -> None:
    """A person approved this list: it is removed, without a grace, for that was for doubt."""
    ids = [item for item in items if not item.startswith(ATTRIBUTE)]
    connection.execute(
        text("""
        UPDATE plan SET hold = NULL, doubt = NULL, approved = true, reason = 'approved by ' || :who,
               kind = CASE WHEN kind = 'miss' THEN 'remove' ELSE kind END
         WHERE id = ANY (CAST(:ids AS uuid[]))
        """),
        {"who": who, "ids": ids},
    )


def held_count(connection: Connection) -> int:
    """How many contacts of the plan are held."""
    return int(connection.execute(text("SELECT count(*) FROM plan WHERE hold IS NOT NULL")).scalar_one())


def unapproved_leavers(connection: Connection) -> int:
    """How many active contacts the plan lets go without a person's word."""
    query = """
    SELECT count(*) FROM plan
     WHERE kind IN ('miss', 'remove') AND was = 'active' AND hold IS NULL AND NOT approved
    """
    return int(connection.execute(text(query)).scalar_one())


def attribute_items(attributes: Sequence[str]) -> list[str]:
    """How attributes whose loss is held are called in a list of what is held."""
    return [f"{ATTRIBUTE}{name}" for name in attributes]


class Approval(NamedTuple):
    """A person's word that has not been used yet."""

    run_id: int
    list: bytes
    items: int
    approved_by: str


def pending(connection: Connection, source: str, job: JobKind) -> Approval | None:
    """The approval that a run may use now; None when there is none, or it has expired."""
    row = connection.execute(
        text("""
        SELECT run_id, list, items, approved_by FROM approval
         WHERE source = :source AND job = :job AND used_by IS NULL AND void IS NULL AND expires_at > now()
         ORDER BY approved_at DESC LIMIT 1
        """),
        {"source": source, "job": job},
    ).one_or_none()
    return None if row is None else Approval(row.run_id, bytes(row.list), row.items, row.approved_by)


def difference(approval: Approval, items: Sequence[str]) -> str:
    """Why an approval does not fit what is held now."""
    if not items:
        return "nothing is held any more"
    return f"{approval.items} removals were approved, now {len(items)} are held and they are not the same"


_LIST = """
INSERT INTO held (source, job, item, run_id, source_key, name, code, reason, kept_by, kept_at)
SELECT :source, :job, c.id::text, :run, p.source_key, c.name, p.hold, p.doubt, h.kept_by, h.kept_at
  FROM plan p JOIN {partition} c ON c.id = p.id
  LEFT JOIN held h ON h.source = :source AND h.job = :job AND h.item = c.id::text
 WHERE p.hold IS NOT NULL
ON CONFLICT (source, job, item) DO UPDATE SET run_id = excluded.run_id, code = excluded.code, reason = excluded.reason
"""
_LIST_ATTRIBUTES = """
INSERT INTO held (source, job, item, run_id, name, code, reason)
SELECT :source, :job, 'attribute ' || name, :run, name, 'attribute', :why FROM unnest(CAST(:names AS text[])) AS name
ON CONFLICT (source, job, item) DO UPDATE SET run_id = excluded.run_id, reason = excluded.reason
"""
_FORGET = "DELETE FROM held WHERE source = :source AND job = :job AND run_id <> :run"
_USE = """
UPDATE approval SET used_by = CASE WHEN :void = '' THEN CAST(:run AS bigint) END, void = nullif(:void, '')
 WHERE source = :source AND job = :job AND used_by IS NULL AND void IS NULL AND run_id < :run
"""


def store(connection: Connection, report: Report, type_: Type) -> None:
    """List what this run holds in place of what the last one held, and note what became of an approval."""
    values: dict[str, Any] = {"source": report.source, "job": report.job, "run": report.run}
    execute(connection, _LIST, type_, **values)
    if report.attributes:
        names = {"names": list(report.attributes), "why": report.why}
        connection.execute(text(_LIST_ATTRIBUTES), values | names)
    connection.execute(text(_FORGET), values)
    if report.approved is not None or report.void:
        connection.execute(text(_USE), values | {"void": report.void})
