"""Plan of a run: an SQL diff of staged against stored contacts.

The caller holds one transaction from `make` to its commit or rollback; only that last step differs between `syncd plan`
and `syncd sync`.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, ContactType
from syncd.core.contacts.text import normalize_dialled
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.plan import Change, Counts, MissingSentinel
from syncd.core.sync.sentinel import Sentinel
from syncd.store.run.partition import execute, fill_template
from syncd.store.run.staging import stage_remaining

# Right after a first load the statistics of the contacts are those of an empty table, and a nested loop over 100,000 of
# them takes minutes where a hash join takes 0.1 s. JIT compilation of these statements costs more than running them. A
# large pending list halves the cost of the search indexes in a first load.
_SET_OPTIONS = """
SET LOCAL enable_nestloop = off;
SET LOCAL jit = off;
SET LOCAL work_mem = '64MB';
SET LOCAL gin_pending_list_limit = '256MB';
"""

# Two entries with one key are both rejected, and the stored contact stays. Two equal entries count as one.
_REJECT_DUPLICATES = """
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
   AND c.digest <> s.digest AND NOT EXISTS (SELECT FROM unseen u WHERE u.digest = c.digest)
"""

# `was` is the state of the stored contact, NULL for a new one; `hold` is the code of the reason why the guard holds the
# row, `doubt` the same as a sentence, `reason` any other remark
_TABLE = """
CREATE TEMPORARY TABLE plan (
    kind text, id uuid, was text, source_key text, hold text, doubt text, reason text, approved boolean DEFAULT false
) ON COMMIT DROP
"""

# `touch` renews the digest and the index columns: the bytes of the entry or the code differ, the contact does not.
_ARRIVALS = """
INSERT INTO plan (kind, id, was, source_key)
SELECT CASE WHEN c.id IS NULL THEN 'add'
            WHEN c.state <> 'active' THEN 'return'
            WHEN ({stored_members}) IS DISTINCT FROM ({staged_members}) THEN 'change'
            ELSE 'touch' END,
       coalesce(c.id, gen_random_uuid()), c.state, s.source_key
  FROM stage s
  LEFT JOIN {partition} c ON c.source = :source AND c.source_key = s.source_key
 WHERE s.reason IS NULL AND NOT EXISTS (SELECT FROM plan p WHERE p.source_key = s.source_key)
"""

# active contacts that are absent, and missing ones whose grace is over: by the clock and by runs that count
_DEPARTURES = """
INSERT INTO plan (kind, id, was, source_key)
SELECT :departure, c.id, c.state, c.source_key
  FROM {partition} c
 WHERE c.source = :source AND c.state = 'active'
   AND (c.digest IS NULL OR EXISTS (SELECT FROM unseen u WHERE u.digest = c.digest))
   AND NOT EXISTS (SELECT FROM stage s WHERE s.source_key = c.source_key)
"""
_GRACE_OVER = """
INSERT INTO plan (kind, id, was, source_key)
SELECT 'remove', c.id, c.state, c.source_key
  FROM {partition} c
 WHERE c.source = :source AND c.state = 'missing' AND c.state_since <= now() - :grace
   AND c.gone_run <= coalesce(CASE WHEN :runs <= 1 THEN 9223372036854775807 ELSE (
           SELECT id FROM run WHERE run.source = :source AND job = 'sync' AND settled
            ORDER BY id DESC OFFSET greatest(:runs - 2, 0) LIMIT 1) END, 0)
   AND NOT EXISTS (SELECT FROM stage s WHERE s.source_key = c.source_key)
"""

# contacts that an operator decided to keep
_KEPT = """
UPDATE plan p SET hold = 'kept' FROM held h
 WHERE h.source = :source AND h.job = 'sync' AND h.kept_by IS NOT NULL AND h.item = p.id::text
   AND p.kind IN ('miss', 'remove')
"""

_COUNT = """
SELECT (SELECT count(*) FROM {partition} WHERE source = :source AND state = 'active') AS population,
       count(*) FILTER (WHERE kind IN ('add', 'return')) AS added,
       count(*) FILTER (WHERE kind = 'change') AS changed,
       count(*) FILTER (WHERE kind = 'miss' AND hold IS NULL) AS missing,
       count(*) FILTER (WHERE kind = 'remove' AND hold IS NULL) AS removed,
       count(*) FILTER (WHERE kind = 'purge' AND hold IS NULL) AS purged,
       count(*) FILTER (WHERE kind IN ('miss', 'remove') AND was = 'active' AND hold IS NULL) AS leaving,
       count(*) FILTER (WHERE hold = 'kept') AS kept,
       (SELECT count(*) FROM stage WHERE reason IS NOT NULL) AS rejected,
       (SELECT count(*) FROM stage WHERE reason IS NOT NULL AND source_key IS NULL) AS keyless,
       (SELECT count(*) FROM stage WHERE reason IS NOT NULL AND name IS NOT NULL) AS doubled
  FROM plan
"""

_REKEYED = """
SELECT count(*) FROM plan p JOIN {partition} c ON c.id = p.id
 WHERE p.kind IN ('miss', 'remove') AND p.was = 'active' AND EXISTS (
       SELECT FROM plan n JOIN stage s ON s.source_key = n.source_key AND s.reason IS NULL
        WHERE n.kind = 'add'
          AND CASE WHEN c.user_name IS NULL THEN s.name = c.name ELSE s.user_name = c.user_name END)
