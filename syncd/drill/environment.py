"""The site: private servers, a daemon that serves, somebody who watches it; the same for every fault."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from syncd.demo.servers import Postgres, Slapd, free_port
from syncd.drill import settings
from syncd.drill.availability_probe import Daemon, Watch
from syncd.drill.database import Database
from syncd.drill.people import ACCESS, ldif
from syncd.drill.processes import DrillFailed, Processes

PASSWORD = "secret-of-the-drill"  # noqa: S105 - of a private server that lives in a temporary folder

CUSTOM = {"Reception": "+1 555 0100", "Taxi": "+1 555 0101", "Zoë's canteen": "+1 555 0102"}

QUEUES = {"Sales": "2000", "Support": "2001", "Claims": "2002", "Night desk": "2003"}


Sources: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Name -> what its settings have besides those that all have."""


class Site:
    """Where all faults are played. `open_site` makes one."""

    def __init__(self, folder: Path, branches: Sources, files: Sources) -> None:
        self.folder = folder
        self._branches = branches
        self._files = files
        self.processes = Processes()
        self.postgres = Postgres(folder / "postgres")
        self.database = Database(self.postgres)
        self.directory = Slapd(folder / "slapd", extra=ACCESS)
        self.password = self._secret("password", PASSWORD)
        self.settings: Path
        """Of every source, as they are when nothing is wrong."""
        self.daemon: Daemon
        self.watch: Watch
        self.custom: list[dict[str, Any]] = []
        self._others: list[Slapd] = []

    def _secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def queue_file(self, name: str) -> Path:
        """The file of a queue source."""
        return self.folder / "queues" / f"{name}.toml"

    def people_source(self, name: str, **changes: Any) -> dict[str, Any]:
        """The source of a branch, on the main directory unless the changes say otherwise."""
        return settings.people_source(name, self.directory.url, self.password, **changes)

    def write_settings(self, name: str, sources: Sequence[dict[str, Any]], port: int = 0) -> Path:
        """Settings for these sources; the database knows their sessions by this name."""
        database = f"{self.postgres.url()}?application_name={name}"
        return settings.write(self.folder / f"{name}.toml", database, port or free_port(), sources)

    def server(self, name: str, *, lacking: int, directory: str = "drill") -> Slapd:
        """Another server with this branch, without the last of its people; it runs until the site is closed."""
        other = Slapd(self.folder / f"slapd-{name}-{directory}", extra=ACCESS)
        self._others.append(other)
        other.create(ldif([name], PASSWORD, lacking=lacking, directory=directory))
        other.start()
        return other

    def open(self) -> None:
        """Start the servers, read every branch once, and begin to serve."""
        with ThreadPoolExecutor(1) as beside:
            directory = beside.submit(self._start_directory)
            self.postgres.create()
            self.postgres.start()
            directory.result()
        (self.folder / "queues").mkdir()
        for name in self._files:
            write_queues(self.queue_file(name), name, QUEUES)
        queues = [settings.queue_source(name, self.queue_file(name), **more) for name, more in self._files.items()]
        people = [self.people_source(name, **more) for name, more in self._branches.items()]
        self.settings = self.write_settings("syncd", [*people, *queues])
        self.processes.done(self.settings, "migrate")
        port = free_port()
        # it serves whatever is in the directory, and reads the queues, at once and when their files change
        serving = self.write_settings("daemon", queues, port)
        daemon = self.processes.start(serving, "run", log=self.folder / "daemon.log")
        reading = self.processes.start(self.settings, "sync", *self._branches) if self._branches else None
        token = self.processes.done(self.settings, "token", "create", "--role", "admin", "--name", "drill").split()[-1]
        if reading is not None:
            self.processes.succeeded(reading)
        self.daemon = Daemon(port, token)
        self.processes.until(lambda: daemon.poll() is not None or self.daemon.ready(), "the daemon serves")
        self._settle()

    def _start_directory(self) -> None:
        self.directory.create(ldif(self._branches, PASSWORD))
        self.directory.start()

    def _settle(self) -> None:
        """Make the Custom contacts, wait for the daemon's first runs, and begin to watch."""
        ids = [
            self.daemon.request("POST", "/api/v2/contacts", {"name": name, "phoneNumber": number})[2].get("id")
            for name, number in CUSTOM.items()
        ]
        if None in ids:
            raise DrillFailed("the daemon did not take the Custom contacts")
        for name in self._files:
            self._await_end(name)
        self.custom = self.database.custom()
        self.watch = Watch(self.daemon, ids[0])
        self.watch.start()

    def _await_end(self, name: str) -> None:
        self.processes.until(lambda: bool(self._ended(name)), f"the daemon has read {name}")

    def _ended(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.database.runs(name, 0) if run["finished_at"] is not None]

    def close(self) -> None:
        """Stop everything."""
        self.processes.stop()
        if hasattr(self, "watch"):
            self.watch.stop()
        for server in (self.directory, *self._others):
            server.stop()
        self.postgres.stop()


def write_queues(path: Path, source: str, queues: Mapping[str, str]) -> None:
    """Replace a source's queue file as an editor does: by rename."""
    text = "".join(
        f'[[queue]]\nname = "{source}.{name}"\nphoneNumber = "{number}"\n\n' for name, number in queues.items()
    )
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


@contextmanager
def open_site(branches: Sources, files: Sources) -> Iterator[Site]:
    """A site that runs, with these sources; nothing is left of it afterwards, whatever happens."""
    with ExitStack() as leaving:
        folder = Path(tempfile.mkdtemp(prefix="syncd-drill-"))
        leaving.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # the servers run as another user and have folders of their own in it
        site = Site(folder, branches, files)
        leaving.callback(site.close)
        site.open()
        yield site
