"""Records of a source for tests of runs: numbered, the same for LDAP users and for queues of a file."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg

from syncd.app import use_cases
from syncd.core.contacts.contact import ContactType
from syncd.core.sync.plan import Outcome, Report
from syncd.core.sync.record import Attempt, Evidence, PresenceCheck, SearchResult, Source
from syncd.drill.proxy import dead_port
from syncd.jobs.sync import synchronize
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests.environment import READER_DN, Branch, Environment

RELAX_CONTROL = [("1.3.6.1.4.1.4203.666.5.12", True, None)]
"""slapd's Relax Rules control, with which the root DN can set the entryUUID of an entry."""
OPEN_WINDOWS = 'max_removals_day = "100%"\nmax_removals_week = "100%"\n'
NO_GRACE = 'grace = "0s"\ngrace_runs = 1\n'
GRACE = 'grace = "1h"\ngrace_runs = 3\n'
HOUR = timedelta(hours=1)


class Records:
    """Numbered records of one source, added, changed and removed in bulk; record n always has the same key."""

    source: str
    type: ContactType
    attribute: str
    """The attribute of the phone numbers, by the guard's name for it."""
    member: str
    """The contact member that `change` sets."""
    column: str
    """The database column of `member`."""

    def __init__(self, env: Environment) -> None:
        self.env = env

    def key(self, n: int) -> str:
        """Return the source key of a record."""
        raise NotImplementedError

    def name(self, n: int) -> str:
        """Return the name of the contact of a record."""
        raise NotImplementedError

    def add(self, *numbers: int) -> None:
        """Add records, or restore removed ones under their old keys."""
        raise NotImplementedError

    def remove(self, *numbers: int) -> None:
        raise NotImplementedError

    def change(self, *numbers: int, to: str) -> None:
        """Set the attribute of `member`."""
        raise NotImplementedError

    def set_phones(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        """Set the phone number, or remove it where `phone` returns None."""
        raise NotImplementedError

    def invalidate(self, *numbers: int) -> None:
        """Make records that cannot be mapped, which are rejected."""
        raise NotImplementedError

    def repair(self, *numbers: int) -> None:
        raise NotImplementedError

    def unreachable_settings(self) -> dict[str, Any]:
        """Return settings under which the source cannot be read."""
        raise NotImplementedError

    def run(self) -> Report:
        return self.env.run(self.source)

    def served(self) -> set[str]:
        return set(self.env.served_contacts(self.type))

    def names(self, numbers: Iterable[int]) -> set[str]:
        return {self.name(n) for n in numbers}

    def contact(self, n: int) -> dict[str, Any]:
        """Return the stored row of a record, served or not."""
        query = "SELECT * FROM contact WHERE source = %s AND source_key = %s"
        return self.env.fetch_rows(query, self.source, self.key(n))[0]

    def states(self, *numbers: int) -> list[str]:
        return [self.contact(n)["state"] for n in numbers]

    def phones(self) -> dict[str, list[str]]:
        """Return the numbers of all served contacts by name."""
        contacts = self.env.served_contacts(self.type)
        return {name: [number["phoneNumber"] for number in row["numbers"]] for name, row in contacts.items()}

    def held_items(self) -> list[dict[str, Any]]:
        query = "SELECT * FROM held WHERE source = %s AND job = 'sync' ORDER BY name"
        return self.env.fetch_rows(query, self.source)

    def held_names(self) -> set[str]:
        return {row["name"] for row in self.held_items()}

    def changes_of(self, run: int | None) -> list[dict[str, Any]]:
        """Return the change log rows of a run, without members that have no value."""
        rows = self.env.fetch_rows("SELECT * FROM change WHERE run_id = %s ORDER BY id", run)
        for row in rows:
            row |= {side: {m: v for m, v in row[side].items() if v is not None} for side in ("old", "new")}
        return rows

    def change_kinds(self, n: int) -> list[str]:
        """Return the kinds of all changes of a record, in order."""
        query = "SELECT kind FROM change WHERE source_key = %s AND type = %s ORDER BY id"
        return [row["kind"] for row in self.env.fetch_rows(query, self.key(n), self.type)]

    def shift_history(self, age: timedelta) -> None:
        """Move all absences and runs into the past by `age`."""
        self.execute("UPDATE contact SET state_since = state_since - %s WHERE state <> 'active'", age)
        self.execute("UPDATE run SET finished_at = finished_at - %s", age)

    def approve(self, run: int | None, expires: str = "1 hour") -> None:
        """Approve all that a run holds, as `syncd approve` does; `expires` is an interval of PostgreSQL."""
        items = [row["item"] for row in self.held_items() if row["run_id"] == run]
        digest = hashlib.sha256("\n".join(sorted(items)).encode()).digest()
        self.execute(
            "INSERT INTO approval (run_id, source, job, list, items, approved_by, expires_at) "
            "VALUES (%s, %s, 'sync', %s, %s, 'ann', now() + CAST(%s AS interval))",
            run, self.source, digest, len(items), expires,
        )  # fmt: skip

    def latest_approval(self) -> dict[str, Any]:
        return self.env.fetch_rows("SELECT * FROM approval WHERE source = %s ORDER BY approved_at DESC", self.source)[0]

    def execute(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.env.database_url) as connection:
            connection.execute(statement, values)

    def dump_directory(self) -> list[Any]:
        """Return every row about the directory, without runs, exactly as stored."""
        tables = {"contact", "directory", "source", "held", "change", "reject"}
        return [row for row in self.env.dump_tables() if row["of"] in tables]

    def load(self, numbers: Sequence[int]) -> None:
        """Add records and run the source, which completes."""
        self.add(*numbers)
        assert self.run().outcome is Outcome.COMPLETED


class UserRecords(Records):
    """Persons of a branch of the LDAP directory, read by an account with restricted access."""

    source, type = "corp", "User"
    attribute, member, column = "telephonenumber", "emailAddress", "email_address"

    def __init__(self, env: Environment, branch: Branch | None = None) -> None:
        super().__init__(env)
        self.branch = branch or env.branch
        self._inner: set[int] = set()

    def key(self, n: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{n}.{self.branch.base}"))

    def name(self, n: int) -> str:
        return f"P {n:03}"

    def dn(self, n: int) -> str:
        return f"uid=u{n},{self.branch.base}"

    def add(self, *numbers: int) -> None:
        for n in numbers:
            values = {"cn": f"P {n:03}", "givenName": "P", "sn": f"{n:03}", "uid": f"u{n}",
                      "telephoneNumber": f"+1 555 {n:03}", "entryUUID": self.key(n)}  # fmt: skip
            self.branch.connection.add(self.dn(n), "inetOrgPerson", values, controls=RELAX_CONTROL)

    def remove(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.remove(self.dn(n))

    def change(self, *numbers: int, to: str) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), mail=to)

    def set_phones(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), telephoneNumber=phone(n) or [])

    def invalidate(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), employeeNumber="x" * 300)

    def repair(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), employeeNumber=[])

    def unreachable_settings(self) -> dict[str, Any]:
        return {"urls": f'"ldap://127.0.0.1:{dead_port()}"'}


