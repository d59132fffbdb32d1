"""Random histories: whatever sources, failures, people at the API and syncs do, the directory keeps its promises."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncd.app import use_cases
from syncd.core.sync.plan import Outcome, Report
from syncd.core.sync.record import Attempt, Evidence, Recognition, Record, Reject, Search, Sight, Sighting, Source
from syncd.demo.servers import Slapd, free_port
from syncd.drill.proxy import Proxy, dead_port
from syncd.jobs.sync import synchronize
from syncd.store.admin import approvals
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests.environment import LIMITED, READER, Branch, Premises
from tests.scripted_ldap import wait_until

LIMIT = 2
"""Contacts that may leave in one run."""
LOSSES = 1
"""Entries that may lose an attribute in one run."""
GRACE_RUNS = 3
GUARD = f"max_removals_day = 1000\nmax_removals_week = 1000\nmax_rejects = 1000\nmax_attribute_loss = {LOSSES}\n"
LIFECYCLE = f'grace = "1h"\ngrace_runs = {GRACE_RUNS}\n'
EVERYBODY = "(objectClass=inetOrgPerson)"
NO_BOB = "(&(objectClass=inetOrgPerson)(!(sn=Bob)))"
PHONE = "attribute telephonenumber"
NAMES = st.sampled_from(["Ada", "Bob", "Čapek", "Dürer", "Eve", "Fo,o", "O'Neil", 'Q"uo\\te'])
NUMBERS = st.lists(st.sampled_from(["1", "+44 20", "0049 (30) 5", "x-y"]), max_size=3, unique=True)
FAULTS = ("down", "password", "base", "limit", "cut", *["none"] * 15)
EVENTS = (
    "hire", "change", "lose_number", "rename", "spoil", "leave", "leave", "everybody_leaves", "hide_numbers",
    "hide_numbers", "another_filter", "two_hours_pass", "two_hours_pass", "a_person_looks",
)  # fmt: skip

COLUMNS = (
    "name, numbers, user_name, first_name, last_name, name_folded, search, dialled, source_key, source, state, served"
)


@dataclass(frozen=True)
class Weather:
    """What one run meets besides its source's settings: records that a read does not bring, and a mute second look."""

    lagging: frozenset[str] = frozenset()
    look: str = "honest"


