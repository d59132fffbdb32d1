"""Pages of the contact list: the statements behind an offset."""

import asyncio

from syncd.core.contacts.query import parse
from syncd.settings import Database
from syncd.store.connection.engine import Role
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.reading import Directory
from tests.query_plans import Statements, record_statements


def statements_of(url: str, query: str) -> Statements:
    """Return the statements by which a page is read."""

    async def read() -> Statements:
        engine = open_async_engine(Database(url=url), Role.API)
        try:
            with record_statements(engine) as statements:
                async with Directory(engine).open_page(parse(query.encode())) as page:
                    async for _ in page.batches:
                        pass
                return statements
        finally:
            await engine.dispose()

    return asyncio.run(read())


def test_an_offset_past_the_end_sorts_nothing(database_url: str) -> None:
    """The contacts are counted, not sorted; the first page of the same list is sorted."""
    past_the_end = [statement for statement, _ in statements_of(database_url, "sortBy=userName&offset=70000&limit=10")]
    first_page = [statement for statement, _ in statements_of(database_url, "sortBy=userName&limit=10")]

    assert any("count(*)" in statement for statement in past_the_end)
    assert not any("ORDER BY" in statement for statement in past_the_end)
    assert any("ORDER BY" in statement for statement in first_page)
