"""What a source is held to by its earlier runs: its key attribute, the scope of its reads, the meaning of its bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from syncd.core.contacts.contact import Type
from syncd.core.sync.plan import Report
from syncd.store.run.partition import execute
from syncd.store.schema.tables import source as table


@dataclass(frozen=True, slots=True)
class Pins:
    """Nothing of it is there before the first complete run."""

    key_attribute: str | None = None
    scope: Mapping[str, str] | None = None
    """Where and how it was read when its removals were last believed."""
    attributes: tuple[str, ...] = ()
    """The n-th stands for bit n of `contact.had`."""


def load(connection: Connection, source: str) -> Pins:
    """What is pinned for a source."""
    found = select(table.c.key_attribute, table.c.scope, table.c.attributes).where(table.c.name == source)
    row = connection.execute(found).one_or_none()
    return Pins() if row is None else Pins(row.key_attribute, row.scope, tuple(row.attributes))


def store(connection: Connection, before: Pins, type_: Type, report: Report, attributes: Sequence[str]) -> None:
    """Pin what this run found: the key once, the attributes always, the scope when its removals are believed."""
    if report.evidence is None:
        raise ValueError("only a run with evidence can be applied")
    if before.attributes and before.attributes != tuple(attributes):
        _renumber(connection, report.source, type_, before.attributes, attributes)
    scope = dict(report.scope) if report.settled else before.scope
    pinned = insert(table).values(
        name=report.source, type=type_, key_attribute=report.evidence.key_attribute, scope=scope,
        attributes=list(attributes),
    )  # fmt: skip
    moved = {"scope": pinned.excluded.scope, "attributes": pinned.excluded.attributes}
    if (scope, tuple(attributes)) != (before.scope, before.attributes):
        connection.execute(pinned.on_conflict_do_update(index_elements=[table.c.name], set_=moved))


def _renumber(connection: Connection, source: str, type_: Type, old: Sequence[str], new: Sequence[str]) -> None:
    """Give the bits of every contact of the source their new places; those of attributes no longer mapped go."""
    moved = [f"((had >> {old.index(name)}) & 1) << {position}" for position, name in enumerate(new) if name in old]
    bits = " | ".join(moved) or "0"
    statement = f"UPDATE {{partition}} SET had = {bits} WHERE source = :source"  # noqa: S608 - numbers of ours
    execute(connection, statement, type_, source=source)
