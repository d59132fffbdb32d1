"""How PostgreSQL carries out what a part of the store asks: its statements, heard as they pass, explained later."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

Heard = list[tuple[str, Any]]
"""Statements with their parameters, in order."""


@contextmanager
def heard(engine: AsyncEngine) -> Iterator[Heard]:
    """The statements that an engine sends meanwhile."""
    found: Heard = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        found.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", hear)
    yield found
    event.remove(engine.sync_engine, "before_cursor_execute", hear)


def indexes(url: str, statements: Heard, *, forced: bool = False) -> set[str]:
    """The indexes that the statements are carried out with, under the settings that they make themselves.

    `forced`: also where the table is so small that reading all of it would be quicker.
    """
    found: set[str] = set()
    with psycopg.connect(url) as connection:
        if forced:
            connection.execute("SET LOCAL enable_seqscan = off")
        for statement, parameters in statements:
            if "set_config" in statement:
                connection.execute(statement, parameters)  # type: ignore[arg-type]  # as it was heard
                continue
            row = connection.execute("EXPLAIN (FORMAT JSON) " + statement, parameters).fetchone()  # type: ignore[arg-type]
            assert row is not None
            found |= set(_named(row[0]))
        connection.rollback()
    return found


def _named(plan: Any) -> Iterator[str]:
    """Every index in a plan, by the name that it has on the partitioned table."""
    if isinstance(plan, list):
        for part in plan:
            yield from _named(part)
    elif isinstance(plan, dict):
        if "Index Name" in plan:
            yield plan["Index Name"]
        for part in plan.values():
            yield from _named(part)