class QueueRecords(Records):
    """Queues of a file."""

    source, type = "acd", "Queue"
    attribute, member, column = "phonenumber", "channel", "channel"

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self._queues: dict[int, dict[str, str]] = {}

    def key(self, n: int) -> str:
        return self.name(n)

    def name(self, n: int) -> str:
        return f"Q {n:03}"

    def add(self, *numbers: int) -> None:
        self._queues |= {n: {"name": self.name(n), "phoneNumber": f"+1 555 {n:03}"} for n in numbers}
        self._write_file()

    def remove(self, *numbers: int) -> None:
        for n in numbers:
            del self._queues[n]
        self._write_file()

    def change(self, *numbers: int, to: str) -> None:
        for n in numbers:
            self._queues[n]["channel"] = to
        self._write_file()

    def set_phones(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        for n in numbers:
            self._queues[n]["phoneNumber"] = phone(n) or ""
        self._write_file()

    def invalidate(self, *numbers: int) -> None:
        self.change(*numbers, to="x" * 300)

    def repair(self, *numbers: int) -> None:
        self.change(*numbers, to="")

    def unreachable_settings(self) -> dict[str, Any]:
        return {"path": "gone.toml"}

    def _write_file(self) -> None:
        blocks = ["[[queue]]\n" + "".join(f'{m} = "{v}"\n' for m, v in one.items()) for one in self._queues.values()]
        self.env.write_queue_file("\n".join(blocks) or "queue = []\n")


def configure_guard(env: Environment, guard: str = OPEN_WINDOWS, lifecycle: str = NO_GRACE, **changes: Any) -> None:
    """Configure both sources, by default without limits and without grace; `changes` are values of `Environment`."""
    usual: dict[str, Any] = {
        "page_size": 1000, "bind_dn": READER_DN, "password_file": "reader-password", "read_timeout": "60s",
        "max_removals": '"100%"', "urls": f'"{env.branch.slapd.url}"', "path": "queues.toml",
    }  # fmt: skip
    env.configure(**(usual | {"guard": guard, "lifecycle": lifecycle} | changes))


class InterruptedSource:
    """A source with an event between the read and the verification of absences."""

    def __init__(self, source: Source, between: Callable[[], None]) -> None:
        self._source = source
        self._between = between

    def attempts(self) -> Iterator[Attempt]:
        return self._source.attempts()

    def verify_absent(self, keys: Sequence[str], evidence: Evidence) -> Sequence[PresenceCheck]:
        self._between()
        return self._source.verify_absent(keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> SearchResult:
        return self._source.search(text, keys)


def run_interrupted(records: Records, between: Callable[[], None]) -> Report:
    """Run a source, with an event between the read and the verification of absences."""
    settings = records.env.settings
    source = settings.find_source(records.source)
    job = use_cases.build_job(source)
    with open_writer(open_engine(settings.database, Role.SYNC), source.name, source.type) as writer:
        return synchronize(replace(job, source=InterruptedSource(job.source, between)), writer)
