"""Mapped attributes, and members, that vanish from the entries of a source: counted, and what they gave kept."""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, text

from syncd.core.contacts.contact import COLUMNS, Contact, Type
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Loss, Staged
from syncd.store.run.partition import contact_from, execute
from syncd.store.run.plan import arrive
from syncd.store.run.staging import stage_again

_LOST = """
SELECT {losses} FROM plan p
  JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was = 'active'
"""
_NOTHING = {"numbers": "'[]'::jsonb", "roles": "'{{}}'::text[]", "business_units": "'{{}}'::text[]"}
"""What a column holds that has no value, where it is not null; braces doubled for `str.format`."""
_HAD = "SELECT {had} FROM {{partition}} c WHERE c.source = :source AND c.state = 'active'"


class Trace(NamedTuple):
    """How to see, in SQL, what a contact `c` had and its staged entry `s` lacks."""

    had: str
    """It was there."""
    lost: str
    """It was there and does not come."""
    columns: frozenset[str]
    """What of a contact goes with it."""
    bit: int = 0
    """Of an attribute, its bit in what is staged."""


def traces(before: Sequence[str], mapper: Mapper) -> dict[str, Trace]:
    """What may vanish: the mapped attributes whose bits were `before`, then the members that rules give.

    A member is lost where no attribute that it is made of vanished with it: then the map is another one, and names
    what the entry does not have.
    """
    found: dict[str, Trace] = {}
    for position, name in enumerate(mapper.ordered):
        if name in before:
            stored, staged = 1 << before.index(name), 1 << position
            had = f"c.had & {stored} <> 0"
            found[name] = Trace(had, f"({had} AND s.had & {staged} = 0)", mapper.columns_of(name), staged)
    attributes = list(found.values())
    for member, column in COLUMNS.items():
        had = f"c.{column} IS DISTINCT FROM {_NOTHING.get(column, 'NULL')}"
        terms = [had, f"s.{column} IS NOT DISTINCT FROM {_NOTHING.get(column, 'NULL')}"]
        terms += [f"NOT {trace.lost}" for trace in attributes if column in trace.columns]
        found[f"member {member}"] = Trace(had, f"({' AND '.join(terms)})", frozenset({column}))
    return found


def count(connection: Connection, source: str, type_: Type, before: Sequence[str], mapper: Mapper) -> tuple[Loss, ...]:
    """What entries of this run had before and lack now. `before`: the meaning of the bits of `had`."""
    found = traces(before, mapper)
    terms = [f"count(*) FILTER (WHERE {trace.lost})" for trace in found.values()]
    lost = execute(connection, _LOST.format(losses=", ".join(terms)), type_).one()
    gone = [(name, trace, number) for (name, trace), number in zip(found.items(), lost, strict=True) if number]
    if not gone:
        return ()
    had = ", ".join(f"count(*) FILTER (WHERE {trace.had})" for _, trace, _ in gone)
    numbers = execute(connection, _HAD.format(had=had), type_, source=source).one()
    return tuple(Loss(name, number, lost) for (name, _, lost), number in zip(gone, numbers, strict=True))


# who was missing and comes back without it keeps it too; who was removed comes back as they are now
_LOSERS = """
SELECT s.source_key, s.place, s.had, {flags}, {columns}
  FROM plan p JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was IN ('active', 'missing') AND ({some})
"""


def keep(connection: Connection, source: str, type_: Type, region: str, lost: Sequence[Trace]) -> None:
    """Give entries that lost one of these what it gave them before, and plan them again.

    They get no digest, so that the next run looks at them again.
    """
    flags = [f"{trace.lost} AS lost_{position}" for position, trace in enumerate(lost)]
    columns = [f"{alias}.{name} AS {alias}_{name}" for name in Contact._fields for alias in "sc"]
    terms = {"flags": ", ".join(flags), "columns": ", ".join(columns)}
    some = " OR ".join(trace.lost for trace in lost)
    rows = execute(connection, _LOSERS.format(**terms, some=some), type_).mappings().all()
    again = [_restored(row, lost) for row in rows]
    connection.exec_driver_sql("CREATE TEMPORARY TABLE again (source_key text) ON COMMIT DROP")
    connection.execute(
        text("INSERT INTO again SELECT unnest(CAST(:keys AS text[]))"), {"keys": [row["source_key"] for row in rows]}
    )
    connection.exec_driver_sql("DELETE FROM plan t USING again a WHERE t.source_key = a.source_key")
    connection.exec_driver_sql("DELETE FROM stage t USING again a WHERE t.source_key = a.source_key")
    stage_again(connection, type_, region, again)
    arrive(connection, source, type_)


def _restored(row: RowMapping, lost: Sequence[Trace]) -> Staged:
    gone = [trace for position, trace in enumerate(lost) if row[f"lost_{position}"]]
    kept = frozenset[str]().union(*[trace.columns for trace in gone])
    values = {name: row[f"{'c' if name in kept else 's'}_{name}"] for name in Contact._fields}
    had = functools.reduce(operator.or_, [trace.bit for trace in gone], row["had"])
    return Staged(row["source_key"], row["place"], b"", contact_from(values), had)
