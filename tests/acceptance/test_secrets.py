"""Secrets stay where they were put: each is looked for in all that comes out of commands and the daemon.

Every secret holds a random core. It is searched for as it is, and in base64 and hexadecimal; the encodings of URLs and
JSON leave such a core as it is.
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
from syncd.demo.servers import Postgres, Slapd
from syncd.drill.proxy import dead_port
from tests import ldap_accounts
from tests.certificate_authority import Authority
from tests.environment import Premises
from tests.http_daemon import logged
from tests.scripted_ldap import wait_until

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
stop_within = "10s"
[log]
level = "debug"
format = "json"
[notice.webhook]
url_file = "./hook-url"
token_file = "./hook-token"
[notice.mail]
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
[sign_in]
source = "corp"
agent_groups = ["{group}"]
"""
NEVER = '{ cron = "0 0 29 2 *" }'
OFTEN = '{ every = "1s" }'
# all commands in one process, each as the command line calls it
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


def forms(core: str) -> list[bytes]:
    """The core as it is, in hexadecimal, and in base64 wherever it stands in what was encoded."""
    raw = core.encode()
    encoded = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, raw.hex().encode(), *encoded]


@dataclass
class Vault:
    """A folder with settings and every kind of secret, servers that know them, and all that came out of syncd."""

    site: Premises
    slapd: Slapd
    authority: Authority
    cores: dict[str, str]
    user: str
    hook: int
    out: dict[str, bytes] = field(default_factory=dict)

    def secret(self, kind: str) -> str:
        """Of enough kinds of characters to be changed by whatever encodes it."""
        return f"/hooks/{self.cores[kind]}" if kind == "webhook URL" else f"p+%/&= {self.cores[kind]} ü"

    def settings(self, name: str, more: str = "", **changes: Any) -> Path:
        """Write settings; return their file."""
        values = {
            "database": self.site.database_url.replace("postgres@", f"{self.user}@"), "db": "./db", "bind": "./bind",
            "port": self.site.port, "dead": dead_port(), "ldaps": self.slapd.tls_port, "ca": "ca.pem",
            "tls": self.authority.folder, "reader": READER, "base": ldap_accounts.PEOPLE,
            "schedule": NEVER, "group": GROUP,
        } | changes  # fmt: skip
        path = self.site.folder / name
        path.write_text(SETTINGS.format(**values) + more)
        return path

    def keep(self, what: str, text: bytes | str) -> None:
        """Remember something that came out."""
        self.out[what] = self.out.get(what, b"") + (text if isinstance(text, bytes) else text.encode())

    def leaks(self) -> list[str]:
        """Which secret is where."""
        return [
            f"{kind} in {what}: {text[max(0, text.find(form) - 200) :][:300]!r}"
            for kind, core in self.cores.items()
            for what, text in self.out.items()
            for form in forms(core)
            if form in text
        ]

    def watch(self, process: int) -> None:
        """Keep what anybody sees of our process and its children: command lines and environments."""
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
                    self.keep(f"processes: {part}", Path(f"/proc/{one}/{part}").read_bytes() + b"\n")
                except OSError:
                    continue
        self.keep("processes: number", f"{len(family)}\n")


class Echo(BaseHTTPRequestHandler):
    """A webhook that refuses, and repeats in its answer what it got."""

    def do_POST(self) -> None:
        said = f"{self.path} {self.headers['Authorization'].encode('latin-1', 'replace')!r}"
        self.send_response(401, said)
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
        """Say nothing."""


@pytest.fixture(scope="module")
def marked() -> dict[str, str]:
    return {kind: secrets.token_hex(12) for kind in KINDS}