"""

_SELECT_CHANGES = """
SELECT p.kind, p.id, p.source_key, p.doubt, p.reason,
       CASE WHEN p.kind = 'add' THEN '{{}}'::jsonb ELSE jsonb_strip_nulls({old}) END AS old,
       CASE WHEN p.kind IN ('miss', 'remove', 'purge') THEN '{{}}'::jsonb ELSE jsonb_strip_nulls({new}) END AS new
  FROM plan p
  LEFT JOIN {partition} c ON c.id = p.id
  LEFT JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.kind <> 'touch'
 ORDER BY p.kind, coalesce(s.name_folded, c.name_folded) COLLATE "C", p.source_key
"""


def plan_arrivals(connection: Connection, source: str, type_: ContactType) -> None:
    """Plan the staged entries that are not in the plan yet."""
    execute(connection, _ARRIVALS, type_, source=source)


def make(connection: Connection, source: str, type_: ContactType, remaining: set[bytes], lifecycle: Lifecycle) -> None:
    """Plan a sync in temporary tables of this transaction.

    `remaining`: digests of stored contacts that the read did not match.
    """
    begin(connection, remaining)
    for statement in _REJECT_DUPLICATES.split(";\n"):
        execute(connection, statement, type_, source=source)
    plan_arrivals(connection, source, type_)
    departure = "remove" if lifecycle.is_immediate else "miss"
    execute(connection, _DEPARTURES, type_, source=source, departure=departure)
    execute(connection, _GRACE_OVER, type_, source=source, grace=lifecycle.grace, runs=lifecycle.grace_runs)
    execute(connection, _KEPT, type_, source=source)


def begin(connection: Connection, remaining: set[bytes]) -> None:
    """Create an empty plan, and set statistics and planner options for filling it."""
    stage_remaining(connection, remaining)
    connection.exec_driver_sql("ANALYZE stage (source_key, digest); ANALYZE unseen")
    connection.exec_driver_sql(_SET_OPTIONS)
    connection.exec_driver_sql(_TABLE)


def count(connection: Connection, source: str, type_: ContactType) -> Counts:
    """Return the counts of the plan, without held rows."""
    return Counts(**execute(connection, _COUNT, type_, source=source).mappings().one())


def count_rekeyed(connection: Connection, type_: ContactType) -> int:
    """Count the contacts that leave and seem to arrive again under another key."""
    return int(execute(connection, _REKEYED, type_).scalar_one())


def select_changes(connection: Connection, type_: ContactType) -> Iterator[Change]:
    """Yield the rows of the plan that change a contact, with old and new values, ordered by kind and name."""
    statement = text(fill_template(_SELECT_CHANGES, type_)).execution_options(yield_per=1000)
    for row in connection.execute(statement).mappings():
        yield Change(
            row["kind"], row["id"].hex, row["source_key"], row["old"], row["new"], row["doubt"] or "",
            row["reason"] or "",
        )  # fmt: skip


def select_missing_keys(connection: Connection) -> list[str]:
    """Return the keys of the contacts that become missing or removed and are not held."""
    return list(
        connection.scalars(text("SELECT source_key FROM plan WHERE kind IN ('miss', 'remove') AND hold IS NULL"))
    )


_PRESENT = """
SELECT (SELECT count(*) FROM stage s WHERE s.reason IS NULL AND {of_staged})
     + (SELECT count(*) FROM {{partition}} c
         WHERE c.source = :source AND c.state = 'active' AND {of_stored}
           AND NOT EXISTS (SELECT FROM stage s WHERE s.source_key = c.source_key AND s.reason IS NULL)
           AND NOT EXISTS (SELECT FROM plan p WHERE p.id = c.id AND p.kind IN ('miss', 'remove')))
"""


def find_missing_sentinels(
    connection: Connection, source: str, type_: ContactType, sentinels: Sequence[Sentinel]
) -> tuple[MissingSentinel, ...]:
    """Return the sentinels that fewer active contacts than required would match after this plan."""
    missing = []
    for sentinel in sentinels:
        query = _PRESENT.format(
            of_staged=_build_sentinel_condition("s", sentinel), of_stored=_build_sentinel_condition("c", sentinel)
        )
        values = {
            f"v{n}": normalize_dialled(value) if name == "phoneNumber" else value
            for n, (name, value) in enumerate(sentinel.members.items())
        }
        present = int(execute(connection, query, type_, source=source, **values).scalar_one())
        if present < sentinel.at_least:
            missing.append(MissingSentinel(str(sentinel), sentinel.at_least, present))
    return tuple(missing)


def _build_sentinel_condition(alias: str, sentinel: Sentinel) -> str:
    lists = LIST_MEMBERS | {"phoneNumber": "dialled"}
    terms = [
        f":v{n} = ANY ({alias}.{lists[name]})" if name in lists else f"{alias}.{TEXT_MEMBERS[name]} = :v{n}"
        for n, name in enumerate(sentinel.members)
    ]
    return " AND ".join(terms) or "true"
