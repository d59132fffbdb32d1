"""The plan: one SQL diff of what is staged against what is stored, counted, shown, and applied set by set.

The caller holds one transaction from `make` to its commit or rollback; `plan` and `sync` part only there.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, RowMapping, text

from syncd.core.contact import LIST_MEMBERS, TEXT_MEMBERS, Type
from syncd.core.plan import Change, Counts
from syncd.core.record import Reject
from syncd.store.staging import CONTACT_COLUMNS, stage_unseen
from syncd.store.tables import PARTITIONS

# Right after a first load the statistics of the contacts are those of an empty table, and a nested loop over a hundred
# thousand of them takes minutes where a hash join takes a tenth of a second. Compiling these statements costs more than
# running them. The index of numbers takes a first load in large helpings at half the price.
_TUNING = """
SET LOCAL enable_nestloop = off;
SET LOCAL jit = off;
SET LOCAL work_mem = '64MB';
SET LOCAL gin_pending_list_limit = '64MB';
"""

_SHOWN_REJECTS = 20
_STORED_REJECTS = 1000

# One key twice: neither entry is believed, and the stored contact stays. The same entry twice is one entry.
_REPEATED = """
CREATE TEMPORARY TABLE twice ON COMMIT DROP AS
    SELECT source_key FROM stage GROUP BY source_key HAVING source_key IS NOT NULL AND count(*) > 1;
DELETE FROM stage a USING twice, stage b
 WHERE a.source_key = twice.source_key AND b.source_key = a.source_key AND a.digest = b.digest AND a.ctid > b.ctid;
UPDATE stage s SET reason = 'the key ' || s.source_key || ' appears more than once'
  FROM (SELECT source_key FROM twice JOIN stage USING (source_key) GROUP BY source_key HAVING count(*) > 1) again
 WHERE s.source_key = again.source_key AND s.reason IS NULL;
UPDATE stage s SET reason = 'the key ' || s.source_key || ' appears more than once'
  FROM {partition} c
 WHERE c.source = :source AND c.source_key = s.source_key AND c.state = 'active' AND s.reason IS NULL
   AND c.digest <> s.digest AND NOT EXISTS (SELECT FROM unseen u WHERE u.digest = c.digest);
"""

# `touch` renews a digest only: the entry's bytes differ, the contact does not.
_DIFF = """
CREATE TEMPORARY TABLE plan ON COMMIT DROP AS
SELECT CASE WHEN c.id IS NULL OR c.state <> 'active' THEN 'add'
            WHEN ({stored}) IS DISTINCT FROM ({staged}) THEN 'change'
            ELSE 'touch' END AS kind,
       coalesce(c.id, gen_random_uuid()) AS id, c.id IS NULL AS is_new, s.source_key
  FROM stage s
  LEFT JOIN {partition} c ON c.source = :source AND c.source_key = s.source_key
 WHERE s.reason IS NULL
UNION ALL
SELECT 'remove', c.id, false, c.source_key
  FROM {partition} c
 WHERE c.source = :source AND c.state = 'active'
   AND (c.digest IS NULL OR EXISTS (SELECT FROM unseen u WHERE u.digest = c.digest))
   AND NOT EXISTS (SELECT FROM stage s WHERE s.source_key = c.source_key)
"""

_COUNT = """
SELECT (SELECT count(*) FROM {partition} WHERE source = :source AND state = 'active') AS population,
       (SELECT count(*) FROM plan WHERE kind = 'add') AS added,
       (SELECT count(*) FROM plan WHERE kind = 'change') AS changed,
       (SELECT count(*) FROM plan WHERE kind = 'remove') AS removed,
       (SELECT count(*) FROM stage WHERE reason IS NOT NULL) AS rejected,
       (SELECT count(*) FROM stage WHERE reason IS NOT NULL AND source_key IS NULL) AS keyless
"""

_SHOW = """
SELECT p.kind, p.id, p.source_key, {old}, {new}
  FROM plan p
  LEFT JOIN {partition} c ON c.id = p.id
  LEFT JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind <> 'touch'
 ORDER BY p.kind, coalesce(s.name_folded, c.name_folded) COLLATE "C", p.id
"""

_INSERT = """
INSERT INTO {partition} (id, type, source, source_key, digest, {columns})
SELECT p.id, :type, :source, s.source_key, s.digest, {staged}
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.is_new
"""

_UPDATE = """
UPDATE {partition} c
   SET digest = s.digest, {assignments},
       state = 'active', state_since = CASE WHEN c.state = 'active' THEN c.state_since ELSE now() END
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind IN ('add', 'change') AND NOT p.is_new AND c.id = p.id
"""

_TOUCH = """
UPDATE {partition} c SET digest = s.digest
  FROM plan p JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind = 'touch' AND c.id = p.id AND c.digest IS DISTINCT FROM s.digest
