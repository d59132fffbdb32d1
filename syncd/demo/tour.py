"""The tour: private servers with sample data, the real daemon on them, and printed commands to try.

The daemon, its schema and its token are made by the same commands that an operator uses.
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
from typing import Any, NoReturn

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
tls = "none"                       # a private server on this machine; otherwise use "ldaps" or "starttls"
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
one contact, {own}, was created over HTTP: no sync changes it. Open another terminal and try:

  # the first three contacts, whatever their type
  curl -s {auth} '{url}?limit=3'

  # contacts with a name that begins with "zoe", with or without accents
  curl -s {auth} '{url}?filterName=NamesOrPhoneNumberMatches&filterParameters=zoe*'

  # the queues
  curl -s {auth} '{url}?type=Queue&fields=name,phoneNumber,channel'

  # create a Custom contact; no sync changes it
  curl -s {auth} -H 'Content-Type: application/json' -d '{{"name":"Taxi","phoneNumber":"+1 555 0100"}}' '{url}'

  # users are read-only: this is rejected
  curl -s {auth} -H 'Content-Type: application/json' -X PUT -d '{{"name":"Somebody Else"}}' '{url}/{user}'

  # the state of the sources
  curl -s '{base}/health'

Change a queue and save: the change is served within two seconds. Break the file: no queue is lost.
  {queue_file}

Delete a queue: it is missing, and served until its grace has elapsed. Empty the file: the removals are held. See both:
  {python} -m syncd --config {settings} status
  {python} -m syncd --config {settings} held

What would the next sync change? Why is a contact as it is?
  {python} -m syncd --config {settings} plan
  {python} -m syncd --config {settings} explain Reception

Ctrl-C stops everything and removes {folder}.
----------------------------------------------------------------------------------------------------
"""

OWN_CONTACT = {"name": "Reception", "phoneNumber": "+1 555 0199"}

START_TIMEOUT = 90
"""Seconds until the daemon must serve its first users and queues."""

STOP_TIMEOUT = 40
"""Seconds until the daemon must have stopped; its own limit for open requests is 20."""


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoFailed(SyncdError):
    """A command or the daemon of the demonstration failed."""


def run_demo(port: int | None = None) -> int:
    """Run the demonstration until Ctrl-C, then remove all of it; return the exit status.

    Raises: DemoFailed, ServerUnavailable.
    """
    # all signals act like Ctrl-C, also if a shell started this process with SIGINT ignored
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as cleanup:
        try:
            _wait_for_exit(_start(cleanup, port or free_port()))
        except KeyboardInterrupt:
            _print_progress("stopping")
            return 0
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind


def _start(cleanup: ExitStack, port: int) -> "DemoDaemon":
    folder = Path(tempfile.mkdtemp(prefix="syncd-demo-"))
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)  # the servers run as another user and have folders of their own in it
    database, directory = Postgres(folder / "postgres"), Slapd(folder / "slapd")
    _print_progress("starting a private PostgreSQL and a private LDAP server")
    cleanup.callback(database.stop)
    database.create()
    database.start()
    cleanup.callback(directory.stop)
    directory.create(people.ldif())
    directory.start()
    settings = _write_settings(folder, database, directory, port)
    _print_progress("creating the schema and an API token: syncd migrate, syncd token create")
    _run_command(settings, "migrate")
    token = _run_command(settings, "token", "create", "--role", "admin", "--name", "demo").split()[-1]
    _print_progress("starting the daemon; its log follows:")
    daemon = cleanup.enter_context(_daemon(settings, f"http://127.0.0.1:{port}", token))
    daemon.wait_for_contacts()
    daemon.request("POST", "/api/v2/contacts", OWN_CONTACT)
    print(_format_how_to(daemon, settings), flush=True)
    return daemon


def _wait_for_exit(daemon: "DemoDaemon") -> NoReturn:
    """Wait for the end of the daemon, which is an error. Raises: DemoFailed."""
    status = daemon.process.wait()
    raise DemoFailed(f"the daemon ended by itself with status {status}; see its last lines above")


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


def _syncd_command(settings: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "syncd", "--config", str(settings), *arguments]


def _clean_environment() -> dict[str, str]:
    """Return the environment without SYNCD_* variables, which would override the settings of the demonstration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}


def _run_command(settings: Path, *arguments: str) -> str:
    """Run a syncd command; return its stdout. Raises: DemoFailed with its output if it fails."""
    command = _syncd_command(settings, *arguments)
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=_clean_environment())
    if result.returncode:
        message = f"syncd {arguments[0]} ended with status {result.returncode}"
        raise DemoFailed(f"{message}:\n{result.stdout}{result.stderr}")
    return result.stdout


@contextmanager
def _daemon(settings: Path, base: str, token: str) -> Iterator["DemoDaemon"]:
    # a session of its own: Ctrl-C reaches this process only, and the process group has all children of the daemon
    process = subprocess.Popen(_syncd_command(settings, "run"), env=_clean_environment(), start_new_session=True)
    try:
        yield DemoDaemon(process, base, token)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            _print_progress(f"the daemon did not stop within {STOP_TIMEOUT} seconds and is killed")
        _kill_session(process)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the normal case: no process of the session is left
    process.wait()


class DemoDaemon:
    """The process of the daemon and an HTTP client with the admin token."""

    def __init__(self, process: "subprocess.Popen[bytes]", base: str, token: str) -> None:
        self.process = process
        self.base = base
        self.token = token
        # without the proxies that the environment may name
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request; return the parsed JSON response.

        Raises: OSError without a response, DemoFailed for an error status.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)  # noqa: S310 - it is http
        try:
            with self._opener.open(request, timeout=10) as response:
                content: dict[str, Any] = json.load(response)
                return content
        except urllib.error.HTTPError as error:
            raise DemoFailed(f"the daemon rejected {method} {path}: {error.read().decode()}") from None

    def count(self, type_: str) -> int:
        """Return the number of served contacts of a type. Raises: as `request`."""
        return int(self.request("GET", f"/api/v2/contacts?type={type_}&limit=0")["totalCount"])

    def wait_for_contacts(self) -> None:
        """Wait until both sources have synced. Raises: DemoFailed after START_TIMEOUT or the end of the daemon."""
        limit = time.monotonic() + START_TIMEOUT
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                _wait_for_exit(self)
            if self._has_synced():
                return
            time.sleep(0.5)
        raise DemoFailed(f"the sources did not sync within {START_TIMEOUT} seconds; see the lines of the daemon above")

    def _has_synced(self) -> bool:
        try:
            return all(source["lastSuccess"] for source in self.request("GET", "/health")["sources"])
        except OSError:
            return False  # the daemon does not listen yet


def _format_how_to(daemon: DemoDaemon, settings: Path) -> str:
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


def _print_progress(sentence: str) -> None:
    print(f"syncd demo: {sentence}", file=sys.stderr, flush=True)
