"""Secrets are never shown: each is searched for in all output of commands and of the daemon.

Every secret contains a random marker. The marker is searched for in plain text, base64 and hexadecimal; the encodings
of URLs and JSON do not change it.
"""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import httpx
import psycopg
import pytest

from syncd import cli
from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.drill.proxy import dead_port
from tests import ldap_accounts
from tests.certificate_authority import CertificateAuthority
from tests.daemon_process import DaemonProcess
from tests.environment import Environment
from tests.waiting import wait_until

READER = f"cn=marked,{ldap_accounts.ROOT}"
LOGIN = "marked"
GROUP = f"cn=marked,{ldap_accounts.GROUPS}"
KINDS = (
    "bind password", "wrong bind password", "database password", "wrong database password", "sign-in password",
    "wrong sign-in password", "wrong token", "webhook URL", "webhook token", "mail password", "misplaced password",
)  # fmt: skip
SETTINGS = """\
[database]
url = "{database}"
password_file = "{db}"
[http]
listen = "127.0.0.1:{port}"
shutdown_timeout = "10s"
[log]
level = "debug"
format = "json"
[alerts.webhook]
url_file = "./hook-url"
token_file = "./hook-token"
[alerts.mail]
host = "127.0.0.1"
port = {dead}
sender = "syncd@example.com"
to = ["people@example.com"]
user = "syncd"
password_file = "./mail"
[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["ldaps://localhost:{ldaps}"]
ca_file = "{ca}"
cert_file = "{tls}/client.pem"
key_file = "{tls}/client.key"
bind_dn = "{reader}"
bind_password_file = "{bind}"
base = "{base}"
schedule = {schedule}
[authentication]
source = "corp"
agent_groups = ["{group}"]
"""
NEVER = '{ cron = "0 0 29 2 *" }'
EVERY_SECOND = '{ every = "1s" }'
# all commands in one process, each called like by the command line
DRIVER = """
import json, os, sys, traceback
from syncd.cli import main
for config, environment, words in json.load(sys.stdin):
    os.environ.update(environment)
    sys.argv = ["syncd", "--config", config, *words]
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = "defect"
    for name in environment:
        del os.environ[name]
    print(f"== {config.rpartition('/')[2]} {' '.join(words[:1])}: {status}", file=sys.stderr, flush=True)
"""


def encodings(marker: str) -> list[bytes]:
    """Return the marker in plain text, in hexadecimal, and in base64 at each of the three offsets."""
    raw = marker.encode()
    encoded = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, raw.hex().encode(), *encoded]