@pytest.fixture(scope="module")
def marked_slapd(server_folder: Path, authority: Authority, marked: dict[str, str]) -> Iterator[Slapd]:
    """A server whose reader and whose one person have the passwords that are looked for."""
    passwords = {kind: f"p+%/&= {core} ü" for kind, core in marked.items()}
    ldif = ldap_accounts.ldif() + ldap_accounts.person(READER, "reader", passwords["bind password"])
    ldif += ldap_accounts.person(f"uid={LOGIN},{ldap_accounts.PEOPLE}", LOGIN, passwords["sign-in password"])
    ldif += ldap_accounts.entry(
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
def vault(
    site: Premises, marked_slapd: Slapd, authority: Authority, marked: dict[str, str], postgres: Postgres
) -> Iterator[Vault]:
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    made = Vault(site, marked_slapd, authority, dict(marked), f"marked_{secrets.token_hex(4)}", hook.server_port)
    # the middle of the key's PEM text is as secret as the rest of it
    lines = (authority.folder / "client.key").read_text().splitlines()
    made.cores["client key"] = lines[len(lines) // 2]
    for name, kind in {
        "bind": "bind password", "bind-wrong": "wrong bind password", "db": "database password",
        "db-wrong": "wrong database password", "hook-token": "webhook token", "mail": "mail password",
    }.items():  # fmt: skip
        site.secret(name, made.secret(kind))
    site.secret("hook-url", f"http://localhost:{hook.server_port}{made.secret('webhook URL')}")
    (site.folder / "ca.pem").write_bytes(authority.file.read_bytes())
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {made.user} LOGIN")
        set_password(connection, made, "database password")
        connection.execute(f"GRANT syncd_sync, syncd_api TO {made.user}")
        rules = postgres.folder / "pg_hba.conf"
        rules.write_text(f"host all {made.user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    yield made
    hook.shutdown()
    hook.server_close()


def set_password(connection: psycopg.Connection[Any], vault: Vault, kind: str) -> None:
    connection.execute(f"ALTER ROLE {vault.user} PASSWORD '{vault.secret(kind)}'")


def dump(vault: Vault) -> None:
    """Keep all rows of all tables, and what the server tells of our sessions."""
    tables = vault.site.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in [row["tablename"] for row in tables]:
        rows = vault.site.rows(f"SELECT t::text AS line FROM {table} t")
        vault.keep(f"table {table}", "\n".join(row["line"] for row in rows))
    vault.keep("sessions", str(vault.site.rows("SELECT application_name, query FROM pg_stat_activity")))


def commands(folder: Path) -> dict[str, list[list[str]]]:
    """Every command as it is tried; `run` is the daemon's test."""
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


def misplaced(vault: Vault) -> Iterator[tuple[str, dict[str, str]]]:
    """Settings with a password where none belongs, and environments that have one."""
    password = vault.cores["misplaced password"]
    good = vault.settings("good.toml").read_text()
    url = vault.site.database_url.replace("postgres@", f"{vault.user}:{password}@")
    texts = [
        good.replace("ldaps://localhost", f"ldaps://me:{password}@localhost"),
        good.replace('bind_password_file = "./bind"', f'bind_password = "{password}"'),
        good.replace('bind_password_file = "./bind"', f'bind_password_file = "{password}"'),
        good.replace('bind_password_file = "./bind"', f'bind_password_file = "{password[:9]}/{password}"'),
        good.replace('password_file = "./db"', f'password_file = "{password}"'),
        good.replace('password_file = "./db"', f'password = "{password}"'),
        good.replace('password_file = "./db"', f"password_file = {password}"),
        good.replace('password_file = "./db"', f'password_file = ["{password}"]'),
        good.replace(vault.site.database_url.replace("postgres@", f"{vault.user}@"), url),
        good.replace(vault.site.database_url.replace("postgres@", f"{vault.user}@"), f"host=x password={password}"),
        good.replace('url_file = "./hook-url"', f'url = "http://me:{password}@localhost/x"'),
        good.replace('url_file = "./hook-url"', f'url = "ftp://localhost/{password}"'),
        good.replace('token_file = "./hook-token"', f'token = "{password}"'),
        good.replace('token_file = "./hook-token"', f'token_file = "{password}"'),
    ]
    for number, text in enumerate(texts):
        path = vault.site.folder / f"misplaced-{number}.toml"
        path.write_text(text)
        yield str(path), {}
    yield str(vault.site.folder / "good.toml"), {"SYNCD_DATABASE__URL": url}
    yield str(vault.site.folder / "good.toml"), {"SYNCD_DATABASE__PASSWORD": password}
    yield str(vault.site.folder / "good.toml"), {"SYNCD_DATABASE": f'{{"password": "{password}"'}


def test_the_search_finds_what_is_there(vault: Vault) -> None:
    """Plain, in a URL, in JSON, in hexadecimal, and in base64 at every offset."""
    text = vault.secret("bind password")
    ways: list[Callable[[str], str]] = [
        str, json.dumps, lambda t: str(httpx.QueryParams({"q": t})), lambda t: t.encode().hex(),
        *(lambda t, n=n: base64.b64encode(b"a" * n + t.encode()).decode() for n in range(3)),
    ]  # fmt: skip
    for number, way in enumerate(ways):
        vault.out = {"here": way(text).encode()}
        assert vault.leaks(), number


def test_no_command_shows_a_secret(vault: Vault) -> None:
    """Every command, with good settings, wrong passwords, another authority, no database; settings that hold one."""
    folder = vault.site.folder
    (folder / "people.csv").write_text("name,phoneNumber\nSomebody,1\n")
    stranger = Authority(folder / "stranger")
    files = [
        vault.settings("good.toml"),
        vault.settings("bind.toml", bind="./bind-wrong"),
        vault.settings("authority.toml", ca=stranger.file),
        vault.settings("password.toml", db="./db-wrong"),
        vault.settings("away.toml", database=f"postgresql://x@127.0.0.1:{dead_port()}/x"),
    ]
    table = commands(folder)
    assert set(table) == set(cli.syncd.list_commands(click.Context(cli.syncd)))
    work: list[tuple[str, dict[str, str], list[str]]] = [
        (str(file), {}, words) for file in files for tried in table.values() for words in tried
    ]
    wrong = list(misplaced(vault))
    work += [(path, environment, ["status"]) for path, environment in wrong]

    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(work).encode(), capture_output=True, check=False, timeout=500,
        env=environment,
    )  # fmt: skip
    ended = [line for line in done.stderr.decode().splitlines() if line.startswith("== ")]

    assert len(ended) == len(work), done.stderr.decode()[-3000:]
    assert not [line for line in ended if line.endswith(": defect")], done.stderr.decode()[-5000:]
    assert "== good.toml sync: 0" in ended
    assert {"== bind.toml sync: 3", "== authority.toml sync: 3", "== password.toml sync: 1"} <= set(ended)
    assert [line for line in ended if line.startswith("== misplaced")] == [
        f"== misplaced-{number}.toml status: 78"
        for number in range(len([line for line in ended if "misplaced" in line]))
    ]
    tokens = [line for line in done.stdout.decode().splitlines() if line.startswith("syncd_")]
    assert len(tokens) == 1
    vault.cores["token"] = tokens[0].removeprefix("syncd_")
    vault.keep("stdout", done.stdout.replace(tokens[0].encode(), b"", 1))
    vault.keep("stderr", done.stderr)
    for name in ("plan.json", "out.csv"):
        vault.keep(name, (folder / name).read_bytes())
    dump(vault)
    assert vault.leaks() == []


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Observed:
    """A daemon in a vault: whatever it answers, logs and shows of its processes is kept."""

    def __init__(self, vault: Vault, token: str) -> None:
        self.vault = vault
        self.token = token
        self.seen = 0
        self.log = vault.site.folder / "daemon.log"
        self.file = vault.settings("syncd.toml", schedule=OFTEN)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "--config", str(self.file), "run"], stdout=sink, stderr=sink,
                env=environment,
            )  # fmt: skip

    def get(self, path: str, headers: dict[str, str] | None = None) -> int:
        """The status of an answer; 0 while nobody listens."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.vault.site.port}{path}", headers=headers or {}, timeout=60)
        except httpx.TransportError:
            return 0
        self.vault.keep(f"answers {path.partition('?')[0]}", f"{answer.headers}\n{answer.text}\n")
        return answer.status_code

    def until(self, event: str, words: str = "") -> None:
        """Wait for the next such line, and look at the processes and at what everybody may ask meanwhile."""

        def come() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            self.vault.watch(self.process.pid)
            time.sleep(0.1)
            for line in logged(self.log)[self.seen :]:
                self.seen += 1
                if line["event"] == event and words in json.dumps(line):
                    return True
            return False

        wait_until(come)
        for path in ("/health", "/metrics", "/ready"):
            self.get(path)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


@pytest.fixture
def observed(vault: Vault) -> Iterator[Observed]:
    from syncd.demo.servers import free_port

    vault.site.port = free_port()
    made = vault.site.command("token", "create", "--role", "admin", "--name", "observer").stdout.strip()
    vault.cores["token"] = made.removeprefix("syncd_")
    daemon = Observed(vault, made)
    yield daemon
    daemon.stop()


def test_the_daemon_shows_no_secret(vault: Vault, observed: Observed) -> None:
    """Syncs and sign-ins, well and refused; another authority, a lost database, a defect, a reload."""
    folder = vault.site.folder
    observed.until("sync.completed")
    observed.until("notice.failed", "answered 401")  # of the certificate, which ends soon
    good = basic(LOGIN, vault.secret("sign-in password"))
    wrong = basic(LOGIN, vault.secret("wrong sign-in password"))
    for path in ("/api/v2/contacts", "/api/v2/sync/status", "/openapi.json", f"/no?token={vault.cores['wrong token']}"):
        for headers in (bearer(observed.token), good, wrong, bearer(vault.cores["wrong token"]), {}):
            observed.get(path, headers)
    assert observed.get("/api/v2/contacts", good) == 200
    assert observed.get("/api/v2/contacts", basic(vault.cores["wrong sign-in password"], "x")) == 401

    vault.site.secret("bind", vault.secret("wrong bind password"))
    observed.until("sync.incomplete", "invalidCredentials")
    assert observed.get("/api/v2/contacts", basic(LOGIN, vault.secret("misplaced password"))) in {401, 503}
    vault.site.secret("bind", vault.secret("bind password"))
    observed.until("sync.completed")
    (folder / "ca.pem").write_bytes(Authority(folder / "stranger").file.read_bytes())
    observed.until("sync.incomplete", "certificate")
    (folder / "ca.pem").write_bytes(vault.authority.file.read_bytes())
    observed.until("sync.completed")

    with psycopg.connect(vault.site.database_url, autocommit=True) as connection:
        set_password(connection, vault, "misplaced password")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [vault.user])
        observed.until("database.lost")
        assert observed.get("/api/v2/contacts", good) == 503
        set_password(connection, vault, "database password")
        observed.until("database.back")
        connection.execute("ALTER FUNCTION similarity RENAME TO dissimilarity")
        wait_until(lambda: observed.get("/api/v2/contacts?q=nobody", good) == 500)
        connection.execute("ALTER FUNCTION dissimilarity RENAME TO similarity")

    text = observed.file.read_text()
    observed.file.write_text(
        text.replace('password_file = "./db"', f'password = "{vault.cores["misplaced password"]}"')
    )
    os.kill(observed.process.pid, signal.SIGHUP)
    observed.until("settings.refused")
    observed.file.write_text(text)
    assert observed.stop() == 0

    vault.keep("log", observed.log.read_bytes())
    dump(vault)
    events = {line["event"] for line in logged(observed.log)}
    assert {"sync.completed", "access.refused", "http.request", "notice.failed", "daemon.stopped"} <= events
    assert any(line.get("status") == 500 and "exception" in line for line in logged(observed.log))
    assert b"2" in vault.out["processes: number"], "a run is a process of its own"
    assert vault.leaks() == []
