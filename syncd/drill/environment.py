"""The environment that all faults share: private servers, a serving daemon and the availability probe."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.drill import settings
from syncd.drill.availability_probe import AvailabilityProbe, DaemonClient
from syncd.drill.database import DatabaseAdmin
from syncd.drill.people import ACCESS, ldif
from syncd.drill.processes import DrillFailed, Processes

PASSWORD = "secret-of-the-drill"  # noqa: S105 - of a private server that lives in a temporary folder

CUSTOM_CONTACTS = {"Reception": "+1 555 0100", "Taxi": "+1 555 0101", "Zoë's canteen": "+1 555 0102"}

QUEUES = {"Sales": "2000", "Support": "2001", "Claims": "2002", "Night desk": "2003"}


SettingsBySource: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Source name -> its settings in addition to the common ones."""


class Environment:
    """Servers, daemon and probe in one folder. `open_environment` opens and closes it."""

    def __init__(self, folder: Path, subtrees: SettingsBySource, files: SettingsBySource) -> None:
        self.folder = folder
        self._subtrees = subtrees
        self._files = files
        self.processes = Processes()
        self.postgres = Postgres(folder / "postgres")
        self.database = DatabaseAdmin(self.postgres)
        self.directory = Slapd(folder / "slapd", extra=ACCESS)
        self.password = self._write_secret("password", PASSWORD)
        self.settings: Path
        """Settings file with every source, without a fault."""
        self.client: DaemonClient
        self.probe: AvailabilityProbe
        self.custom_contacts: list[dict[str, Any]] = []
        self._replicas: list[Slapd] = []

    def _write_secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def queue_file(self, name: str) -> Path:
        """Return the path of the file of a queue source."""
        return self.folder / "queues" / f"{name}.toml"

    def subtree_source(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the settings of an LDAP source; the server is the main directory unless `changes` has other `urls`."""
        return settings.subtree_source(name, self.directory.url, self.password, **changes)

    def write_settings(self, name: str, sources: Sequence[dict[str, Any]], port: int = 0) -> Path:
        """Write a settings file with these sources; `name` is the file's and the application name of its sessions."""
        database = f"{self.postgres.url()}?application_name={name}"
        return settings.write_settings(self.folder / f"{name}.toml", database, port or free_port(), sources)

    def start_replica(self, name: str, *, omit_last: int, directory: str = "drill") -> Slapd:
        """Start another server with this subtree, without its last `omit_last` people; `close` stops it.

        Raises: ServerUnavailable.
        """
        replica = Slapd(self.folder / f"slapd-{name}-{directory}", extra=ACCESS)
        self._replicas.append(replica)
        replica.create(ldif([name], PASSWORD, omit_last=omit_last, directory=directory))
        replica.start()
        return replica

    def open(self) -> None:
        """Start the servers, run every source once, start the daemon and the probe.

        Raises: DrillFailed, ServerUnavailable, DrillStopped.
        """
        with ThreadPoolExecutor(1) as executor:
            directory = executor.submit(self._start_directory)
            self.postgres.create()
            self.postgres.start()
            directory.result()
        (self.folder / "queues").mkdir()
        for name in self._files:
            write_queues(self.queue_file(name), name, QUEUES)
        queues = [settings.queue_source(name, self.queue_file(name), **extra) for name, extra in self._files.items()]
        people = [self.subtree_source(name, **extra) for name, extra in self._subtrees.items()]
        self.settings = self.write_settings("syncd", [*people, *queues])
        self.processes.check_output(self.settings, "migrate")
        self._start_daemon(queues)
        self._create_custom_contacts()

    def _start_daemon(self, queues: Sequence[dict[str, Any]]) -> None:
        """Start the daemon and, concurrently, run every LDAP source; return when the daemon is ready.

        The settings of the daemon have the queue sources only, which it reads at its start and when their files change;
        it serves the contacts of all sources.
        """
        port = free_port()
        settings_file = self.write_settings("daemon", queues, port)
        daemon = self.processes.start(settings_file, "run", log=self.folder / "daemon.log")
        first_sync = self.processes.start(self.settings, "sync", *self._subtrees) if self._subtrees else None
        output = self.processes.check_output(self.settings, "token", "create", "--role", "admin", "--name", "drill")
        if first_sync is not None:
            self.processes.wait_success(first_sync)
        self.client = DaemonClient(port, output.split()[-1])
        self.processes.wait_until(lambda: daemon.poll() is not None or self.client.is_ready(), "the daemon is ready")

    def _start_directory(self) -> None:
        self.directory.create(ldif(self._subtrees, PASSWORD))
        self.directory.start()

    def _create_custom_contacts(self) -> None:
        """Create the Custom contacts, wait for the first runs of the daemon, and start the probe."""
        ids = [
            self.client.request("POST", "/api/v2/contacts", {"name": name, "phoneNumber": number})[2].get("id")
            for name, number in CUSTOM_CONTACTS.items()
        ]
        if None in ids:
            raise DrillFailed("the daemon rejected the Custom contacts")
        for name in self._files:
            self._wait_first_run(name)
        self.custom_contacts = self.database.custom_contacts()
        self.probe = AvailabilityProbe(self.client, ids[0])
        self.probe.start()

    def _wait_first_run(self, name: str) -> None:
        self.processes.wait_until(lambda: bool(self._finished_runs(name)), f"the daemon has read {name}")

    def _finished_runs(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.database.runs(name, 0) if run["finished_at"] is not None]

    def close(self) -> None:
        """Stop all processes, the probe and the servers."""
        self.processes.stop()
        if hasattr(self, "probe"):  # `open` may have failed before
            self.probe.stop()
        for server in (self.directory, *self._replicas):
            server.stop()
        self.postgres.stop()


def write_queues(path: Path, source: str, queues: Mapping[str, str]) -> None:
    """Replace the queue file of a source by rename, as editors do; `queues` is name -> phone number."""
    text = "".join(
        f'[[queue]]\nname = "{source}.{name}"\nphoneNumber = "{number}"\n\n' for name, number in queues.items()
    )
    replacement = path.with_suffix(".new")
    replacement.write_text(text, encoding="utf-8")
    replacement.replace(path)


@contextmanager
def open_environment(subtrees: SettingsBySource, files: SettingsBySource) -> Iterator[Environment]:
    """Open an environment with these LDAP and queue sources; close it and remove its folder on exit.

    Raises: DrillFailed, ServerUnavailable, DrillStopped.
    """
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="syncd-drill-"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # the servers run as another user and have folders of their own in it
        environment = Environment(folder, subtrees, files)
        cleanup.callback(environment.close)
        environment.open()
        yield environment
