"""The tour: private servers with sample data, the real daemon on them, and what a reader can try on it.

What belongs here: the order in which things start and stop, and what the reader is told. The daemon, its schema and its
token come from the same commands that an operator types.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from syncd.demo import people
from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.errors import SyncdError

SETTINGS = """\
# The settings of this demonstration. config/syncd.toml in the repository explains every key.

[database]
url = "{database}"

[http]
listen = "127.0.0.1:{port}"

[[source]]
name = "people"
type = "User"
kind = "ldap"
urls = ["{directory}"]
tls = "none"                       # a private server on this machine; anywhere else: "ldaps" or "starttls"
bind = "simple"
bind_dn = "{bind_dn}"
bind_password_file = "./password"
base = "{base}"
filter = "(objectClass=inetOrgPerson)"
schedule = {{ every = "15s" }}

[[source]]
name = "queues"
type = "Queue"
kind = "file"
path = "queues.toml"
schedule = {{ every = "15s" }}       # and at once when the file changes
"""

HOW_TO = """
----------------------------------------------------------------------------------------------------
syncd is running. It has read {users} users from a private LDAP server and {queues} queues from a file, and
one contact, {own}, was made over HTTP: every sync leaves it as it is. Open another terminal and try:

  # the first three contacts, whatever their type
  curl -s {auth} '{url}?limit=3'

  # everyone whose name begins with "zoe", accents or not
  curl -s {auth} '{url}?filterName=NamesOrPhoneNumberMatches&filterParameters=zoe*'

  # the queues
  curl -s {auth} '{url}?type=Queue&fields=name,phoneNumber,channel'

  # a contact of your own; no sync ever touches it
  curl -s {auth} -H 'Content-Type: application/json' -d '{{"name":"Taxi","phoneNumber":"+1 555 0100"}}' '{url}'

  # a user belongs to the directory: this is refused
  curl -s {auth} -H 'Content-Type: application/json' -X PUT -d '{{"name":"Somebody Else"}}' '{url}/{user}'

  # how it is doing
  curl -s '{base}/health'

Change a queue and save: it arrives within a second or two. Break the file: nothing is lost.
  {queue_file}

Take a queue out: it is missing, and shown until its grace is over. Empty the file: that is held. See what is going on:
  {python} -m syncd --config {settings} status
  {python} -m syncd --config {settings} held

What would the next sync change? Why is somebody as they are?
  {python} -m syncd --config {settings} plan
  {python} -m syncd --config {settings} explain Reception

Ctrl-C stops everything and removes {folder}.
----------------------------------------------------------------------------------------------------
"""

OWN_CONTACT = {"name": "Reception", "phoneNumber": "+1 555 0199"}

PATIENCE = 90
"""Seconds until the daemon must have served its first users and queues."""

STOP_WITHIN = 40
"""Seconds that the daemon gets to stop; its own limit for open requests is 20."""


class DemoFailed(SyncdError):
    """A part of the demonstration did not do what it should."""


def run(port: int | None = None) -> int:
    """Show the daemon until Ctrl-C, then leave nothing behind; the exit status. Raises SyncdError."""
    # all of them end the way Ctrl-C does, and Ctrl-C does even where a shell started us with SIGINT ignored
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    with ExitStack() as leaving:
        try:
            daemon = _start(leaving, port or free_port())
            return _follow(daemon)
        except KeyboardInterrupt:
            _say("stopping")
            return 0
        finally:
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave servers behind


def _start(leaving: ExitStack, port: int) -> "Daemon":
    folder = Path(tempfile.mkdtemp(prefix="syncd-demo-"))
    leaving.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)  # the servers run as another user and have folders of their own in it
    database, directory = Postgres(folder / "postgres"), Slapd(folder / "slapd")
    _say("starting a private PostgreSQL and a private LDAP server")
    leaving.callback(database.stop)
    database.create()
    database.start()
    leaving.callback(directory.stop)
    directory.create(people.ldif())
    directory.start()
    settings = _write_settings(folder, database, directory, port)
    _say("making the schema and an API token: syncd migrate, syncd token create")
    _command(settings, "migrate")
    token = _command(settings, "token", "create", "--role", "admin", "--name", "demo").split()[-1]
    _say("starting the daemon; these are its own words:")
    daemon = leaving.enter_context(_daemon(settings, f"http://127.0.0.1:{port}", token))
    daemon.await_contacts()
    daemon.request("POST", "/api/v2/contacts", OWN_CONTACT)
    print(_how_to(daemon, settings), flush=True)
    return daemon


def _follow(daemon: "Daemon") -> int:
    """Wait for the daemon; it is not meant to end by itself."""
    status = daemon.process.wait()
    raise DemoFailed(f"the daemon ended by itself with status {status}; the reason is in its last lines above")


def _write_settings(folder: Path, database: Postgres, directory: Slapd, port: int) -> Path:
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(directory.password)
    (folder / "queues.toml").write_text(people.QUEUES, encoding="utf-8")
    settings = folder / "syncd.toml"
    settings.write_text(
        SETTINGS.format(
            database=database.url(),
            port=port,
            directory=directory.url,
            bind_dn=directory.root_dn,
            base=people.BASE,
        ),
        encoding="utf-8",
    )
    return settings


def _words(settings: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "syncd", "--config", str(settings), *words]


def _surroundings() -> dict[str, str]:
    """Our environment without the reader's own syncd settings, which would win over the demonstration's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}