@dataclass
class SecretsEnvironment:
    """A folder with settings and every kind of secret, servers that accept them, and all output of syncd."""

    env: Environment
    slapd: Slapd
    authority: CertificateAuthority
    markers: dict[str, str]
    user: str
    webhook_port: int
    output: dict[str, bytes] = field(default_factory=dict)
    """Name of the output -> its bytes."""

    def secret(self, kind: str) -> str:
        """Return a secret, with characters that each encoding changes."""
        return f"/hooks/{self.markers[kind]}" if kind == "webhook URL" else f"p+%/&= {self.markers[kind]} ü"

    def write_settings(self, name: str, **changes: Any) -> Path:
        """Write settings with these values of SETTINGS; return the file."""
        values = {
            "database": self.env.database_url.replace("postgres@", f"{self.user}@"), "db": "./db", "bind": "./bind",
            "port": self.env.port, "dead": dead_port(), "ldaps": self.slapd.tls_port, "ca": "ca.pem",
            "tls": self.authority.folder, "reader": READER, "base": ldap_accounts.PEOPLE,
            "schedule": NEVER, "group": GROUP,
        } | changes  # fmt: skip
        path = self.env.folder / name
        path.write_text(SETTINGS.format(**values))
        return path

    def collect(self, name: str, text: bytes | str) -> None:
        """Append to an output."""
        self.output[name] = self.output.get(name, b"") + (text if isinstance(text, bytes) else text.encode())

    def find_leaks(self) -> list[str]:
        """Return kind, output and context of each secret that is shown."""
        return [
            f"{kind} in {name}: {text[max(0, text.find(form) - 200) :][:300]!r}"
            for kind, marker in self.markers.items()
            for name, text in self.output.items()
            for form in encodings(marker)
            if form in text
        ]

    def collect_processes(self, process: int) -> None:
        """Collect the command lines and environments of a process and its descendants."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
        family = {process}
        while more := {child for child, parent in parents.items() if parent in family} - family:
            family |= more
        for one in family:
            for part in ("cmdline", "environ"):
                try:
                    self.collect(f"processes: {part}", Path(f"/proc/{one}/{part}").read_bytes() + b"\n")
                except OSError:
                    continue
        self.collect("processes: number", f"{len(family)}\n")


class EchoWebhook(BaseHTTPRequestHandler):
    """A webhook that rejects every request, and repeats it in the response."""

    def do_POST(self) -> None:
        message = f"{self.path} {self.headers['Authorization'].encode('latin-1', 'replace')!r}"
        self.send_response(401, message)
        self.end_headers()
        self.wfile.write(message.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
        """Log nothing."""


@pytest.fixture(scope="module")
def markers() -> dict[str, str]:
    """Kind of secret -> its marker."""
    return {kind: secrets.token_hex(12) for kind in KINDS}


@pytest.fixture(scope="module")
def slapd_with_markers(
    server_folder: Path, authority: CertificateAuthority, markers: dict[str, str]
) -> Iterator[Slapd]:
    """A server with a reader and an account that have marked passwords."""
    passwords = {kind: f"p+%/&= {core} ü" for kind, core in markers.items()}
    ldif = ldap_accounts.build_ldif() + ldap_accounts.ldif_person(READER, "reader", passwords["bind password"])
    ldif += ldap_accounts.ldif_person(f"uid={LOGIN},{ldap_accounts.PEOPLE}", LOGIN, passwords["sign-in password"])
    ldif += ldap_accounts.ldif_entry(
        GROUP, ("objectClass", "groupOfNames"), ("member", f"uid={LOGIN},{ldap_accounts.PEOPLE}")
    )
    rules = (
        "include /etc/ldap/schema/nis.schema\n"
        f'access to attrs=userPassword by anonymous auth by * none\naccess to * by dn.exact="{READER}" read by * none\n'
    )
    server = Slapd(server_folder / "marked-slapd", tls=authority.folder, extra=rules)
    server.create(ldif)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def secrets_env(
    env: Environment,
    slapd_with_markers: Slapd,
    authority: CertificateAuthority,
    markers: dict[str, str],
    postgres: Postgres,
) -> Iterator[SecretsEnvironment]:
    """An environment with all secrets, and a database role of its own that requires a password."""
    webhook = ThreadingHTTPServer(("127.0.0.1", 0), EchoWebhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    user = f"marked_{secrets.token_hex(4)}"
    secrets_env = SecretsEnvironment(env, slapd_with_markers, authority, dict(markers), user, webhook.server_port)
    # the middle of the key's PEM text is as secret as the rest of it
    lines = (authority.folder / "client.key").read_text().splitlines()
    secrets_env.markers["client key"] = lines[len(lines) // 2]
    for name, kind in {
        "bind": "bind password", "bind-wrong": "wrong bind password", "db": "database password",
        "db-wrong": "wrong database password", "hook-token": "webhook token", "mail": "mail password",
    }.items():  # fmt: skip
        env.write_secret(name, secrets_env.secret(kind))
    env.write_secret("hook-url", f"http://localhost:{webhook.server_port}{secrets_env.secret('webhook URL')}")
    (env.folder / "ca.pem").write_bytes(authority.file.read_bytes())
    with psycopg.connect(env.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {secrets_env.user} LOGIN")
        set_password(connection, secrets_env, "database password")
        connection.execute(f"GRANT syncd_sync, syncd_api TO {secrets_env.user}")
        rules = postgres.folder / "pg_hba.conf"
        rules.write_text(f"host all {secrets_env.user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    yield secrets_env
    webhook.shutdown()
    webhook.server_close()


def set_password(connection: psycopg.Connection[Any], secrets_env: SecretsEnvironment, kind: str) -> None:
    connection.execute(f"ALTER ROLE {secrets_env.user} PASSWORD '{secrets_env.secret(kind)}'")


def collect_database(secrets_env: SecretsEnvironment) -> None:
    """Collect all rows of all tables, and the sessions that the server shows."""
    tables = secrets_env.env.fetch_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in [row["tablename"] for row in tables]:
        rows = secrets_env.env.fetch_rows(f"SELECT t::text AS line FROM {table} t")
        secrets_env.collect(f"table {table}", "\n".join(row["line"] for row in rows))
    secrets_env.collect(
        "sessions", str(secrets_env.env.fetch_rows("SELECT application_name, query FROM pg_stat_activity"))
    )


def commands(folder: Path) -> dict[str, list[list[str]]]:
    """Return the calls of every command; `run` has a test of its own."""
    plan, people, exported = str(folder / "plan.json"), str(folder / "people.csv"), str(folder / "out.csv")
    return {
        "migrate": [["migrate"], ["migrate", "--plan"], ["migrate", "--check"]],
        "plan": [["plan"], ["plan", "--json"], ["plan", "--out", plan]], "apply": [["apply", plan]],
        "sync": [["sync"]], "status": [["status"], ["status", "--json"]], "check": [["check"], ["check", "--json"]],
        "held": [["held"]], "approve": [["approve", "1"]], "reject": [["reject", "1"]], "rejects": [["rejects"]],
        "explain": [["explain", LOGIN]], "undo": [["undo", "1"]], "purge": [["purge"]],
        "export": [["export"], ["export", "--format", "json", "--out", exported]], "import": [["import", people]],
        "token": [["token", "create", "--role=agent", "--name=desk"], ["token", "list"], ["token", "revoke", "x"]],
        "demo": [["demo", "--help"]], "drill": [["drill", "--list"]], "run": [],
    }  # fmt: skip


def misplaced_passwords(secrets_env: SecretsEnvironment) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield files and environments with a password in the wrong place."""
    password = secrets_env.markers["misplaced password"]
    good = secrets_env.write_settings("good.toml").read_text()
    url = secrets_env.env.database_url.replace("postgres@", f"{secrets_env.user}:{password}@")
    texts = [
        good.replace("ldaps://localhost", f"ldaps://me:{password}@localhost"),
        good.replace('bind_password_file = "./bind"', f'bind_password = "{password}"'),
        good.replace('bind_password_file = "./bind"', f'bind_password_file = "{password}"'),
        good.replace('bind_password_file = "./bind"', f'bind_password_file = "{password[:9]}/{password}"'),
        good.replace('password_file = "./db"', f'password_file = "{password}"'),
        good.replace('password_file = "./db"', f'password = "{password}"'),
        good.replace('password_file = "./db"', f"password_file = {password}"),
        good.replace('password_file = "./db"', f'password_file = ["{password}"]'),
        good.replace(secrets_env.env.database_url.replace("postgres@", f"{secrets_env.user}@"), url),
        good.replace(
            secrets_env.env.database_url.replace("postgres@", f"{secrets_env.user}@"), f"host=x password={password}"
        ),
        good.replace('url_file = "./hook-url"', f'url = "http://me:{password}@localhost/x"'),
        good.replace('url_file = "./hook-url"', f'url = "ftp://localhost/{password}"'),
        good.replace('token_file = "./hook-token"', f'token = "{password}"'),
        good.replace('token_file = "./hook-token"', f'token_file = "{password}"'),
    ]
    for number, text in enumerate(texts):
        path = secrets_env.env.folder / f"misplaced-{number}.toml"
        path.write_text(text)
        yield str(path), {}
    yield str(secrets_env.env.folder / "good.toml"), {"SYNCD_DATABASE__URL": url}
    yield str(secrets_env.env.folder / "good.toml"), {"SYNCD_DATABASE__PASSWORD": password}
    yield str(secrets_env.env.folder / "good.toml"), {"SYNCD_DATABASE": f'{{"password": "{password}"'}


