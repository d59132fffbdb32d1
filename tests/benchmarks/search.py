"""`python -m tests.benchmarks.search [--contacts N] [--asked N] [--database URL]`: searching a large directory.

Every form is asked for people who are there, drawn as often as they are borne; the same questions are put to PostgreSQL
as a look at every row, the way it is without an index. The times are those of the store, from the question to its last
row. `--database` measures a directory that is loaded already, instead of making one.
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
from syncd.store.connection.pool import async_engine
from syncd.store.contacts.lookup import Numbers
from syncd.store.contacts.reading import Directory
from syncd.store.schema import migrate
from tests.benchmarks.crowd import people
from tests.http_daemon import row
from tests.query_plans import Heard, heard, indexes

COLUMNS = (
    "type", "name", "numbers", "user_name", "first_name", "last_name", "employee_id", "email_address", "channel",
    "roles", "business_units", "name_folded", "first_name_folded", "last_name_folded", "search", "dialled", "tails",
    "source", "source_key",
)  # fmt: skip
WILD = "filterName=NamesOrPhoneNumberMatches&limit=20&filterParameters="
Person = tuple[str, str, str, str]
"""First name, last name, user name, number."""
# as the statement that a table without indexes for searching is asked with
SCAN = "SELECT id FROM contact WHERE served AND search LIKE %s ORDER BY name_folded LIMIT 20"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=200, help="questions of each form")
    parser.add_argument("--database", help="URL of a directory that is loaded already")
    arguments = parser.parse_args()
    if arguments.database:
        asyncio.run(measure(arguments.database, arguments.asked))
        return
    with directory(arguments.contacts) as url:
        asyncio.run(measure(url, arguments.asked))


@contextmanager
def directory(count: int) -> Iterator[str]:
    """The URL of a private directory of so many contacts, which PostgreSQL may keep in memory."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-bench-"))
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres", ["-c", "shared_buffers=2GB", "-c", "max_wal_size=8GB"])
    try:
        postgres.create()
        postgres.start()
        engine = open_engine(Database(url=postgres.url()), None)
        migrate.migrate(engine)
        engine.dispose()
        load(postgres.url(), count)
        yield postgres.url()
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def load(url: str, count: int) -> None:
    """Copy a crowd into the directory; its indexes are made afterwards, which takes a fraction of the time."""
    started = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        names = ("contact_search_idx", "contact_tails_idx", "contact_words_idx")
        made = [connection.execute("SELECT pg_get_indexdef(to_regclass(%s))", [name]).fetchone() for name in names]
        connection.execute(f"DROP INDEX {', '.join(names)}")
        with connection.cursor().copy(f"COPY contact ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for number, (type_, contact) in enumerate(people(count)):
                owner = (None, None) if type_ == "Custom" else ("bench", str(number))
                copy.write_row((*row(type_, contact), *owner))
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


def questions(asked: Sequence[Person]) -> dict[str, tuple[list[str], Callable[[Person], str]]]:
    """Form -> the query strings, and the pattern that a look at every row would be made with."""
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
    return {name: ([query(person) for person in asked], scanned) for name, (query, scanned) in forms.items()}


def typo(name: str) -> str:
    """The name without a letter in its middle."""
    return name[: len(name) // 2] + name[len(name) // 2 + 1 :]


async def measure(url: str, count: int) -> None:
    """Ask, and print a table."""
    asked = drawn(url, count)
    engine = async_engine(Database(url=url), Role.API)
    store, numbers = Directory(engine, ("DE",)), Numbers(engine, ("DE",))

    async def find(query: str) -> int:
        async with store.page(parse(query.encode())) as page:
            async for _ in page.batches:
                pass
        return page.total

    async def look_up(number: str) -> int:
        return sum(map(len, (await numbers.owners([number])).values()))

    table = Table("", "matches", "p50 ms", "p95 ms", "every row, ms", "ratio", "index", title="searching")
    for name, (queries, scanned) in questions(asked).items():
        table.add_row(name, *await asked_all(url, engine, find, queries, [scanned(person) for person in asked[:3]]))
    given = [person[3] for person in asked]
    table.add_row("lookup", *await asked_all(url, engine, look_up, given, given[:3]))
    await engine.dispose()
    Console(width=150).print(table)


def drawn(url: str, count: int) -> list[Person]:
    """Users of the directory, each as likely as any other."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT first_name, last_name, user_name, numbers->0->>'phoneNumber' "
            "FROM contact_user TABLESAMPLE SYSTEM (1)"
        ).fetchall()
    return random.Random(3).sample(rows, min(count, len(rows)))


async def asked_all(
    url: str,
    engine: AsyncEngine,
    ask: Callable[[str], Awaitable[int]],
    questions: Sequence[str],
    scanned: Sequence[str],
) -> list[str]:
    """A row of the table: matches and times, those of a look at every row, the ratio of the medians, the indexes."""
    for question in questions[:10]:
        await ask(question)
    times, matches = [], []
    for question in questions:
        started = time.perf_counter()
        matches.append(await ask(question))
        times.append((time.perf_counter() - started) * 1000)
    with heard(engine) as statements:
        await ask(questions[0])
    without = median(every_row(url, scanned))
    times.sort()
    return [
        f"{median(matches):.0f}", f"{median(times):.1f}", f"{times[int(len(times) * 0.95)]:.1f}", f"{without:.0f}",
        f"{without / median(times):.0f}", ", ".join(sorted(used(url, statements))),
    ]  # fmt: skip


def every_row(url: str, patterns: Sequence[str]) -> list[float]:
    """Milliseconds of finding each without an index."""
    times = []
    with psycopg.connect(url) as connection:
        connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET jit = off")
        for pattern in patterns:
            started = time.perf_counter()
            connection.execute(SCAN, [f"%{pattern}%"]).fetchall()
            times.append((time.perf_counter() - started) * 1000)
    return times


def used(url: str, statements: Heard) -> set[str]:
    """The indexes for searching that the statements are carried out with, of the largest partition."""
    found = indexes(url, statements)
    return {name for name in found if name.startswith(("contact_user", "word")) and not name.endswith("pkey")}


if __name__ == "__main__":
    main()
