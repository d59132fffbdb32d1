"""A daemon and its API: contacts inserted by SQL, sample contacts, and checks of answers."""

import contextlib
import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber, build_index
from syncd.core.sync.plan import Report
from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from syncd.store.schema import migrate
from tests.daemon_process import DaemonProcess
from tests.environment import COMMAND, Branch, Environment, create_run_history

INSERT_CONTACT = """
    INSERT INTO contact (type, name, numbers, user_name, first_name, last_name, employee_id, email_address, channel,
        roles, business_units, name_folded, first_name_folded, last_name_folded, search, dialled, tails, source,
        source_key)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'tests', gen_random_uuid()::text)
    RETURNING replace(id::text, '-', '')
"""
MANY_CONTACTS = 60_000
INSERT_MANY_CONTACTS = f"""
    INSERT INTO contact (type, name, numbers, user_name, first_name, last_name, name_folded, first_name_folded,
                         last_name_folded, search, dialled, source, source_key)
    SELECT 'User', 'Person ' || n, jsonb_build_array(jsonb_build_object('phoneNumber', '+1 555 ' || n)), 'user' || n,
           'Person', n::text, 'person ' || n, 'person', n::text, E'\\nperson\\n' || n || E'\\nuser' || n || E'\\n',
           ARRAY['1555' || n], 'tests', n::text
    FROM generate_series(1, {MANY_CONTACTS}) n
"""


def insert_values(type_: ContactType, contact: Contact, region: str = "") -> tuple[Any, ...]:
    """Return the values of INSERT_CONTACT."""
    indexed = build_index(type_, contact, region)
    numbers = [{"phoneNumber": number, "description": description} for number, description in contact.numbers]
    return (
        type_, contact.name, json.dumps(numbers), contact.user_name, contact.first_name, contact.last_name,
        contact.employee_id, contact.email_address, contact.channel, list(contact.roles),
        list(contact.business_units), indexed.name_folded, indexed.first_name_folded, indexed.last_name_folded,
        indexed.search, list(indexed.dialled), list(indexed.tails),
    )  # fmt: skip


class HttpDaemon(DaemonProcess):
    """A daemon on a database of its own, in which contacts are inserted by SQL."""

    def __init__(self, folder: Path, database_url: str, port: int = 0, unix_socket: str | None = None) -> None:
        super().__init__(folder / "syncd.toml", port or free_port(), unix_socket)
        self.folder = folder
        self.database_url = database_url
        self.extra_environ = {"PYTHONWARNINGS": "default"}

    def configure(self, settings: str = "", *, listen: str = "") -> None:
        """Write the settings file; `settings` continues the table [http]."""
        address = f"unix:{self.unix_socket}" if self.unix_socket else f"127.0.0.1:{self.port}"
        self.config.write_text(
            f'[database]\nurl = "{self.database_url}"\n[http]\nlisten = "{listen or address}"\n{settings}'
        )

    def run_command(self, *words: str) -> str:
        """Run a command of the command line, which must succeed; return what it prints."""
        command = [*COMMAND, "--config", str(self.config), *words]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def create_tokens(self, suffix: str = "of the tests") -> None:
        """Create a token for each role, named after the role and the suffix."""
        engine = open_engine(Database(url=self.database_url), Role.API)
        for role in ("admin", "agent"):
            self.tokens[role] = tokens.create(engine, f"{role} {suffix}", role)
        engine.dispose()

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        """Return a TCP connection; `receive_buffer` is its size in bytes, 0: the default of the system."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def request_head(self, method: str, path: str, *headers: str, role: str = "admin") -> bytes:
        """Return the head of a request with the token of a role; one of POST announces JSON."""
        token = f"Authorization: Bearer {self.tokens[role]}"
        media = ["Content-Type: application/json"] if method == "POST" else []
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", token, *media, *headers, "", ""]).encode()

    def count_streams(self) -> int:
        """Return how many long polls and event streams are open, by the metrics."""
        return int(self.metric("syncd_http_streams"))

    def insert(self, type_: ContactType, contact: Contact, region: str = "") -> str:
        """Insert a contact as a sync would; return its id."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("UPDATE directory SET revision = revision + 1")
            row = connection.execute(INSERT_CONTACT, insert_values(type_, contact, region)).fetchone()
            assert row is not None
            connection.execute("INSERT INTO word SELECT n FROM names_of(%s) AS n", [build_index(type_, contact).search])
            return str(row[0])

    def insert_many(self, statement: str = INSERT_MANY_CONTACTS) -> None:
        """Insert many contacts under one new revision."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            with connection.transaction():
                connection.execute(statement)
                connection.execute("UPDATE directory SET revision = revision + 1")
            connection.execute("ANALYZE contact")

    def query_value(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row, as the superuser sees it; None without a row."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(query, values).fetchone()
            return row and row[0]


@contextmanager
def run_daemon(
    folder: Path, database_url: str, settings: str = "", suffix: str = "of the tests"
) -> Iterator[HttpDaemon]:
    """Run a daemon with a token for each role; at the end it must stop with status 0."""
    daemon = HttpDaemon(folder, database_url)
    daemon.configure(settings)
    daemon.start()
    try:
        daemon.create_tokens(suffix)
        yield daemon
    finally:
        status = daemon.stop()
    assert status == 0, daemon.log.read_text()[-3000:]


def create_template(postgres: Postgres, name: str) -> str:
    """Create a database with the schema, to be copied and never written to; return its name."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    engine = open_engine(Database(url=postgres.url(name)), None)
    migrate.migrate(engine)
    engine.dispose()
    return name