class Strained:
    """A source in such weather."""

    def __init__(self, source: Source, weather: Weather, digests: set[bytes]) -> None:
        self._source = source
        self._weather = weather
        self._digests = digests

    def attempts(self) -> Iterator[Attempt]:
        for attempt in self._source.attempts():
            yield _Lagging(attempt, self._weather.lagging, self._digests)

    def look(self, keys: Sequence[str], evidence: Evidence) -> Sequence[Sighting]:
        if self._weather.look == "unknown":
            return [Sighting(key, Sight.UNKNOWN, "nobody answers") for key in keys]
        return self._source.look(keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> Search:
        return self._source.search(text, keys)


class _Lagging:
    """An attempt that reads some records as if they were not there."""

    def __init__(self, attempt: Attempt, keys: frozenset[str], digests: set[bytes]) -> None:
        self._attempt = attempt
        self._keys = keys
        self._digests = digests

    def read(self, known: Recognition) -> Generator[Record | Reject, None, Evidence]:
        overlooked = known.unseen & self._digests
        known.unseen -= overlooked
        stream = self._attempt.read(known)
        while True:
            try:
                item = next(stream)
            except StopIteration as end:
                known.unseen |= overlooked
                evidence: Evidence = end.value
                return evidence
            if item.key not in self._keys:
                yield item


class Directory:
    """One database of the two that live through the same history: one recognises by digests, one never does."""

    def __init__(self, site: Premises, url: str, seal: Callable[[bytes], bytes]) -> None:
        self.url = url
        self._seal = seal
        settings_ = site.settings.database.model_copy(update={"url": url})
        self._sync, self._api = open_engine(settings_, Role.SYNC), open_engine(settings_, Role.API)

    def run(self, site: Premises, source: str, weather: Weather) -> Report:
        settings_ = site.settings.named(source)
        job = use_cases.job(settings_)
        query = "SELECT digest FROM contact WHERE source_key = ANY (%s) AND digest IS NOT NULL"
        digests = {row[0] for row in self.rows(query, list(weather.lagging))}
        with open_writer(self._sync, source, settings_.type) as writer:
            strained = Strained(job.source, weather, digests)
            return synchronize(replace(job, source=strained, seal=self._seal(job.seal)), writer)

    def say(self, word: str, source: str) -> None:
        """A person's word about all that a source holds."""
        run = self.rows("SELECT max(run_id) FROM held WHERE source = %s", source)[0][0]
        with self._api.begin() as connection:
            if word == "approve":
                approvals.approve(connection, run, "ann", timedelta(hours=1))
            else:
                approvals.reject(connection, run, "ann")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query, values).fetchall()

    def synced(self) -> list[tuple[Any, ...]]:
        """The synced contacts, without what differs by nature: ids and digests."""
        return self.rows(f"SELECT {COLUMNS} FROM contact WHERE type <> 'Custom' ORDER BY source, source_key")

    def held(self, source: str) -> set[str]:
        """What is held, by keys."""
        found = self.rows("SELECT coalesce(source_key, item) FROM held WHERE source = %s", source)
        return {row[0] for row in found}

    def wait(self) -> None:
        """Two hours pass."""
        with psycopg.connect(self.url) as connection:
            connection.execute(
                "UPDATE contact SET state_since = state_since - interval '2 hours' WHERE state <> 'active'"
            )

    def clear(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("TRUNCATE contact, source, run, reject, held, approval, change")

    def close(self) -> None:
        self._sync.dispose()
        self._api.dispose()


@dataclass
class Known:
    """A contact as the model knows it."""

    row: tuple[Any, ...]
    state: str = "active"
    had: bool = False
    """Whether its entry had a phone number when it was last believed."""
    runs: int = 0
    """Runs that count since it is missing."""
    due: bool = False
    """Whether its grace is over by the clock."""

    @property
    def over(self) -> bool:
        """Whether the next run that counts is the end of its grace."""
        return self.due and self.runs + 1 >= GRACE_RUNS


class View:
    """What a source would answer now: rows by key, and the keys of records that cannot be mapped."""

    def __init__(self, rows: dict[str, tuple[Any, ...]], rejected: set[str]) -> None:
        self.rows = rows
        self.rejected = rejected

    @property
    def keys(self) -> set[str]:
        return self.rows.keys() | self.rejected

    def without(self, keys: frozenset[str]) -> "View":
        return View({key: row for key, row in self.rows.items() if key not in keys}, self.rejected - keys)


@dataclass(frozen=True)
class Expected:
    """What a run must report."""

    held: set[str]
    """The keys of contacts that it holds."""
    kept: set[str]
    """The keys of contacts that it holds because a person said so."""
    lost: bool
    """Whether it holds the loss of the phone numbers."""
    over: set[str]
    """Those whose grace ends."""
    settled: bool
    released: bool = False
    changed: bool = False

    @property
    def items(self) -> set[str]:
        return self.held | self.kept | ({PHONE} if self.lost else set())

    @property
    def outcome(self) -> Outcome:
        return Outcome.HELD if self.held or self.lost else Outcome.COMPLETED


class Model:
    """A source's contacts: the rules of the guard and of the life cycle, written a second time."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self.held: set[str] = set()
        self.kept: set[str] = set()
        self.approved: set[str] | None = None
        self.scope: str | None = None

    def of(self, state: str) -> set[str]:
        return {key for key, one in self.known.items() if one.state == state}

    def pictures(self) -> dict[str, Any]:
        return {key: (one.row, one.state) for key, one in self.known.items()}

    def losers(self, view: View) -> set[str]:
        """Entries that had a number and have none."""
        stored = {key: one for key, one in self.known.items() if one.state != "removed" and one.had}
        return {key for key, row in view.rows.items() if key in stored and not row[1]}

    def decide(self, view: View, truth: View, scope: str, look: str, limit: int) -> Expected:
        """What the guard must say."""
        gone = self.of("active") - view.keys
        waited = {key for key in self.of("missing") - view.keys if self.known[key].over}
        kept = (gone | waited) & self.kept
        leaving, over = gone - kept, waited - kept
        lost = len(self.losers(view) & self.of("active")) > LOSSES
        moved = self.scope is not None and self.scope != scope
        doubted = bool(leaving) and (len(leaving) > limit or moved)
        if doubted or ((leaving or over) and not truth.keys):
            return Expected(leaving or over, kept, lost, set(), settled=False)
        asked = leaving | over
        return Expected(asked if look == "unknown" else asked & truth.keys, kept, lost, over, settled=True)

    def move(self, view: View, truth: View, scope: str, look: str, limit: int) -> Expected:
        """One complete run."""
        before = self.pictures()
        said = self.decide(view, truth, scope, look, limit)
        leaving = self.of("active") - view.keys - said.held - said.kept
        listed = said.items or leaving
        if self.approved is not None and listed and listed == self.approved:
            for key in listed - {PHONE}:
                self.known[key].state = "removed"
            said = Expected(set(), set(), lost=False, over=said.over, settled=True, released=True)
        self.approved = None
        for key in self.of("missing") if said.settled else ():
            self.known[key].runs += 1
        for key in (said.over - said.held) & self.of("missing"):
            self.known[key].state = "removed"
        for key in leaving & self.of("active"):
            self.known[key] = replace(self.known[key], state="missing", runs=1, due=False)
        losers = self.losers(view) if said.lost else set()
        for key, row in view.rows.items():
            numbers = self.known[key].row[1] if key in losers else row[1]
            self.known[key] = Known((row[0], numbers, *row[2:]), had=bool(row[1]) or key in losers)
        self.held, self.kept = said.items, said.kept
        if said.settled:
            self.scope = scope
        return replace(said, changed=self.pictures() != before)


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
        options = {"max_removals": LIMIT, "guard": GUARD, "lifecycle": LIFECYCLE}
        self.site = Premises(self.folder, self.urls[0], self.branch, self.port, options)
        self.twins = (
            Directory(self.site, self.urls[0], lambda seal: seal),
            Directory(self.site, self.urls[1], lambda _: os.urandom(16)),
        )
        self.people: dict[str, dict[str, Any]] = {}  # uid at birth -> what the directory server holds
        self.queues: dict[str, str] = {}
        self.filter = EVERYBODY
        self.hidden = False
        self.model = {"corp": Model(), "acd": Model()}
        self.runs = 0
        self.ids: dict[tuple[str, str], str] = {}
        self.custom: dict[str, tuple[str, str]] = {}
        self.revision = 0
        self.born = 0

    @initialize(people=st.sampled_from([5, 7, 9, 3, 0]), data=st.data())
    def begin(self, people: int, data: st.DataObject) -> None:
        """An empty directory, and people and queues that arrive with the first runs."""
        for twin in self.twins:
            twin.clear()
        self.revision = self.site.revision()
        for _ in range(people):
            self.hire(data)
        self.list_queues(data)
        self.configure()
        self.run("corp", self.answer(), self.filter, Weather())
        self.run("acd", self.listed(), "queues.toml", Weather())

    def teardown(self) -> None:
        for twin in self.twins:
            twin.close()
        self.branch.close()

    # what happens at the sources

    @rule(events=st.lists(st.sampled_from(EVENTS), max_size=5), fault=st.sampled_from(FAULTS), data=st.data())
    def a_day_of_people(self, events: list[str], fault: str, data: st.DataObject) -> None:
        """Things happen, then the people are read; a fault that so few of them do not meet is none."""
        for event in events:
            self.happen(event, data)
        fault = "none" if len(self.people) < {"cut": 6, "limit": 3}.get(fault, 0) else fault
        truth = self.answer()
        weather = self.weather(data, truth)
        with Proxy(self.slapd.port, searches=3 if fault == "cut" else None) as proxy:
            self.configure(**self.fault(fault, proxy))
            if fault == "none":
                self.run("corp", truth, self.filter, weather)
            else:
                self.run_in_vain("corp", weather)

    @rule(half=st.sampled_from([False, False, False, True]), data=st.data())
    def a_day_of_queues(self, half: bool, data: st.DataObject) -> None:
        self.happen(data.draw(st.sampled_from(["list_queues", "two_hours_pass", "a_person_looks"])), data)
        truth = self.listed()
        weather = self.weather(data, truth)
        self.configure()
        if half:
            self.site.write_queues('[[queue]]\nname = "Sal')
            self.run_in_vain("acd", weather)
        else:
            self.run("acd", truth, "queues.toml", weather)
        self.site.queues(self.queues)

    def happen(self, event: str, data: st.DataObject) -> None:
        if self.people or event not in {"change", "rename", "spoil", "leave", "lose_number"}:
            getattr(self, event)(data)

    def hire(self, data: st.DataObject) -> None:
        uid, given, family, numbers = f"u{self.born}", data.draw(NAMES), data.draw(NAMES), data.draw(NUMBERS)
        self.born += 1
        dn = self.branch.add(uid, given, family, **({"telephoneNumber": numbers} if numbers else {}))
        self.people[uid] = {"dn": dn, "uid": uid, "given": given, "family": family, "numbers": numbers, "bad": False}

    def change(self, data: st.DataObject) -> None:
        person, family, numbers = self.somebody(data), data.draw(NAMES), data.draw(NUMBERS)
        self.branch.change(person["dn"], sn=family, telephoneNumber=numbers)
        person |= {"family": family, "numbers": numbers, "bad": False}

    def lose_number(self, data: st.DataObject) -> None:
        person = self.somebody(data)
        self.branch.change(person["dn"], telephoneNumber=[])
        person |= {"numbers": []}

    def rename(self, data: st.DataObject) -> None:
        person, uid = self.somebody(data), f"r{self.born}"
        self.born += 1
        person |= {"dn": self.branch.rename(person["dn"], f"uid={uid}"), "uid": uid}

    def spoil(self, data: st.DataObject) -> None:
        """A name that no contact can have: the record is rejected and the contact stays as it was."""
        person = self.somebody(data)
        self.branch.change(person["dn"], sn="x" * 300)
        person |= {"family": "x" * 300, "bad": True}

    def leave(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.people)))
        self.branch.remove(self.people.pop(uid)["dn"])

    def everybody_leaves(self, data: st.DataObject) -> None:
        for person in self.people.values():
            self.branch.remove(person["dn"])
        self.people.clear()

    def list_queues(self, data: st.DataObject) -> None:
        names = st.sampled_from(["Sales", "Support", "Night", "Day", "Fax"])
        self.queues = data.draw(st.dictionaries(names, st.sampled_from(["1", "2"])))
        self.site.queues(self.queues)

    def hide_numbers(self, data: st.DataObject | None = None) -> None:
        """Somebody takes the reader's right to see phone numbers, or gives it back."""
        self.hidden = not self.hidden
        if self.hidden:
            self.branch.hide("attrs=telephoneNumber")
        else:
            self.branch.show()

    def another_filter(self, data: st.DataObject) -> None:
        self.filter = NO_BOB if self.filter == EVERYBODY else EVERYBODY

    # what happens to the directory

    def two_hours_pass(self, data: st.DataObject | None = None) -> None:
        for twin in self.twins:
            twin.wait()
        for model in self.model.values():
            for key in model.of("missing"):
                model.known[key].due = True

    def a_person_looks(self, data: st.DataObject) -> None:
        """All that a source holds is approved, or kept until somebody says otherwise."""
        word = data.draw(st.sampled_from(["approve", "approve", "reject"]))
        for source, model in self.model.items():
            if model.held and (word == "reject" or model.approved is None):
                self.say(word, source)

    def say(self, word: str, source: str) -> None:
        model = self.model[source]
        for twin in self.twins:
            twin.say(word, source)
        model.approved = set(model.held) if word == "approve" else None
        model.kept = set() if word == "approve" else model.held - {PHONE}

    @precondition(lambda self: self.runs >= 6)
    @rule(data=st.data())
    def all_is_well_for_a_while(self, data: st.DataObject) -> None:
        """Liveness: complete runs, time and a person's word are enough for the directory to be as the sources say."""
        for _ in self.people.keys() & {data.draw(st.sampled_from([*sorted(self.people), ""]))}:
            self.leave(data)
        if self.hidden:
            self.hide_numbers()
        self.configure(max_removals=1000)
        for source in ("corp", "acd"):
            truth = self.answer() if source == "corp" else self.listed()
            scope = self.filter if source == "corp" else "queues.toml"
            model = self.model[source]
            self.run(source, truth, scope, Weather(), limit=1000)
            for step in range(GRACE_RUNS + 1):
                if model.held and model.approved is None:
                    self.say("approve", source)
                if step == 1:
                    self.two_hours_pass()
                if model.held or model.of("missing"):
                    self.run(source, truth, scope, Weather(), limit=1000)
            assert model.held == set()
            assert model.of("missing") <= truth.rejected
            assert {key: model.known[key].row for key in model.of("active") - truth.rejected} == truth.rows
            assert model.of("active") <= truth.keys
        self.configure()
        self.runs = 0

    @rule(what=st.sampled_from(["create", "edit", "delete"]), data=st.data())
    def somebody_edits(self, what: str, data: st.DataObject) -> None:
        """The Custom contacts, over HTTP."""
        name, number = data.draw(NAMES), data.draw(st.sampled_from(["xxx-xxx-xxxx", "5", "+1 2"]))
        if what == "create" or not self.custom:
            answer = self.http("POST", "", json={"name": name, "phoneNumber": number})
            self.custom[answer["id"]] = (name, number)
            self.rose()
            return
        id_ = data.draw(st.sampled_from(sorted(self.custom)))
        if what == "edit":
            self.http("PUT", f"/{id_}", json={"name": name})
            self.custom[id_] = (name, self.custom[id_][1])
            self.revision = max(self.revision, self.site.revision())
        else:
            self.http("DELETE", f"/{id_}")
            del self.custom[id_]
            self.rose()

    # what must hold after each of them

    @invariant()
    def custom_contacts_are_as_people_left_them(self) -> None:
        found = self.site.rows("SELECT replace(id::text, '-', '') AS id, name, numbers FROM contact_custom")
        assert {f["id"]: (f["name"], f["numbers"][0]["phoneNumber"]) for f in found} == self.custom

    @invariant()
    def synced_contacts_are_as_the_model_says(self) -> None:
        found = self.site.rows(
            "SELECT source, source_key, name, numbers, user_name, state, served FROM contact WHERE source IS NOT NULL"
        )
        stored: dict[str, dict[str, tuple[Any, ...]]] = {"corp": {}, "acd": {}}
        for one in found:
            numbers = tuple(number["phoneNumber"] for number in one["numbers"])
            user = (one["user_name"],) if one["source"] == "corp" else ()
            stored[one["source"]][one["source_key"]] = ((one["name"], numbers, *user), one["state"])
            assert one["served"] == (one["state"] != "removed")
        for source, model in self.model.items():
            assert stored[source] == {key: (one.row, one.state) for key, one in model.known.items()}

    @invariant()
    def what_is_held_is_listed(self) -> None:
        for source, model in self.model.items():
            assert [twin.held(source) for twin in self.twins] == [model.held] * 2

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
        assert self.twins[0].synced() == self.twins[1].synced()

    # how it is done

    def somebody(self, data: st.DataObject) -> dict[str, Any]:
        return self.people[data.draw(st.sampled_from(sorted(self.people)))]

    def fault(self, fault: str, proxy: Proxy) -> dict[str, Any]:
        """The settings under which a read fails in this way."""
        return {
            "down": {"urls": f'"ldap://127.0.0.1:{dead_port()}"'},
            "password": {"password_file": "wrong-password"},
            "base": {"base": f"ou=gone,{self.branch.base}"},
            "limit": {"bind_dn": LIMITED, "password_file": "limited-password"},
            "cut": {"urls": f'"{proxy.url}"'},
            "none": {},
        }[fault]

    def keyed(self, by_dn: dict[str, Any]) -> dict[str, Any]:
        """The same by entryUUID, as the directory server tells it."""
        self.branch.connection.search(self.branch.base, "(objectClass=inetOrgPerson)", attributes=["entryUUID"])
        keys = {entry["dn"]: entry["attributes"]["entryUUID"] for entry in self.branch.connection.response}
        keys = {dn: key[0] if isinstance(key, list) else key for dn, key in keys.items()}
        return {keys[dn]: value for dn, value in by_dn.items()}

    def answer(self) -> View:
        """What the directory server tells the reader now."""
        there = [person for person in self.people.values() if self.filter == EVERYBODY or person["family"] != "Bob"]
        rows = {person["dn"]: row(person, hidden=self.hidden) for person in there if not person["bad"]}
        bad = {person["dn"]: None for person in there if person["bad"]}
        return View(self.keyed(rows), set(self.keyed(bad)))

    def listed(self) -> View:
        return View({name: (name, (number,)) for name, number in self.queues.items()}, set())

    def weather(self, data: st.DataObject, truth: View) -> Weather:
        """Mostly calm; else records that a read does not bring although they are there, or a mute second look."""
        lagging = data.draw(st.sampled_from([0, 0, 3])) if truth.keys else 0
        keys = (
            data.draw(st.sets(st.sampled_from(sorted(truth.keys)), min_size=1, max_size=lagging)) if lagging else set()
        )
        return Weather(frozenset(keys), data.draw(st.sampled_from(["honest", "honest", "honest", "unknown"])))

    def configure(self, **changes: Any) -> None:
        """The settings under which a read succeeds, with these changes."""
        fine = {
            "urls": f'"{self.slapd.url}"', "bind_dn": READER, "password_file": "reader-password",
            "base": self.branch.base, "max_removals": LIMIT, "ldap": f"filter = '{self.filter}'",
        }  # fmt: skip
        self.site.configure(**fine | changes)

    def run_in_vain(self, source: str, weather: Weather) -> None:
        """A run that proves nothing changes nothing."""
        reports = [twin.run(self.site, source, weather) for twin in self.twins]
        assert [report.outcome for report in reports] == [Outcome.INCOMPLETE] * 2, [report.why for report in reports]

    def run(self, source: str, truth: View, scope: str, weather: Weather, limit: int = LIMIT) -> None:
        """Run both twins and move the model on by the rules of the guard and of the life cycle."""
        model = self.model[source]
        here, waiting = truth.keys & model.of("active"), truth.keys & model.of("missing")
        reports = [twin.run(self.site, source, weather) for twin in self.twins]
        expected = model.move(truth.without(weather.lagging), truth, scope, weather.look, limit)
        for report in reports:
            assert (report.outcome, report.held) == (expected.outcome, len(expected.held | expected.kept)), report
            assert (PHONE in expected.items) == bool(report.attributes), report
            assert (report.approved is not None) == expected.released, report
            assert (report.revision is not None) == expected.changed, report
        if not expected.released:
            assert here <= model.of("active"), "who is at the source is never removed"
            assert not waiting & model.of("removed"), "nor at the end of a grace"
        if expected.changed:
            self.rose()
        self.runs += 1

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


def row(person: dict[str, Any], *, hidden: bool) -> tuple[Any, ...]:
    """What the directory must say of a person."""
    return (f"{person['given']} {person['family']}", () if hidden else tuple(person["numbers"]), person["uid"])


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
    """Whatever fails, nobody at the source is removed; who left is, within the grace once runs are complete again."""
    site.port = free_port()
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
        # a failing history is shown as it was met: to shorten it takes many more of them than it is worth
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=10, stateful_step_count=12, deadline=None,
                suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate],
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