def _command(settings: Path, *words: str) -> str:
    """What a syncd command says on stdout. Raises DemoFailed with its words when it fails."""
    done = subprocess.run(
        _words(settings, *words), capture_output=True, text=True, check=False, env=_surroundings()
    )  # fmt: skip
    if done.returncode:
        raise DemoFailed(f"syncd {words[0]} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def _daemon(settings: Path, base: str, token: str) -> Iterator["Daemon"]:
    # a session of its own: Ctrl-C reaches us alone, and whatever the daemon started can be found by it
    process = subprocess.Popen(_words(settings, "run"), env=_surroundings(), start_new_session=True)
    try:
        yield Daemon(process, base, token)
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            _say(f"the daemon did not stop within {STOP_WITHIN} seconds and is killed")
        _kill_session(process)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # as it should be: it took everything with it
    process.wait()


class Daemon:
    """The running daemon, as a client sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", base: str, token: str) -> None:
        self.process = process
        self.base = base
        self.token = token
        # straight to this machine, whatever proxy the environment names
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer to a request of the administrator. Raises OSError when there is none, DemoFailed when refused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)  # noqa: S310 - it is http
        try:
            with self._opener.open(request, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as refusal:
            raise DemoFailed(f"the daemon refuses {method} {path}: {refusal.read().decode()}") from None

    def count(self, type_: str) -> int:
        """How many contacts of a type it serves."""
        return int(self.request("GET", f"/api/v2/contacts?type={type_}&limit=0")["totalCount"])

    def await_contacts(self) -> None:
        """Return when the first syncs of both sources have arrived."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                _follow(self)
            if self._synced():
                return
            time.sleep(0.5)
        raise DemoFailed(f"no users or queues arrived within {PATIENCE} seconds; the daemon's lines above say why")

    def _synced(self) -> bool:
        try:
            return all(source["lastSuccess"] for source in self.request("GET", "/health")["sources"])
        except OSError:
            return False  # it does not listen yet


def _how_to(daemon: Daemon, settings: Path) -> str:
    first = daemon.request("GET", "/api/v2/contacts?type=User&limit=1")["contacts"][0]
    return HOW_TO.format(
        users=daemon.count("User"),
        queues=daemon.count("Queue"),
        own=OWN_CONTACT["name"],
        auth=f"-H 'Authorization: Bearer {daemon.token}'",
        base=daemon.base,
        url=f"{daemon.base}/api/v2/contacts",
        user=first["id"],
        queue_file=settings.with_name("queues.toml"),
        python=sys.executable,
        settings=settings,
        folder=settings.parent,
    )


def _say(sentence: str) -> None:
    print(f"syncd demo: {sentence}", file=sys.stderr, flush=True)
