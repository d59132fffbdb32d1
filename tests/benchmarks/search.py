"""`python -m tests.benchmarks.search [--contacts N] [--queries N] [--database URL]`: searching a large directory.

Every kind of query is made for existing people, drawn by the frequency of their names. The same queries are made as a
scan of every row, as without an index. The times are those of the store, from the query to its last row. `--database`
measures an existing directory instead of creating one.
"""

import argparse
import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import quote

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.query import parse
from syncd.core.contacts.text import fold
from syncd.demo.servers import Postgres
from syncd.settings import Database
from syncd.store.connection.engine import Role, open_engine
from syncd.store.connection.pool import open_async_engine
from syncd.store.contacts.lookup import NumberLookup
from syncd.store.contacts.reading import Directory
from syncd.store.schema import migrate
from tests.benchmarks.synthetic_contacts import people
from tests.http_daemon import insert_values
from tests.query_plans import Statements, record_statements, used_indexes

COLUMNS = (
    "type", "name", "numbers", "user_name", "first_name", "last_name", "employee_id", "email_address", "channel",
    "roles", "business_units", "name_folded", "first_name_folded", "last_name_folded", "search", "dialled", "tails",
    "source", "source_key",
)  # fmt: skip
WILD = "filterName=NamesOrPhoneNumberMatches&limit=20&filterParameters="
Person = tuple[str, str, str, str]
"""First name, last name, user name, number."""
# the statement of a search without indexes
SCAN = "SELECT id FROM contact WHERE served AND search LIKE %s ORDER BY name_folded LIMIT 20"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200, help="queries of each kind")
    parser.add_argument("--database", help="URL of a directory that is loaded already")
    arguments = parser.parse_args()
    if arguments.database:
        asyncio.run(measure(arguments.database, arguments.queries))
        return
    with directory(arguments.contacts) as url:
        asyncio.run(measure(url, arguments.queries))


