"""Mapped attributes that vanish from the entries of a source: counted, and what they gave kept."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, text

from syncd.core.contact import Contact, Type
from syncd.core.mapping import Mapper
from syncd.core.plan import Loss, Staged
from syncd.store.partition import contact_from, execute
from syncd.store.plan import arrive
from syncd.store.staging import stage_again

_LOST = """
SELECT {losses} FROM plan p
  JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was = 'active'
"""
_HAD = "SELECT {bits} FROM {{partition}} c WHERE c.source = :source AND c.state = 'active'"


def count(
    connection: Connection, source: str, type_: Type, before: Sequence[str], now: Sequence[str]
) -> tuple[Loss, ...]:
    """The attributes that entries of this run had before and lack now. `before`, `now`: the meaning of the bits."""
    both = [(name, before.index(name), now.index(name)) for name in now if name in before]
    if not both:
        return ()
    terms = [f"count(*) FILTER (WHERE (c.had >> {old}) & 1 > (s.had >> {new}) & 1)" for _, old, new in both]
    lost = execute(connection, _LOST.format(losses=", ".join(terms)), type_).one()
    if not any(lost):
        return ()
    bits = ", ".join(f"count(*) FILTER (WHERE (c.had >> {old}) & 1 = 1)" for _, old, _ in both)
    had = execute(connection, _HAD.format(bits=bits), type_, source=source).one()
    return tuple(Loss(name, had[n], lost[n]) for n, (name, _, _) in enumerate(both) if lost[n])


# who was missing and comes back without it keeps it too; who was removed comes back as they are now
_LOSERS = """
SELECT s.source_key, s.place, s.had AS new_had, c.had AS old_had, {columns}
  FROM plan p JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was IN ('active', 'missing') AND ({lost})
"""


class Mask(NamedTuple):
    """The bit of an attribute in what is stored, and in what is staged."""

    stored: int
    staged: int


def masks(attributes: Sequence[str], before: Sequence[str], now: Sequence[str]) -> dict[str, Mask]:
    """Where to look for these attributes."""
    return {name: Mask(1 << before.index(name), 1 << now.index(name)) for name in attributes}


def keep(connection: Connection, source: str, type_: Type, lost: Mapping[str, Mask], mapper: Mapper) -> None:
    """Give entries that lost one of these attributes what it gave them before, and plan them again.

    They get no digest, so that the next run looks at them again.
    """
    terms = " OR ".join(f"(c.had & {old} <> 0 AND s.had & {new} = 0)" for old, new in lost.values())
    columns = ", ".join(f"{alias}.{name} AS {alias}_{name}" for name in Contact._fields for alias in "sc")
    rows = execute(connection, _LOSERS.format(columns=columns, lost=terms), type_).mappings().all()
    again = [_restored(row, lost, mapper) for row in rows]
    connection.exec_driver_sql("CREATE TEMPORARY TABLE again (source_key text) ON COMMIT DROP")
    connection.execute(
        text("INSERT INTO again SELECT unnest(CAST(:keys AS text[]))"), {"keys": [row["source_key"] for row in rows]}
    )
    connection.exec_driver_sql("DELETE FROM plan t USING again a WHERE t.source_key = a.source_key")
    connection.exec_driver_sql("DELETE FROM stage t USING again a WHERE t.source_key = a.source_key")
    stage_again(connection, type_, again)
    arrive(connection, source, type_)


def _restored(row: RowMapping, lost: Mapping[str, Mask], mapper: Mapper) -> Staged:
    had = row["new_had"]
    kept: set[str] = set()
    for name, (old, new) in lost.items():
        if row["old_had"] & old and not row["new_had"] & new:
            kept |= mapper.columns_of(name)
            had |= new
    values = {name: row[f"{'c' if name in kept else 's'}_{name}"] for name in Contact._fields}
    return Staged(row["source_key"], row["place"], b"", contact_from(values), had)