def test_the_search_finds_every_encoding(secrets_env: SecretsEnvironment) -> None:
    """In plain text, a URL, JSON, hexadecimal, and base64 at every offset."""
    text = secrets_env.secret("bind password")
    encoders: list[Callable[[str], str]] = [
        str, json.dumps, lambda t: str(httpx.QueryParams({"q": t})), lambda t: t.encode().hex(),
        *(lambda t, n=n: base64.b64encode(b"a" * n + t.encode()).decode() for n in range(3)),
    ]  # fmt: skip
    for number, encode in enumerate(encoders):
        secrets_env.output = {"here": encode(text).encode()}
        assert secrets_env.find_leaks(), number


def test_no_command_shows_a_secret(secrets_env: SecretsEnvironment) -> None:
    """Every command, with valid settings, wrong passwords, another authority, no database, misplaced passwords."""
    folder = secrets_env.env.folder
    (folder / "people.csv").write_text("name,phoneNumber\nSomebody,1\n")
    other_authority = CertificateAuthority(folder / "stranger")
    files = [
        secrets_env.write_settings("good.toml"),
        secrets_env.write_settings("bind.toml", bind="./bind-wrong"),
        secrets_env.write_settings("authority.toml", ca=other_authority.file),
        secrets_env.write_settings("password.toml", db="./db-wrong"),
        secrets_env.write_settings("away.toml", database=f"postgresql://x@127.0.0.1:{dead_port()}/x"),
    ]
    table = commands(folder)
    assert set(table) == set(cli.syncd.list_commands(click.Context(cli.syncd)))
    work: list[tuple[str, dict[str, str], list[str]]] = [
        (str(file), {}, words) for file in files for tried in table.values() for words in tried
    ]
    wrong = list(misplaced_passwords(secrets_env))
    work += [(path, environment, ["status"]) for path, environment in wrong]

    result = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(work).encode(), capture_output=True, check=False, timeout=500,
        env=environment_without_settings(),
    )  # fmt: skip
    statuses = [line for line in result.stderr.decode().splitlines() if line.startswith("== ")]

    assert len(statuses) == len(work), result.stderr.decode()[-3000:]
    assert not [line for line in statuses if line.endswith(": defect")], result.stderr.decode()[-5000:]
    assert "== good.toml sync: 0" in statuses
    assert {"== bind.toml sync: 3", "== authority.toml sync: 3", "== password.toml sync: 1"} <= set(statuses)
    assert [line for line in statuses if line.startswith("== misplaced")] == [
        f"== misplaced-{number}.toml status: 78"
        for number in range(len([line for line in statuses if "misplaced" in line]))
    ]
    tokens = [line for line in result.stdout.decode().splitlines() if line.startswith("syncd_")]
    assert len(tokens) == 1
    secrets_env.markers["token"] = tokens[0].removeprefix("syncd_")
    secrets_env.collect("stdout", result.stdout.replace(tokens[0].encode(), b"", 1))
    secrets_env.collect("stderr", result.stderr)
    for name in ("plan.json", "out.csv"):
        secrets_env.collect(name, (folder / name).read_bytes())
    collect_database(secrets_env)
    assert secrets_env.find_leaks() == []