@contextmanager
def directory(count: int) -> Iterator[str]:
    """Run a private PostgreSQL with this number of contacts, which fit into its memory; yield the URL."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-bench-"))
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres", ["-c", "shared_buffers=2GB", "-c", "max_wal_size=8GB"])
    try:
        postgres.create()
        postgres.start()
        engine = open_engine(Database(url=postgres.url()), None)
        migrate.migrate(engine)
        engine.dispose()
        insert_contacts(postgres.url(), count)
        yield postgres.url()
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def insert_contacts(url: str, count: int) -> None:
    """Copy contacts into the directory; indexes are created afterwards, which takes a fraction of the time."""
    started = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        names = ("contact_search_idx", "contact_tails_idx", "contact_words_idx")
        made = [connection.execute("SELECT pg_get_indexdef(to_regclass(%s))", [name]).fetchone() for name in names]
        connection.execute(f"DROP INDEX {', '.join(names)}")
        with connection.cursor().copy(f"COPY contact ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for number, (type_, contact) in enumerate(people(count)):
                owner = (None, None) if type_ == "Custom" else ("bench", str(number))
                copy.write_row((*insert_values(type_, contact), *owner))
        connection.execute("SET maintenance_work_mem = '1GB'")
        for definition in made:
            assert definition is not None
            connection.execute(definition[0].replace(" ON ONLY ", " ON "))
        connection.execute(
            "INSERT INTO word (word) SELECT DISTINCT named.word FROM contact c, names_of(c.search) AS named(word)"
        )
        connection.execute("VACUUM ANALYZE contact")
        connection.execute("VACUUM ANALYZE word")
    Console().print(f"{count} contacts loaded in {time.perf_counter() - started:.0f} s")


def build_queries(persons: Sequence[Person]) -> dict[str, tuple[list[str], Callable[[Person], str]]]:
    """Return kind -> the query strings, and the pattern of the equivalent scan."""
    q = "limit=20&q={}".format
    forms: dict[str, tuple[Callable[[Person], str], Callable[[Person], str]]] = {
        "q, 1 word": (lambda p: q(quote(p[1])), lambda p: fold(p[1])),
        "q, 1 word, first name": (lambda p: q(quote(p[0])), lambda p: fold(p[0])),
        "q, 2 words": (lambda p: q(quote(f"{p[0]} {p[1]}")), lambda p: fold(p[1])),
        "q, 2 words begun": (lambda p: q(quote(f"{p[0][:3]} {p[1][:4]}")), lambda p: fold(p[1][:4])),
        "q, 3 words": (lambda p: q(quote(f"{p[0]} {p[1]} {p[2]}")), lambda p: fold(p[2])),
        "q, a typo": (lambda p: q(quote(typo(p[1]))), lambda p: fold(typo(p[1]))),
        "q, 2 words, a typo": (lambda p: q(quote(f"{p[0]} {typo(p[1])}")), lambda p: fold(typo(p[1]))),
        "q, a number": (lambda p: q(quote(p[3])), lambda p: fold(p[3])),
        "wildcard, mull*": (lambda p: WILD + quote(p[1][:6]) + "*", lambda p: "\n" + fold(p[1][:6])),
        "wildcard, *ulle*": (lambda p: WILD + f"*{quote(p[1][1:6])}*", lambda p: fold(p[1][1:6])),
        "phoneNumber": (lambda p: "phoneNumber=" + quote(p[3]), lambda p: fold(p[3])),
    }
    return {name: ([query(person) for person in persons], scanned) for name, (query, scanned) in forms.items()}


def typo(name: str) -> str:
    """Return the name without a letter in its middle."""
    return name[: len(name) // 2] + name[len(name) // 2 + 1 :]


async def measure(url: str, count: int) -> None:
    """Execute all queries, and print a table."""
    persons = draw_persons(url, count)
    engine = open_async_engine(Database(url=url), Role.API)
    store, numbers = Directory(engine, ("DE",)), NumberLookup(engine, ("DE",))

    async def find(query: str) -> int:
        async with store.open_page(parse(query.encode())) as page:
            async for _ in page.batches:
                pass
        return page.total

    async def look_up(number: str) -> int:
        return sum(map(len, (await numbers.find_owners([number])).values()))

    table = Table("", "matches", "p50 ms", "p95 ms", "every row, ms", "ratio", "index", title="searching")
    for name, (queries, scanned) in build_queries(persons).items():
        patterns = [scanned(person) for person in persons[:3]]
        table.add_row(name, *await measure_queries(url, engine, find, queries, patterns))
    phone_numbers = [person[3] for person in persons]
    row = await measure_queries(url, engine, look_up, phone_numbers, phone_numbers[:3])
    table.add_row("lookup", *row)
    await engine.dispose()
    Console(width=150).print(table)


def draw_persons(url: str, count: int) -> list[Person]:
    """Draw users of the directory, each with the same probability."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT first_name, last_name, user_name, numbers->0->>'phoneNumber' "
            "FROM contact_user TABLESAMPLE SYSTEM (1)"
        ).fetchall()
    return random.Random(3).sample(rows, min(count, len(rows)))


async def measure_queries(
    url: str,
    engine: AsyncEngine,
    execute: Callable[[str], Awaitable[int]],
    queries: Sequence[str],
    patterns: Sequence[str],
) -> list[str]:
    """Return a row of the table: matches, times, the time of a scan, the ratio of the medians, the indexes."""
    for query in queries[:10]:
        await execute(query)
    times, matches = [], []
    for query in queries:
        started = time.perf_counter()
        matches.append(await execute(query))
        times.append((time.perf_counter() - started) * 1000)
    with record_statements(engine) as statements:
        await execute(queries[0])
    without = median(time_scans(url, patterns))
    times.sort()
    return [
        f"{median(matches):.0f}", f"{median(times):.1f}", f"{times[int(len(times) * 0.95)]:.1f}", f"{without:.0f}",
        f"{without / median(times):.0f}", ", ".join(sorted(search_indexes(url, statements))),
    ]  # fmt: skip


def time_scans(url: str, patterns: Sequence[str]) -> list[float]:
    """Return the milliseconds of each search without an index."""
    times = []
    with psycopg.connect(url) as connection:
        connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET jit = off")
        for pattern in patterns:
            started = time.perf_counter()
            connection.execute(SCAN, [f"%{pattern}%"]).fetchall()
            times.append((time.perf_counter() - started) * 1000)
    return times


def search_indexes(url: str, statements: Statements) -> set[str]:
    """Return the search indexes of the largest partition in the plans of the statements."""
    names = used_indexes(url, statements)
    return {name for name in names if name.startswith(("contact_user", "word")) and not name.endswith("pkey")}


if __name__ == "__main__":
    main()
