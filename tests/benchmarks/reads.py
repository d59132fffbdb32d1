"""`python -m tests.benchmarks.reads [--contacts N] [--rounds N]`: requests of desktops, ours beside two others.

(a) is the plain FastAPI and SQLAlchemy ORM version of the same calls (`plain.py`), on the same database, (b) is nginx
with the same bytes in a file. All take turns in every round, each for some seconds under the same load by wrk.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.request import Request, urlopen

import psycopg
from rich.console import Console
from rich.table import Table

from syncd.core.contacts.contact import Contact, Number
from syncd.demo.servers import Postgres, free_port
from tests.http_daemon import INSERT, Daemon, new_database, new_template, row, run
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
WILD = (
    "?type=User&includeUsersInBusinessUnits=AG_DEV&roles=ROLE_AGENT&limit=100"
    "&filterName=NamesOrPhoneNumberMatches&filterParameters=*&sortBy=name&order=Ascending"
)
CONNECTIONS = 16


class Load(NamedTuple):
    """What wrk measured in one turn."""

    rate: float
    """Requests per second."""
    p99: float
    """Milliseconds within which 99 of 100 requests were answered."""


class Contestant(NamedTuple):
    """One row of a table: where the requests go, and with which headers."""

    name: str
    url: str
    headers: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reads", description=__doc__)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one turn")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-bench-")))
        folder.chmod(0o755)
        ours, without, plain, bytes_of = rig(stack, folder, arguments.contacts)
        admitted = {"Authorization": f"Bearer {ours.tokens['agent']}"}
        for title, target in {"one contact by userName": "?userName=u0000042", "list of 100": WILD}.items():
            answer = fetched(f"{ours.url}{API}{target}", admitted)
            contestants = [
                Contestant("ours, from the cache", f"{ours.url}{API}{target}", admitted),
                Contestant("ours, 304", f"{ours.url}{API}{target}", admitted | {"If-None-Match": answer.tag}),
                Contestant("ours, every request misses", f"{without.url}{API}{target}", admitted),
                Contestant("(a) FastAPI and ORM", f"{plain}{API}{target}", admitted),
                Contestant("(b) nginx, a file", bytes_of(answer.body), {}),
            ]
            compare(title, contestants, arguments.rounds, arguments.seconds)


class Answer(NamedTuple):
    body: bytes
    tag: str


def rig(stack: ExitStack, folder: Path, count: int) -> tuple[Daemon, Daemon, str, "Files"]:
    """A full directory, our daemon with and without its cache, the plain version, and nginx."""
    postgres = Postgres(folder / "postgres")
    postgres.create()
    postgres.start()
    stack.callback(postgres.stop)
    url = new_database(postgres, new_template(postgres, "template"))
    daemons = []
    for name, settings in (("kept", ""), ("missing", "cache_mib = 0\n")):
        (folder / name).mkdir()
        daemons.append(stack.enter_context(contextmanager(run)(folder / name, url, settings, name)))
    fill(url, count)
    daemons[1].tokens |= daemons[0].tokens
    return (*daemons, stack.enter_context(plain(url)), Files(stack, folder))


def fill(url: str, count: int) -> None:
    """Users of an office: every second one an agent of the unit that the wild call asks for."""
    with psycopg.connect(url) as connection:
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, (row("User", person(number)) for number in range(count)))
        connection.execute("UPDATE directory SET revision = revision + 1")
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


def person(number: int) -> Contact:
    first, last = f"Given{number % 997}", f"Family{number % 4999}"
    return Contact(
        f"{first} {last}",
        (Number(f"+1 555 {number // 10000:03} {number % 10000:04}", "office"), Number(f"+1 666 {number:07}", "mobile")),
        first_name=first,
        last_name=last,
        user_name=f"u{number:07}",
        employee_id=str(100_000 + number),
        email_address=f"u{number:07}@example.com",
        roles=("ROLE_AGENT",) if number % 2 else ("ROLE_ADMIN",),
        business_units=("AG_DEV", "AG_OPS") if number % 2 else ("AG_OPS",),
    )


@contextmanager
def plain(url: str) -> Iterator[str]:
    """The plain version, serving; its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.plain", str(port), url])
    try:
        wait_until(lambda: is_open(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def is_open(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Files:
    """nginx in front of a folder. Called with bytes, it answers with the address where they are served."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._folder = folder / "files"
        self._folder.mkdir()
        self._port = free_port()
        settings = folder / "nginx.conf"
        settings.write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;\n"
            f"user root; events {{}}\nhttp {{ access_log off; keepalive_requests 1000000;\n"
            "default_type application/json;\n"
            f"server {{ listen 127.0.0.1:{self._port}; root {self._folder}; }} }}\n"
        )
        process = subprocess.Popen(["nginx", "-c", str(settings), "-p", str(folder)])
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        wait_until(lambda: is_open(self._port))

    def __call__(self, body: bytes) -> str:
        name = uuid.uuid4().hex
        (self._folder / name).write_bytes(body)
        return f"http://127.0.0.1:{self._port}/{name}"


def fetched(url: str, headers: dict[str, str]) -> Answer:
    with urlopen(Request(url, headers=headers)) as answer:
        body = answer.read()
        assert json.loads(body)["totalCount"] > 0
        return Answer(body, answer.headers["ETag"])


def compare(title: str, contestants: list[Contestant], rounds: int, seconds: int) -> None:
    """Let them take turns, and print the medians with the ratios of the same rounds."""
    loads: dict[str, list[Load]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            loads[contestant.name].append(loaded(contestant, seconds))
    table = Table("", "requests/s", "p99 ms", "x (a)", "x (b)", title=f"{title}, {CONNECTIONS} connections")
    for name, found in loads.items():
        ratios = [ratio(found, loads[other.name]) for other in contestants[-2:]]
        table.add_row(
            name, f"{median(load.rate for load in found):,.0f}", f"{median(load.p99 for load in found):.1f}",
            *(f"{value:.2f}" for value in ratios),
        )  # fmt: skip
    Console().print(table)


def ratio(found: list[Load], other: list[Load]) -> float:
    return median(one.rate / two.rate for one, two in zip(found, other, strict=True))


def loaded(contestant: Contestant, seconds: int) -> Load:
    """One turn of wrk. An answer that is no success spoils the measurement and ends it."""
    headers = [word for name, value in contestant.headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, contestant.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{contestant.name}: {said}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    assert rate, said
    assert p99, said
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


if __name__ == "__main__":
    main()