def create_database(postgres: Postgres, template: str) -> str:
    """Create a copy of the template; return its URL. It is dropped with its server."""
    name = f"shared_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.url(name)


@dataclass
class SampleDirectory:
    """A daemon with sample contacts, their ids by userName or name, and a client for each role."""

    daemon: HttpDaemon
    ids: dict[str, str]
    admin: httpx.Client
    agent: httpx.Client

    def names(self, query: str) -> list[str]:
        """Return the names of the contacts that match a query, in the order of the answer."""
        answer = self.agent.get("/api/v2/contacts" + ("?" + query if query else ""))
        assert answer.status_code == 200, answer.text
        return [contact["name"] for contact in answer.json()["contacts"]]


@dataclass
class DaemonWithRuns:
    """A daemon that does not sync by itself, its environment, and the reports of the runs before its start."""

    daemon: DaemonProcess
    env: Environment
    runs: list[Report]


@contextmanager
def run_daemon_with_runs(slapd: Slapd, database_url: str, folder: Path) -> Iterator[DaemonWithRuns]:
    """Run a daemon after `create_run_history`, with a token for each role; it must stop with status 0."""
    branch = Branch(slapd)
    env = Environment(folder, database_url, branch)
    runs = create_run_history(env)
    daemon = DaemonProcess.with_settings_of(env)
    daemon.tokens = {role: env.create_token(role, role) for role in ("admin", "agent")}
    daemon.start()
    try:
        yield DaemonWithRuns(daemon, env, runs)
    finally:
        status = daemon.stop()
        branch.close()
    assert status == 0


def make_user(first: str, last: str, login: str, number: str = "", **members: Any) -> tuple[ContactType, Contact]:
    """Return a user with the usual members; `members` are further ones, or other `numbers`."""
    numbers = members.pop("numbers", (PhoneNumber(number, "office"),) if number else ())
    return "User", Contact(f"{first} {last}", numbers, first_name=first, last_name=last, user_name=login, **members)


PEOPLE: list[tuple[ContactType, Contact]] = [
    make_user("Jim", "Halpert", "jhalpert", "+1 570 555-0101", employee_id="7", email_address="jim@dm.example",
              roles=("ROLE_AGENT", "ROLE_SALES"), business_units=("AG_DEV",)),
    make_user("Jim", "Morrison", "jmorrison", "570.555.0102", employee_id="8", roles=("ROLE_AGENT",),
              business_units=("AG_OPS",)),
    make_user("Pam", "Beesly", "pbeesly", employee_id="9", roles=("ROLE_ADMIN",), business_units=("AG_DEV", "AG_OPS"),
              numbers=(PhoneNumber("570 555 0103", "office"), PhoneNumber("0160 / 99 88", "mobile"))),
    make_user("Zoë", "Åkesson", "zakesson", email_address="zoe@dm.example"),
    make_user("anna", "zimmer", "azimmer", "(555) CALL-ANNA"),
    make_user("O'Brien", "Smith, Jr.", "obrien", "x'); DROP TABLE contact;--"),
    make_user("100%", "under_score\\", "percent", "*99"),
    ("Queue", Contact("Sales East", (PhoneNumber("+1 555 010 2000"),), channel="voice")),
    ("Queue", Contact("Support", (), channel="chat")),
    ("Queue", Contact("jhalpert")),
]  # fmt: skip
CUSTOM = [("Dwight Schrute", "xxx-xxx-xxxx"), ("Ärzte, Notdienst", "112"), ("Jim Halpert", "570 555 0199")]


def receive_all(connection: socket.socket) -> bytes:
    """Return all bytes until the end of a connection, whether it is closed or reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def assert_error(answer: httpx.Response, status: int, code: int) -> str:
    """Assert that an answer is an error in the contract's form; return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"statusCode", "statusMessage"}
    assert body["statusCode"] == code, body
    assert len(body["statusMessage"]) > 10
    return str(body["statusMessage"])


def assert_ok(answer: httpx.Response) -> Any:
    """Assert that an answer is a success in the contract's form; return its body."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["statusCode"] == 0
    return answer.json()
