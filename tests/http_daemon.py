"""An office with a running daemon, its people, queues and contacts, spoken to as clients do: over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, AF_UNIX
from socket import socket as Socket  # noqa: N812 - the class keeps the look of one
from typing import Any

import httpx
import psycopg

from syncd.core.contacts.contact import Contact, Number, index
from syncd.demo.servers import Postgres, free_port
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from syncd.store.schema import migrate
from tests.scripted_ldap import wait_until

COMMAND = [sys.executable, "-m", "syncd"]
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
INSERT = """
    INSERT INTO contact (type, name, numbers, user_name, first_name, last_name, employee_id, email_address, channel,
        roles, business_units, name_folded, first_name_folded, last_name_folded, search, dialled, tails, source,
        source_key)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'tests', gen_random_uuid()::text)
    RETURNING replace(id::text, '-', '')
"""
MANY = 60_000
CROWD = f"""
    INSERT INTO contact (type, name, numbers, user_name, first_name, last_name, name_folded, first_name_folded,
                         last_name_folded, search, dialled, source, source_key)
    SELECT 'User', 'Person ' || n, jsonb_build_array(jsonb_build_object('phoneNumber', '+1 555 ' || n)), 'user' || n,
           'Person', n::text, 'person ' || n, 'person', n::text, E'\\nperson\\n' || n || E'\\nuser' || n || E'\\n',
           ARRAY['1555' || n], 'tests', n::text
    FROM generate_series(1, {MANY}) n