def environment_without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Observer:
    """A daemon whose responses, log and processes are collected."""

    def __init__(self, secrets_env: SecretsEnvironment) -> None:
        self.secrets_env = secrets_env
        self.daemon = DaemonProcess(
            secrets_env.write_settings("syncd.toml", schedule=EVERY_SECOND), secrets_env.env.port
        )
        self._lines = 0
        """Log lines that were examined."""

    def get(self, path: str, headers: dict[str, str] | None = None) -> int:
        """Send a GET and collect the response; return its status, or 0 without a connection."""
        try:
            answer = self.daemon.get(path, headers=headers or {})
        except httpx.TransportError:
            return 0
        self.secrets_env.collect(f"answers {path.partition('?')[0]}", f"{answer.headers}\n{answer.text}\n")
        return answer.status_code

    def wait_for_event(self, event: str, text: str = "") -> None:
        """Wait for the next log line of an event that contains a text; collect processes and public responses."""

        def is_logged() -> bool:
            assert self.daemon.is_running(), self.daemon.log.read_text()[-3000:]
            self.secrets_env.collect_processes(self.daemon.pid)
            time.sleep(0.1)
            for line in self.daemon.log_lines()[self._lines :]:
                self._lines += 1
                if line["event"] == event and text in json.dumps(line):
                    return True
            return False

        wait_until(is_logged)
        for path in ("/health", "/metrics", "/ready"):
            self.get(path)


