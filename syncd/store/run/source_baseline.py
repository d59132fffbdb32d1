"""Baseline of a source from its earlier runs: key attribute, scope of its reads, meaning of its attribute bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from syncd.core.contacts.contact import ContactType
from syncd.core.sync.plan import Report
from syncd.store.run.partition import execute
from syncd.store.schema.tables import source as table


@dataclass(frozen=True, slots=True)
class Baseline:
    """Baseline of a source; empty before the first complete run."""

    key_attribute: str | None = None
    scope: Mapping[str, str] | None = None
    """Where and how it was read when its removals were last accepted."""
    attributes: tuple[str, ...] = ()
    """Mapped attributes; the n-th stands for bit n of `contact.had`."""


def load(connection: Connection, source: str) -> Baseline:
    """Load the baseline of a source."""
    query = select(table.c.key_attribute, table.c.scope, table.c.attributes).where(table.c.name == source)
    row = connection.execute(query).one_or_none()
    return Baseline() if row is None else Baseline(row.key_attribute, row.scope, tuple(row.attributes))


def save(
    connection: Connection, baseline: Baseline, type_: ContactType, report: Report, attributes: Sequence[str]
) -> None:
    """Update the baseline from this run: key once, attributes always, scope if its absences are confirmed.

    Raises ValueError for a report without evidence.
    """
    if report.evidence is None:
        raise ValueError("only a run with evidence can be applied")
    if baseline.attributes and baseline.attributes != tuple(attributes):
        _renumber_bits(connection, report.source, type_, baseline.attributes, attributes)
    scope = dict(report.scope) if report.absences_confirmed else baseline.scope
    upsert = insert(table).values(
        name=report.source, type=type_, key_attribute=report.evidence.key_attribute, scope=scope,
        attributes=list(attributes),
    )  # fmt: skip
    updates = {"scope": upsert.excluded.scope, "attributes": upsert.excluded.attributes}
    if (scope, tuple(attributes)) != (baseline.scope, baseline.attributes):
        connection.execute(upsert.on_conflict_do_update(index_elements=[table.c.name], set_=updates))


def _renumber_bits(
    connection: Connection, source: str, type_: ContactType, old: Sequence[str], new: Sequence[str]
) -> None:
    """Move the attribute bits of all contacts of the source; drop the bits of attributes that are no longer mapped."""
    terms = [f"((had >> {old.index(name)}) & 1) << {position}" for position, name in enumerate(new) if name in old]
    bits = " | ".join(terms) or "0"
    statement = f"UPDATE {{partition}} SET had = {bits} WHERE source = :source"  # noqa: S608 - numbers of ours
    execute(connection, statement, type_, source=source)
