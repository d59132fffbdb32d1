"""Random histories: whatever sources, failures, people at the API and syncs do, the directory keeps its promises."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from syncd.app import compose
from syncd.core.plan import Outcome
from syncd.demo.servers import Slapd
from syncd.store.database import Role, engine
from syncd.store.writer import open_writer
from syncd.sync import synchronize
from tests.faults import Proxy, dead_port, reserved_port, wait_until
from tests.premises import LIMITED, Branch, Premises

LIMIT = 2
NAMES = st.sampled_from(["Ada", "Bob", "Čapek", "Dürer", "Eve", "Fo,o", "O'Neil", 'Q"uo\\te'])
NUMBERS = st.lists(st.sampled_from(["1", "+44 20", "0049 (30) 5", "x-y"]), max_size=3, unique=True)
FAULTS = ("down", "password", "base", "limit", "cut", "none", "none")

COLUMNS = "name, numbers, user_name, first_name, last_name, name_folded, search, dialled, source_key, source"


class Directory:
    """One database of the two that live through the same history: one recognises by digests, one never does."""

    def __init__(self, url: str, seal: Callable[[bytes], bytes]) -> None:
        self.url = url
        self._seal = seal

    def run(self, site: Premises, database: Engine, source: str) -> Any:
        settings_ = site.settings.named(source)
        job = compose.job(settings_)
        with open_writer(database, source, settings_.type) as writer:
            return synchronize(replace(job, seal=self._seal(job.seal)), writer)

    def rows(self) -> list[tuple[Any, ...]]:
        """The served synced contacts, without what differs by nature: ids and digests."""
        query = f"SELECT {COLUMNS} FROM contact WHERE type <> 'Custom' AND state = 'active' ORDER BY source, source_key"
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


class Histories(RuleBasedStateMachine):
    """The model: what the sources hold, what the directory must hold, and the Custom contacts as people made them."""

    slapd: Slapd
    folder: Path
    urls: tuple[str, str]
    port: int
    token: str

    def __init__(self) -> None:
        super().__init__()
        self.branch = Branch(self.slapd)
        self.site = Premises(self.folder, self.urls[0], self.branch, self.port, {"max_removals": LIMIT})
        self.twins = (Directory(self.urls[0], lambda seal: seal), Directory(self.urls[1], lambda _: os.urandom(16)))
        self.engines = [engine(replace_url(self.site, url), Role.SYNC) for url in self.urls]
        self.people: dict[str, dict[str, Any]] = {}  # uid at birth -> what the directory server holds
        self.queues: dict[str, str] = {}
        self.expected: dict[str, dict[str, tuple[Any, ...]]] = {"corp": {}, "acd": {}}
        self.ids: dict[tuple[str, str], str] = {}
        self.custom: dict[str, tuple[str, str]] = {}
        self.revision = 0
        self.born = 0

    @initialize()
    def empty(self) -> None:
        for url in self.urls:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("TRUNCATE contact_user, contact_queue, contact_custom, source, run, reject")
        self.revision = self.site.revision()

    def teardown(self) -> None:
        for database in self.engines:
            database.dispose()
        self.branch.close()

    # what happens at the sources

    @rule(given=NAMES, family=NAMES, numbers=NUMBERS)
    def hire(self, given: str, family: str, numbers: list[str]) -> None:
        uid = f"u{self.born}"
        self.born += 1
        dn = self.branch.add(uid, given, family, **({"telephoneNumber": numbers} if numbers else {}))
        self.people[uid] = {"dn": dn, "uid": uid, "given": given, "family": family, "numbers": numbers, "bad": False}

    @precondition(lambda self: self.people)
    @rule(data=st.data(), family=NAMES, numbers=NUMBERS)
    def change(self, data: st.DataObject, family: str, numbers: list[str]) -> None:
        person = self.somebody(data)
        self.branch.change(person["dn"], sn=family, telephoneNumber=numbers)
        person |= {"family": family, "numbers": numbers, "bad": False}

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        person = self.somebody(data)
        uid = f"r{self.born}"
        self.born += 1
        person |= {"dn": self.branch.rename(person["dn"], f"uid={uid}"), "uid": uid}

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        """A name that no contact can have: the record is rejected and the contact stays as it was."""
        person = self.somebody(data)
        self.branch.change(person["dn"], sn="x" * 300)
        person |= {"family": "x" * 300, "bad": True}

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.people)))
        self.branch.remove(self.people.pop(uid)["dn"])

    @rule()
    def everybody_leaves(self) -> None:
        for person in self.people.values():
            self.branch.remove(person["dn"])
        self.people.clear()

    @rule(queues=st.dictionaries(st.sampled_from(["Sales", "Support", "Night"]), st.sampled_from(["1", "2"])))
    def list_queues(self, queues: dict[str, str]) -> None:
        self.queues = queues
        self.site.queues(queues)

    # what happens to the directory

    @rule(fault=st.sampled_from(FAULTS))
    def sync_people(self, fault: str) -> None:
        complete = fault == "none" or (fault in {"cut", "limit"} and len(self.people) < {"cut": 6, "limit": 3}[fault])
        with Proxy(self.slapd.port, searches=3 if fault == "cut" else None) as proxy:
            self.site.configure(**self.fault(fault, proxy))
            snapshot = {person["dn"]: row(person) for person in self.people.values() if not person["bad"]}
            rejected = {person["dn"] for person in self.people.values() if person["bad"]}
            self.run("corp", self.keyed(snapshot), set(self.keyed(dict.fromkeys(rejected))), complete=complete)

    @rule(half=st.booleans())
    def sync_queues(self, half: bool) -> None:
        if half:
            self.site.write_queues('[[queue]]\nname = "Sal')
        snapshot = {name: (name, (number,)) for name, number in self.queues.items()}
        self.run("acd", snapshot, set(), complete=not half)
        self.site.queues(self.queues)

    @rule(name=NAMES, number=st.sampled_from(["xxx-xxx-xxxx", "5", "+1 2"]))
    def create_custom(self, name: str, number: str) -> None:
        answer = self.http("POST", "", json={"name": name, "phoneNumber": number})
        self.custom[answer["id"]] = (name, number)
        self.rose()

    @precondition(lambda self: self.custom)
    @rule(data=st.data(), name=NAMES)
    def edit_custom(self, data: st.DataObject, name: str) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.custom)))
        self.http("PUT", f"/{id_}", json={"name": name})
        self.custom[id_] = (name, self.custom[id_][1])
        self.revision = max(self.revision, self.site.revision())

    @precondition(lambda self: self.custom)
    @rule(data=st.data())
    def delete_custom(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.custom)))
        self.http("DELETE", f"/{id_}")
        del self.custom[id_]
        self.rose()

    # what must hold after each of them

    @invariant()
    def custom_contacts_are_as_people_left_them(self) -> None:
        found = self.site.rows("SELECT replace(id::text, '-', '') AS id, name, numbers FROM contact_custom")
        assert {f["id"]: (f["name"], f["numbers"][0]["phoneNumber"]) for f in found} == self.custom

    @invariant()
    def synced_contacts_are_the_last_complete_snapshot(self) -> None:
        found = self.site.rows(
            "SELECT source, source_key, name, numbers, user_name FROM contact "
            "WHERE source IS NOT NULL AND state = 'active'"
        )
        served: dict[str, dict[str, tuple[Any, ...]]] = {"corp": {}, "acd": {}}
        for one in found:
            numbers = tuple(number["phoneNumber"] for number in one["numbers"])
            user = (one["user_name"],) if one["source"] == "corp" else ()
            served[one["source"]][one["source_key"]] = (one["name"], numbers, *user)
        assert served == self.expected

    @invariant()
    def ids_are_stable_and_unique(self) -> None:
        found = self.site.rows("SELECT source, source_key, id FROM contact WHERE source IS NOT NULL")
        for one in found:
            key = (one["source"], one["source_key"])
            assert self.ids.setdefault(key, one["id"]) == one["id"]
        assert len(set(self.ids.values())) == len(self.ids)

    @invariant()
    def the_revision_never_falls(self) -> None:
        assert self.site.revision() >= self.revision

    @invariant()
    def digests_make_no_difference(self) -> None:
        assert self.twins[0].rows() == self.twins[1].rows()

    # how it is done

    def somebody(self, data: st.DataObject) -> dict[str, Any]:
        return self.people[data.draw(st.sampled_from(sorted(self.people)))]

    def fault(self, fault: str, proxy: Proxy) -> dict[str, Any]:
        """The settings under which a read fails in this way."""
        fine = {
            "urls": f'"{self.slapd.url}"', "bind_dn": self.slapd.root_dn, "password_file": "ldap-password",
            "base": self.branch.base,
        }  # fmt: skip
        return (
            fine
            | {
                "down": {"urls": f'"ldap://127.0.0.1:{dead_port()}"'},
                "password": {"password_file": "wrong-password"},
                "base": {"base": f"ou=gone,{self.branch.base}"},
                "limit": {"bind_dn": LIMITED, "password_file": "limited-password"},
                "cut": {"urls": f'"{proxy.url}"'},
                "none": {},
            }[fault]
        )

    def keyed(self, by_dn: dict[str, Any]) -> dict[str, Any]:
        """The same by entryUUID, as the directory server tells it."""
        self.branch.connection.search(self.branch.base, "(objectClass=inetOrgPerson)", attributes=["entryUUID"])
        keys = {entry["dn"]: entry["attributes"]["entryUUID"] for entry in self.branch.connection.response}
        keys = {dn: key[0] if isinstance(key, list) else key for dn, key in keys.items()}
        return {keys[dn]: value for dn, value in by_dn.items()}

    def run(self, source: str, snapshot: dict[str, tuple[Any, ...]], rejected: set[str], *, complete: bool) -> None:
        """Run both twins and move the model on by the rules of the guard."""
        reports = [
            twin.run(self.site, database, source) for twin, database in zip(self.twins, self.engines, strict=True)
        ]
        stored = self.expected[source]
        gone = {key for key in stored if key not in snapshot and key not in rejected}
        empty = not snapshot and not rejected
        held = complete and bool(gone) and (empty or len(gone) > LIMIT)
        outcome = Outcome.INCOMPLETE if not complete else Outcome.HELD if held else Outcome.COMPLETED
        assert [report.outcome for report in reports] == [outcome, outcome], [report.why for report in reports]
        if complete:
            kept = {key: stored[key] for key in stored if key in rejected or (held and key in gone)}
            after = kept | snapshot
            assert [report.counts.removed for report in reports] == [len(gone)] * 2
            if after != stored:
                self.rose()
            self.expected[source] = after

    def rose(self) -> None:
        """What changed a contact has raised the revision."""
        found = self.site.revision()
        assert found > self.revision
        self.revision = found

    def http(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v2/contacts{path}"
        answer = httpx.request(method, url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60, **more)
        found: dict[str, Any] = answer.json()
        assert (answer.status_code, found["statusCode"]) == (200, 0), found
        return found


def row(person: dict[str, Any]) -> tuple[Any, ...]:
    """What the directory must say of a person."""
    return (f"{person['given']} {person['family']}", tuple(person["numbers"]), person["uid"])


def replace_url(site: Premises, url: str) -> Any:
    return site.settings.database.model_copy(update={"url": url})


@pytest.fixture
def twin_url(postgres: Any, migrated: str) -> Any:
    """A second database of our schema."""
    name = f"twin_{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}")
    return postgres.url(name)


@pytest.mark.timeout(900)
def test_the_directory_keeps_its_promises(site: Premises, slapd: Slapd, twin_url: str) -> None:
    """Custom contacts as edited, synced ones as last proven, ids stable, revision rising, digests without effect."""
    site.port = reserved_port()
    site.configure()
    token = site.command("token", "create", "--role", "admin", "--name", "histories").stdout.strip()
    # the daemon that people speak to runs no source by itself: the machine decides when a sync takes place
    daemon_file = site.folder / "daemon.toml"
    daemon_file.write_text(f'[database]\nurl = "{site.database_url}"\n[http]\nlisten = "127.0.0.1:{site.port}"\n')
    process = start(daemon_file, site.folder / "daemon.log")
    try:
        wait_until(lambda: ready(site.port))
        given = {"slapd": slapd, "folder": site.folder, "port": site.port, "token": token}
        machine = type("History", (Histories,), given | {"urls": (site.database_url, twin_url)})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=12, stateful_step_count=25, deadline=None,
                suppress_health_check=list(HealthCheck), database=None,
            ),
        )  # fmt: skip
    finally:
        process.terminate()
        assert process.wait(90) == 0


def start(file: Path, log: Path) -> subprocess.Popen[bytes]:
    """A daemon with these settings; its output goes to the log."""
    with log.open("ab") as sink:
        return subprocess.Popen([sys.executable, "-m", "syncd", "--config", str(file), "run"], stdout=sink, stderr=sink)


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 200
    except httpx.TransportError:
        return False