@pytest.fixture
def observer(secrets_env: SecretsEnvironment) -> Iterator[Observer]:
    """An observer of a running daemon with an admin token, which is a secret too."""
    secrets_env.env.port = free_port()
    token = secrets_env.env.create_token("admin", "observer")
    secrets_env.markers["token"] = token.removeprefix("syncd_")
    observer = Observer(secrets_env)
    observer.daemon.tokens["admin"] = token
    observer.daemon.start(environ=environment_without_settings())
    yield observer
    observer.daemon.kill()


def test_the_daemon_shows_no_secret(secrets_env: SecretsEnvironment, observer: Observer) -> None:
    """Successful and failed syncs and authentications, another authority, a lost database, an error, a reload."""
    folder = secrets_env.env.folder
    observer.wait_for_event("sync.completed")
    observer.wait_for_event("alert.failed", "answered 401")  # the alert about the certificate, which expires soon
    good = basic(LOGIN, secrets_env.secret("sign-in password"))
    wrong = basic(LOGIN, secrets_env.secret("wrong sign-in password"))
    for path in (
        "/api/v2/contacts",
        "/api/v2/sync/status",
        "/openapi.json",
        f"/no?token={secrets_env.markers['wrong token']}",
    ):
        for headers in (
            bearer(observer.daemon.tokens["admin"]),
            good,
            wrong,
            bearer(secrets_env.markers["wrong token"]),
            {},
        ):
            observer.get(path, headers)
    assert observer.get("/api/v2/contacts", good) == 200
    assert observer.get("/api/v2/contacts", basic(secrets_env.markers["wrong sign-in password"], "x")) == 401

    secrets_env.env.write_secret("bind", secrets_env.secret("wrong bind password"))
    observer.wait_for_event("sync.incomplete", "invalidCredentials")
    assert observer.get("/api/v2/contacts", basic(LOGIN, secrets_env.secret("misplaced password"))) in {401, 503}
    secrets_env.env.write_secret("bind", secrets_env.secret("bind password"))
    observer.wait_for_event("sync.completed")
    (folder / "ca.pem").write_bytes(CertificateAuthority(folder / "stranger").file.read_bytes())
    observer.wait_for_event("sync.incomplete", "certificate")
    (folder / "ca.pem").write_bytes(secrets_env.authority.file.read_bytes())
    observer.wait_for_event("sync.completed")

    with psycopg.connect(secrets_env.env.database_url, autocommit=True) as connection:
        set_password(connection, secrets_env, "misplaced password")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [secrets_env.user]
        )
        observer.wait_for_event("database.lost")
        assert observer.get("/api/v2/contacts", good) == 503
        set_password(connection, secrets_env, "database password")
        observer.wait_for_event("database.back")
        connection.execute("ALTER FUNCTION similarity RENAME TO dissimilarity")
        wait_until(lambda: observer.get("/api/v2/contacts?q=nobody", good) == 500)
        connection.execute("ALTER FUNCTION dissimilarity RENAME TO similarity")

    text = observer.daemon.config.read_text()
    observer.daemon.config.write_text(
        text.replace('password_file = "./db"', f'password = "{secrets_env.markers["misplaced password"]}"')
    )
    observer.daemon.send_signal(signal.SIGHUP)
    observer.wait_for_event("settings.rejected")
    observer.daemon.config.write_text(text)
    assert observer.daemon.stop() == 0

    secrets_env.collect("log", observer.daemon.log.read_bytes())
    collect_database(secrets_env)
    events = {line["event"] for line in observer.daemon.log_lines()}
    assert {"sync.completed", "auth.failed", "http.request", "alert.failed", "daemon.stopped"} <= events
    assert any(line.get("status") == 500 and "exception" in line for line in observer.daemon.log_lines())
    assert b"2" in secrets_env.output["processes: number"], "a run is a process of its own"
    assert secrets_env.find_leaks() == []