"""


def logged(log: Path) -> list[dict[str, Any]]:
    """The lines of a log in JSON; the last one may be half written as long as its line feed is missing."""
    whole = log.read_bytes().rpartition(b"\n")[0].decode()
    return [json.loads(line) for line in whole.split("\n") if line.startswith("{")]


def row(type_: Any, contact: Contact, region: str = "") -> tuple[Any, ...]:
    """The values of INSERT."""
    found = index(type_, contact, region)
    numbers = [{"phoneNumber": number, "description": description} for number, description in contact.numbers]
    return (
        type_, contact.name, json.dumps(numbers), contact.user_name, contact.first_name, contact.last_name,
        contact.employee_id, contact.email_address, contact.channel, list(contact.roles),
        list(contact.business_units), found.name_folded, found.first_name_folded, found.last_name_folded,
        found.search, list(found.dialled), list(found.tails),
    )  # fmt: skip


@dataclass
class Daemon:
    """One `syncd run` on a database of its own, with an HTTP client for each role."""

    folder: Path
    database_url: str
    port: int
    tokens: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    socket: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return logged(self.log)

    def line(self, request_id: str) -> dict[str, Any]:
        """The line of one request. It is written when the last byte is out, which the client may have before."""
        found: list[dict[str, Any]] = []

        def written() -> bool:
            found[:] = [line for line in self.lines() if line.get("request_id") == request_id]
            return bool(found)

        wait_until(written)
        return found[0]

    def command(self, *words: str) -> str:
        """Run one command of the command line and return what it prints."""
        command = [*COMMAND, "--config", str(self.folder / "syncd.toml"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, settings: str = "", listen: str = "", passed: int | None = None) -> None:
        """Start it and return when it serves. `passed` is a listening socket, handed over as systemd does."""
        listen = listen or f"127.0.0.1:{self.port}"
        self.socket = listen.removeprefix("unix:") if listen.startswith("unix:") and passed is None else None
        handing = [] if passed is None else [sys.executable, "-c", HAND_OVER, str(passed)]
        (self.folder / "syncd.toml").write_text(
            f'[database]\nurl = "{self.database_url}"\n[http]\nlisten = "{listen}"\n{settings}'
        )
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [*handing, *COMMAND, "--config", str(self.folder / "syncd.toml"), "run"],
                stdout=sink,
                stderr=sink,
                pass_fds=[] if passed is None else [passed],
                env={**os.environ, "PYTHONWARNINGS": "default"},
            )
        wait_until(self._serves)

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        if not self._listens():
            return False
        with self.client(None) as nobody:
            return nobody.get("/ready").status_code == 200

    def _listens(self) -> bool:
        family, address = (AF_INET, ("127.0.0.1", self.port)) if self.socket is None else (AF_UNIX, self.socket)
        with Socket(family) as probe:
            return probe.connect_ex(address) == 0

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def client(self, role: str | None = "admin") -> httpx.Client:
        """A client with the token of a role, or without any."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        # given up long before the daemon closes it, so that no request meets the end of an idle connection
        transport = httpx.HTTPTransport(uds=self.socket, limits=httpx.Limits(keepalive_expiry=2))
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, transport=transport)

    def feeds(self) -> int:
        """How many callers wait for changes, by the metrics."""
        with self.client(None) as nobody:
            found = re.search(r"^syncd_http_feeds ([0-9.]+)$", nobody.get("/metrics").text, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def insert(self, type_: str, contact: Contact, region: str = "") -> str:
        """Put a contact into the directory as a sync would, and return its id."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("UPDATE directory SET revision = revision + 1")
            found = connection.execute(INSERT, row(type_, contact, region)).fetchone()
            assert found is not None
            connection.execute("INSERT INTO word SELECT n FROM names_of(%s) AS n", [index(type_, contact).search])
            return str(found[0])

    def fill(self, rows: str = CROWD) -> None:
        """Put many contacts into the directory at once, with a new revision, as whoever writes has to."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            with connection.transaction():
                connection.execute(rows)
                connection.execute("UPDATE directory SET revision = revision + 1")
            connection.execute("ANALYZE contact")

    def sql(self, query: str, *values: Any) -> Any:
        """The first value of what a query gives."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            found = connection.execute(query, values).fetchone()
            return found and found[0]


def run(folder: Path, database_url: str, settings: str = "", name: str = "tests") -> Iterator[Daemon]:
    """A daemon with a token for each role, stopped at the end; `name` tells its tokens from those of others."""
    daemon = Daemon(folder, database_url, free_port())
    daemon.start(settings)
    engine = open_engine(Database(url=database_url), Role.API)
    for role in ("admin", "agent"):
        daemon.tokens[role] = tokens.create(engine, f"{role} of the {name}", role)
    engine.dispose()
    try:
        yield daemon
    finally:
        status = daemon.stop()
    assert status == 0, daemon.log.read_text()[-3000:]


def new_template(postgres: Postgres, name: str) -> str:
    """A database with our schema, which others are copied from and nobody writes to; its name."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    engine = open_engine(Database(url=postgres.url(name)), None)
    migrate.migrate(engine)
    engine.dispose()
    return name


def new_database(postgres: Postgres, template: str) -> str:
    """The URL of a new database of our schema, which goes with its server."""
    name = f"shared_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.url(name)


@dataclass
class Office:
    """The shared daemon, the ids of its contacts by userName or name, and a client for each role."""

    daemon: Daemon
    ids: dict[str, str]
    admin: httpx.Client
    agent: httpx.Client

    def names(self, query: str) -> list[str]:
        """The names of the contacts that a query finds, in the order of the answer."""
        answer = self.agent.get("/api/v2/contacts" + ("?" + query if query else ""))
        assert answer.status_code == 200, answer.text
        found = answer.json()["contacts"]
        return [contact["name"] for contact in found]


def user(first: str, last: str, name: str, number: str = "", **more: Any) -> tuple[str, Contact]:
    """A user with the usual members."""
    numbers = (Number(number, "office"),) if number else ()
    return "User", Contact(
        f"{first} {last}", more.pop("numbers", numbers), first_name=first, last_name=last, user_name=name, **more
    )


PEOPLE = [
    user("Jim", "Halpert", "jhalpert", "+1 570 555-0101", employee_id="7", email_address="jim@dm.example",
         roles=("ROLE_AGENT", "ROLE_SALES"), business_units=("AG_DEV",)),
    user("Jim", "Morrison", "jmorrison", "570.555.0102", employee_id="8", roles=("ROLE_AGENT",),
         business_units=("AG_OPS",)),
    user("Pam", "Beesly", "pbeesly", employee_id="9", roles=("ROLE_ADMIN",), business_units=("AG_DEV", "AG_OPS"),
         numbers=(Number("570 555 0103", "office"), Number("0160 / 99 88", "mobile"))),
    user("Zoë", "Åkesson", "zakesson", email_address="zoe@dm.example"),
    user("anna", "zimmer", "azimmer", "(555) CALL-ANNA"),
    user("O'Brien", "Smith, Jr.", "obrien", "x'); DROP TABLE contact;--"),
    user("100%", "under_score\\", "percent", "*99"),
    ("Queue", Contact("Sales East", (Number("+1 555 010 2000"),), channel="voice")),
    ("Queue", Contact("Support", (), channel="chat")),
    ("Queue", Contact("jhalpert")),
]  # fmt: skip
CUSTOM = [("Dwight Schrute", "xxx-xxx-xxxx"), ("Ärzte, Notdienst", "112"), ("Jim Halpert", "570 555 0199")]


def failed(answer: httpx.Response, status: int, code: int) -> str:
    """Check that an answer is an error of the contract's form, and return its sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"statusCode", "statusMessage"}
    assert body["statusCode"] == code, body
    assert len(body["statusMessage"]) > 10
    return str(body["statusMessage"])


def done(answer: httpx.Response) -> Any:
    """Check that an answer is a success, and return its body."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["statusCode"] == 0
    return answer.json()