"""

_REMOVE = """
UPDATE {partition} c SET state = 'removed', state_since = now(), digest = NULL
  FROM plan p
 WHERE p.kind = 'remove' AND c.id = p.id
"""


def make(connection: Connection, source: str, type_: Type, unseen: set[bytes]) -> Counts:
    """Compare what is staged with what is stored; the plan lives in temporary tables of this transaction."""
    stage_unseen(connection, unseen)
    connection.exec_driver_sql("ANALYZE stage (source_key, digest); ANALYZE unseen")
    connection.exec_driver_sql(_TUNING)
    for statement in _sql(_REPEATED, type_).split(";\n"):
        if statement.strip():
            connection.execute(text(statement), {"source": source} if ":source" in statement else {})
    connection.execute(text(_sql(_DIFF, type_)), {"source": source})
    return Counts(**connection.execute(text(_sql(_COUNT, type_)), {"source": source}).mappings().one())


def changes(connection: Connection, type_: Type) -> Iterator[Change]:
    """Every addition, change and removal of the plan, with old and new values, in the order of names."""
    rows = connection.execution_options(yield_per=1000).execute(text(_sql(_SHOW, type_)))
    for row in rows.mappings():
        old = {} if row["kind"] == "add" else _members(row, "old_")
        new = {} if row["kind"] == "remove" else _members(row, "new_")
        yield Change(row["kind"], row["id"].hex, row["source_key"], old, new)


def apply(connection: Connection, source: str, type_: Type, *, removals: bool) -> int | None:
    """Write the plan, with or without its removals; return the new revision, None when no contact changed."""
    parameters = {"source": source, "type": type_}
    statements = [_INSERT, _UPDATE, _TOUCH, *([_REMOVE] if removals else [])]
    written = 0
    for statement in statements:
        sql = _sql(statement, type_)
        used = {name: value for name, value in parameters.items() if f":{name}" in sql}
        count = connection.execute(text(sql), used).rowcount
        written += 0 if statement is _TOUCH else count
    return raise_revision(connection) if written else None


def raise_revision(connection: Connection) -> int:
    """Count one more revision and tell whoever listens. Last before the commit: its row lock orders the writers."""
    revision = connection.scalar(text("UPDATE directory SET revision = revision + 1 RETURNING revision"))
    connection.execute(text("SELECT pg_notify('syncd_revision', :revision)"), {"revision": str(revision)})
    return int(revision)


def keep_rejects(connection: Connection, source: str, run: int) -> tuple[Reject, ...]:
    """Store what this run rejected in place of what the last one did; return the first of those that are new."""
    fresh = connection.execute(
        text("""
        SELECT source_key, place, reason FROM stage s
         WHERE reason IS NOT NULL AND NOT EXISTS (
               SELECT FROM reject r WHERE r.source = :source AND r.place = s.place AND r.reason = s.reason)
         ORDER BY place LIMIT :shown
        """),
        {"source": source, "shown": _SHOWN_REJECTS},
    ).all()
    connection.execute(text("DELETE FROM reject WHERE source = :source"), {"source": source})
    connection.execute(
        text("""
        INSERT INTO reject (run_id, source, source_key, place, reason, record)
        SELECT :run, :source, source_key, place, reason, coalesce(record, '{}'::jsonb)
          FROM stage WHERE reason IS NOT NULL ORDER BY place LIMIT :stored
        """),
        {"run": run, "source": source, "stored": _STORED_REJECTS},
    )
    return tuple(Reject(row.source_key, row.place, row.reason, {}) for row in fresh)


def _sql(template: str, type_: Type) -> str:
    """Fill in the names of the partition and of its columns: all of them ours, none of them a value."""
    return template.format(
        partition=PARTITIONS[type_],
        columns=", ".join(CONTACT_COLUMNS),
        stored=", ".join(f"c.{column}" for column in CONTACT_COLUMNS),
        staged=", ".join(f"s.{column}" for column in CONTACT_COLUMNS),
        assignments=", ".join(f"{column} = s.{column}" for column in CONTACT_COLUMNS),
        old=", ".join(f"c.{column} AS old_{column}" for column in _SHOWN),
        new=", ".join(f"s.{column} AS new_{column}" for column in _SHOWN),
    )


_SHOWN = ("numbers", *TEXT_MEMBERS.values(), *LIST_MEMBERS.values())


def _members(row: RowMapping, side: str) -> dict[str, object]:
    """The members that one side of a change has, by their wire names."""
    found: dict[str, object] = {
        member: row[side + column] for member, column in (TEXT_MEMBERS | LIST_MEMBERS).items() if row[side + column]
    }
    if row[f"{side}numbers"]:
        found["phoneNumbers"] = row[f"{side}numbers"]
    return found
