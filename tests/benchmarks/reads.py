"""`python -m tests.benchmarks.reads [--contacts N] [--rounds N]`: throughput of reads, compared with two others.

(a) is `fastapi_baseline` on the same database, (b) is nginx with the same bytes in a file. All take turns in every
round, each for some seconds under the same load by wrk.
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

from syncd.core.contacts.contact import Contact, PhoneNumber
from syncd.demo.servers import Postgres, free_port
from tests.http_daemon import INSERT_CONTACT, HttpDaemon, create_database, create_template, insert_values, run_daemon
from tests.waiting import wait_until

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
        ours, uncached, run_baseline, bytes_of = start_contestants(stack, folder, arguments.contacts)
        admitted = {"Authorization": f"Bearer {ours.tokens['agent']}"}
        for title, target in {"one contact by userName": "?userName=u0000042", "list of 100": WILD}.items():
            answer = fetch(f"{ours.url}{API}{target}", admitted)
            contestants = [
                Contestant("ours, from the cache", f"{ours.url}{API}{target}", admitted),
                Contestant("ours, 304", f"{ours.url}{API}{target}", admitted | {"If-None-Match": answer.tag}),
                Contestant("ours, every request misses", f"{uncached.url}{API}{target}", admitted),
                Contestant("(a) FastAPI and ORM", f"{run_baseline}{API}{target}", admitted),
                Contestant("(b) nginx, a file", bytes_of(answer.body), {}),
            ]
            compare(title, contestants, arguments.rounds, arguments.seconds)


class Answer(NamedTuple):
    body: bytes
    tag: str


def start_contestants(stack: ExitStack, folder: Path, count: int) -> tuple[HttpDaemon, HttpDaemon, str, "Files"]:
    """Start a directory, our daemon with and without its cache, the baseline, and nginx."""
    postgres = Postgres(folder / "postgres")
    postgres.create()
    postgres.start()
    stack.callback(postgres.stop)
    url = create_database(postgres, create_template(postgres, "template"))
    daemons = []
    for name, settings in (("with-cache", ""), ("without-cache", "cache_mib = 0\n")):
        (folder / name).mkdir()
        daemons.append(stack.enter_context(run_daemon(folder / name, url, settings, name)))
    ours, uncached = daemons
    fill(url, count)
    uncached.tokens |= ours.tokens
    return ours, uncached, stack.enter_context(run_baseline(url)), Files(stack, folder)


def fill(url: str, count: int) -> None:
    """Insert users; every second one is an agent of the unit in WILD."""
    with psycopg.connect(url) as connection:
        with connection.cursor() as cursor:
            cursor.executemany(INSERT_CONTACT, (insert_values("User", person(number)) for number in range(count)))
        connection.execute("UPDATE directory SET revision = revision + 1")
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


def person(number: int) -> Contact:
    first, last = f"Given{number % 997}", f"Family{number % 4999}"
    return Contact(
        f"{first} {last}",
        (
            PhoneNumber(f"+1 555 {number // 10000:03} {number % 10000:04}", "office"),
            PhoneNumber(f"+1 666 {number:07}", "mobile"),
        ),
        first_name=first,
        last_name=last,
        user_name=f"u{number:07}",
        employee_id=str(100_000 + number),
        email_address=f"u{number:07}@example.com",
        roles=("ROLE_AGENT",) if number % 2 else ("ROLE_ADMIN",),
        business_units=("AG_DEV", "AG_OPS") if number % 2 else ("AG_OPS",),
    )


@contextmanager
def run_baseline(url: str) -> Iterator[str]:
    """Run the baseline; yield its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.fastapi_baseline", str(port), url])
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
    """nginx in front of a folder. A call with bytes returns the URL where they are served."""

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


def fetch(url: str, headers: dict[str, str]) -> Answer:
    with urlopen(Request(url, headers=headers)) as answer:
        body = answer.read()
        assert json.loads(body)["totalCount"] > 0
        return Answer(body, answer.headers["ETag"])


def compare(title: str, contestants: list[Contestant], rounds: int, seconds: int) -> None:
    """Let contestants take turns; print the medians with the ratios of the same rounds."""
    loads: dict[str, list[Load]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            loads[contestant.name].append(run_wrk(contestant, seconds))
    table = Table("", "requests/s", "p99 ms", "x (a)", "x (b)", title=f"{title}, {CONNECTIONS} connections")
    for name, results in loads.items():
        ratios = [ratio(results, loads[other.name]) for other in contestants[-2:]]
        table.add_row(
            name, f"{median(load.rate for load in results):,.0f}", f"{median(load.p99 for load in results):.1f}",
            *(f"{value:.2f}" for value in ratios),
        )  # fmt: skip
    Console().print(table)


def ratio(results: list[Load], other: list[Load]) -> float:
    return median(one.rate / two.rate for one, two in zip(results, other, strict=True))


def run_wrk(contestant: Contestant, seconds: int) -> Load:
    """Run wrk once. Raises RuntimeError when a response is no success."""
    headers = [word for name, value in contestant.headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, contestant.url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{contestant.name}: {output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", output)
    assert rate, output
    assert p99, output
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]])


if __name__ == "__main__":
    main()
