"""Attributes and members that vanish from the entries of a source: counted, and their values restored."""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, text

from syncd.core.contacts.contact import COLUMNS, Contact, ContactType
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import AttributeLoss, Staged
from syncd.store.run.partition import execute, to_contact
from syncd.store.run.plan import plan_arrivals
from syncd.store.run.staging import append_items

_COUNT_LOST = """
SELECT {losses} FROM plan p
  JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was = 'active'
"""
_EMPTY = {"numbers": "'[]'::jsonb", "roles": "'{{}}'::text[]", "business_units": "'{{}}'::text[]"}
"""Column -> SQL of its empty value, where that is not NULL; braces doubled for `str.format`."""
_COUNT_PRESENT = "SELECT {had} FROM {{partition}} c WHERE c.source = :source AND c.state = 'active'"


class AttributeProbe(NamedTuple):
    """SQL conditions on an attribute or member of a stored contact `c` and its staged entry `s`."""

    present: str
    """True when the contact has it."""
    lost: str
    """True when the contact has it and the staged entry does not."""
    columns: frozenset[str]
    """Columns of a contact that depend on it."""
    bit: int = 0
    """Bit of an attribute in the staged `had`; 0 for a member."""


def build_probes(before: Sequence[str], mapper: Mapper) -> dict[str, AttributeProbe]:
    """Return the probes of the mapped attributes, by name, then those of the members, by `member NAME`.

    `before`: the stored attributes, in the order of their bits. A member counts as lost only where no attribute that
    it depends on is lost too: then the map has changed and names an attribute that the entry does not have.
    """
    probes: dict[str, AttributeProbe] = {}
    for position, name in enumerate(mapper.ordered_attributes):
        if name in before:
            stored, staged = 1 << before.index(name), 1 << position
            present = f"c.had & {stored} <> 0"
            lost = f"({present} AND s.had & {staged} = 0)"
            probes[name] = AttributeProbe(present, lost, mapper.columns_from(name), staged)
    attributes = list(probes.values())
    for member, column in COLUMNS.items():
        present = f"c.{column} IS DISTINCT FROM {_EMPTY.get(column, 'NULL')}"
        terms = [present, f"s.{column} IS NOT DISTINCT FROM {_EMPTY.get(column, 'NULL')}"]
        terms += [f"NOT {probe.lost}" for probe in attributes if column in probe.columns]
        probes[f"member {member}"] = AttributeProbe(present, f"({' AND '.join(terms)})", frozenset({column}))
    return probes


def count_losses(
    connection: Connection, source: str, type_: ContactType, before: Sequence[str], mapper: Mapper
) -> tuple[AttributeLoss, ...]:
    """Count the attributes and members that contacts had before and lose in this run.

    `before`: the stored attributes, in the order of their bits in `contact.had`.
    """
    probes = build_probes(before, mapper)
    terms = [f"count(*) FILTER (WHERE {probe.lost})" for probe in probes.values()]
    counts = execute(connection, _COUNT_LOST.format(losses=", ".join(terms)), type_).one()
    losses = [(name, probe, lost) for (name, probe), lost in zip(probes.items(), counts, strict=True) if lost]
    if not losses:
        return ()
    present = ", ".join(f"count(*) FILTER (WHERE {probe.present})" for _, probe, _ in losses)
    numbers = execute(connection, _COUNT_PRESENT.format(had=present), type_, source=source).one()
    return tuple(AttributeLoss(name, number, lost) for (name, _, lost), number in zip(losses, numbers, strict=True))


# a missing contact that reappears without the attribute keeps its value too; a removed one reappears without it
_SELECT_LOSERS = """
SELECT s.source_key, s.place, s.had, {flags}, {columns}
  FROM plan p JOIN {{partition}} c ON c.id = p.id JOIN stage s ON s.source_key = p.source_key AND s.reason IS NULL
 WHERE p.was IN ('active', 'missing') AND ({some})
"""


def restore_values(
    connection: Connection, source: str, type_: ContactType, region: str, probes: Sequence[AttributeProbe]
) -> None:
    """Restore the stored values in staged entries that lost one of these attributes or members, and plan them again.

    The entries get no digest, so that the next run does not skip them.
    """
    flags = [f"{probe.lost} AS lost_{position}" for position, probe in enumerate(probes)]
    columns = [f"{alias}.{name} AS {alias}_{name}" for name in Contact._fields for alias in "sc"]
    terms = {"flags": ", ".join(flags), "columns": ", ".join(columns)}
    condition = " OR ".join(probe.lost for probe in probes)
    rows = execute(connection, _SELECT_LOSERS.format(**terms, some=condition), type_).mappings().all()
    staged = [_restore(row, probes) for row in rows]
    connection.exec_driver_sql("CREATE TEMPORARY TABLE again (source_key text) ON COMMIT DROP")
    connection.execute(
        text("INSERT INTO again SELECT unnest(CAST(:keys AS text[]))"), {"keys": [row["source_key"] for row in rows]}
    )
    connection.exec_driver_sql("DELETE FROM plan t USING again a WHERE t.source_key = a.source_key")
    connection.exec_driver_sql("DELETE FROM stage t USING again a WHERE t.source_key = a.source_key")
    append_items(connection, type_, region, staged)
    plan_arrivals(connection, source, type_)


def _restore(row: RowMapping, probes: Sequence[AttributeProbe]) -> Staged:
    lost = [probe for position, probe in enumerate(probes) if row[f"lost_{position}"]]
    restored_columns = frozenset[str]().union(*[probe.columns for probe in lost])
    values = {name: row[f"{'c' if name in restored_columns else 's'}_{name}"] for name in Contact._fields}
    attribute_mask = functools.reduce(operator.or_, [probe.bit for probe in lost], row["had"])
    return Staged(row["source_key"], row["place"], b"", to_contact(values), attribute_mask)
