"""Query plans: the statements that an engine executes, recorded and later explained by PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

Statements = list[tuple[str, Any]]
"""Statements with their parameters, in order."""


@contextmanager
def record_statements(engine: AsyncEngine) -> Iterator[Statements]:
    """Record the statements that an engine executes."""
    statements: Statements = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine.sync_engine, "before_cursor_execute", record)


def used_indexes(url: str, statements: Statements, *, forced: bool = False) -> set[str]:
    """Return the names of the indexes in the plans of statements, under the settings that they make themselves.

    `forced`: sequential scans are disabled, for tables so small that reading all of it would be cheaper.
    """
    names: set[str] = set()
    with psycopg.connect(url) as connection:
        if forced:
            connection.execute("SET LOCAL enable_seqscan = off")
        for statement, parameters in statements:
            if "set_config" in statement:
                connection.execute(statement, parameters)
                continue
            row = connection.execute("EXPLAIN (FORMAT JSON) " + statement, parameters).fetchone()
            assert row is not None
            names |= set(_index_names(row[0]))
        connection.rollback()
    return names


def _index_names(plan: Any) -> Iterator[str]:
    """Yield the name of every index in a plan; indexes of partitions have names of their own."""
    if isinstance(plan, list):
        for part in plan:
            yield from _index_names(part)
    elif isinstance(plan, dict):
        if "Index Name" in plan:
            yield plan["Index Name"]
        for part in plan.values():
            yield from _index_names(part)
