"""Random histories of sources, faults, edits and runs; after each step the directory must equal a model."""

import os
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
from syncd.core.sync.record import (
    Attempt,
    Evidence,
    KnownDigests,
    Presence,
    PresenceCheck,
    Record,
    Reject,
    SearchResult,
    Source,
)
from syncd.demo.servers import Slapd
from syncd.drill.proxy import Proxy, dead_port
from syncd.jobs.sync import synchronize
from syncd.store.admin import approvals
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests.environment import LIMITED_DN, READER_DN, Branch, Environment
from tests.http_daemon import HttpDaemon, assert_ok

MAX_REMOVALS = 2
"""Removals that one run may apply."""
MAX_LOSSES = 1
"""Entries that may lose an attribute in one run."""
GRACE_RUNS = 3
GUARD = f"max_removals_day = 1000\nmax_removals_week = 1000\nmax_rejects = 1000\nmax_attribute_loss = {MAX_LOSSES}\n"
LIFECYCLE = f'grace = "1h"\ngrace_runs = {GRACE_RUNS}\n'
ALL_USERS_FILTER = "(objectClass=inetOrgPerson)"
FILTER_WITHOUT_BOB = "(&(objectClass=inetOrgPerson)(!(sn=Bob)))"
NUMBER_LOSS = "attribute telephonenumber"
NAMES = st.sampled_from(["Ada", "Bob", "Čapek", "Dürer", "Eve", "Fo,o", "O'Neil", 'Q"uo\\te'])
NUMBERS = st.lists(st.sampled_from(["1", "+44 20", "0049 (30) 5", "x-y"]), max_size=3, unique=True)
FAULTS = ("down", "password", "base", "limit", "cut", *["none"] * 15)
EVENTS = (
    "add_user", "change_user", "lose_number", "rename_user", "invalidate_user", "remove_user", "remove_user",
    "remove_all_users", "toggle_number_access", "toggle_number_access", "toggle_filter", "advance_two_hours",
    "advance_two_hours", "operator_decides",
)  # fmt: skip
"""Names of methods; a repeated one is drawn more often."""

COLUMNS = (
    "name, numbers, user_name, first_name, last_name, name_folded, search, dialled, source_key, source, state, served"
)


@dataclass(frozen=True)
class ReadConditions:
    """Conditions of one run besides the settings: records that a read omits, and whether absences can be verified."""

    lagging: frozenset[str] = frozenset()
    verification: str = "works"


class UnreliableSource:
    """A source under such conditions."""

    def __init__(self, source: Source, conditions: ReadConditions, digests: set[bytes]) -> None:
        self._source = source
        self._conditions = conditions
        self._digests = digests

    def attempts(self) -> Iterator[Attempt]:
        for attempt in self._source.attempts():
            yield _LaggingAttempt(attempt, self._conditions.lagging, self._digests)

    def verify_absent(self, keys: Sequence[str], evidence: Evidence) -> Sequence[PresenceCheck]:
        if self._conditions.verification == "fails":
            return [PresenceCheck(key, Presence.UNKNOWN, "no answer") for key in keys]
        return self._source.verify_absent(keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> SearchResult:
        return self._source.search(text, keys)


class _LaggingAttempt:
    """An attempt that omits some records."""

    def __init__(self, attempt: Attempt, keys: frozenset[str], digests: set[bytes]) -> None:
        self._attempt = attempt
        self._keys = keys
        self._digests = digests

    def read(self, known: KnownDigests) -> Generator[Record | Reject, None, Evidence]:
        omitted = known.remaining & self._digests
        known.remaining -= omitted
        stream = self._attempt.read(known)
        while True:
            try:
                item = next(stream)
            except StopIteration as end:
                known.remaining |= omitted
                evidence: Evidence = end.value
                return evidence
            if item.key not in self._keys:
                yield item


class TwinDatabase:
    """One of two databases with the same history: one recognises entries by digests, the other never does."""

    def __init__(self, env: Environment, url: str, to_fingerprint: Callable[[bytes], bytes]) -> None:
        self.url = url
        self._to_fingerprint = to_fingerprint
        settings_ = env.settings.database.model_copy(update={"url": url})
        self._sync, self._api = open_engine(settings_, Role.SYNC), open_engine(settings_, Role.API)

    def run(self, env: Environment, source: str, conditions: ReadConditions) -> Report:
        settings_ = env.settings.find_source(source)
        job = use_cases.build_job(settings_)
        query = "SELECT digest FROM contact WHERE source_key = ANY (%s) AND digest IS NOT NULL"
        digests = {row[0] for row in self.rows(query, list(conditions.lagging))}
        with open_writer(self._sync, source, settings_.type) as writer:
            unreliable = UnreliableSource(job.source, conditions, digests)
            return synchronize(
                replace(job, source=unreliable, fingerprint=self._to_fingerprint(job.fingerprint)), writer
            )

    def decide_held(self, decision: str, source: str) -> None:
        """Approve or reject all that a source holds."""
        run = self.rows("SELECT max(run_id) FROM held WHERE source = %s", source)[0][0]
        with self._api.begin() as connection:
            if decision == "approve":
                approvals.approve(connection, run, "ann", timedelta(hours=1))
            else:
                approvals.reject(connection, run, "ann")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query, values).fetchall()

    def synced_contacts(self) -> list[tuple[Any, ...]]:
        """Return the synced contacts, without ids and digests, which differ between the twins."""
        return self.rows(f"SELECT {COLUMNS} FROM contact WHERE type <> 'Custom' ORDER BY source, source_key")

    def held(self, source: str) -> set[str]:
        """Return the keys of all held items."""
        rows = self.rows("SELECT coalesce(source_key, item) FROM held WHERE source = %s", source)
        return {row[0] for row in rows}

    def advance_two_hours(self) -> None:
        """Move all absences two hours into the past."""
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
class ModelContact:
    """A contact of the model."""

    row: tuple[Any, ...]
    state: str = "active"
    had_number: bool = False
    """Whether its entry had a phone number in the last accepted read."""
    runs: int = 0
    """Runs since it is missing that count for the grace."""
    due: bool = False
    """Whether the time of the grace has passed."""

    @property
    def over(self) -> bool:
        """Whether its grace ends with the next run that counts."""
        return self.due and self.runs + 1 >= GRACE_RUNS


class SourceView:
    """The current content of a source: rows by key, and the keys of records that cannot be mapped."""

    def __init__(self, rows: dict[str, tuple[Any, ...]], rejected: set[str]) -> None:
        self.rows = rows
        self.rejected = rejected

    @property
    def keys(self) -> set[str]:
        return self.rows.keys() | self.rejected

    def without(self, keys: frozenset[str]) -> "SourceView":
        return SourceView({key: row for key, row in self.rows.items() if key not in keys}, self.rejected - keys)


@dataclass(frozen=True)
class ExpectedReport:
    """The expected report of a run."""

    held: set[str]
    """Keys of held contacts."""
    kept: set[str]
    """Keys of contacts whose removal was rejected."""
    lost: bool
    """Whether the loss of phone numbers is held."""
    over: set[str]
    """Keys of contacts whose grace ends."""
    settled: bool
    released: bool = False
    changed: bool = False

    @property
    def items(self) -> set[str]:
        return self.held | self.kept | ({NUMBER_LOSS} if self.lost else set())

    @property
    def outcome(self) -> Outcome:
        return Outcome.HELD if self.held or self.lost else Outcome.COMPLETED


class SourceModel:
    """The contacts of a source: a second implementation of the rules of guard and life cycle."""

    def __init__(self) -> None:
        self.contacts: dict[str, ModelContact] = {}
        self.held: set[str] = set()
        self.kept: set[str] = set()
        self.approved: set[str] | None = None
        self.scope: str | None = None

    def keys_in_state(self, state: str) -> set[str]:
        return {key for key, contact in self.contacts.items() if contact.state == state}

    def snapshot(self) -> dict[str, Any]:
        return {key: (contact.row, contact.state) for key, contact in self.contacts.items()}

    def keys_that_lost_numbers(self, view: SourceView) -> set[str]:
        """Return the keys of entries that had a number and have none."""
        stored = {
            key: contact for key, contact in self.contacts.items() if contact.state != "removed" and contact.had_number
        }
        return {key for key, row in view.rows.items() if key in stored and not row[1]}

    def decide(self, view: SourceView, truth: SourceView, scope: str, verification: str, limit: int) -> ExpectedReport:
        """Return the expected decision of the guard."""
        gone = self.keys_in_state("active") - view.keys
        ended = {key for key in self.keys_in_state("missing") - view.keys if self.contacts[key].over}
        kept = (gone | ended) & self.kept
        leaving, over = gone - kept, ended - kept
        lost = len(self.keys_that_lost_numbers(view) & self.keys_in_state("active")) > MAX_LOSSES
        has_other_scope = self.scope is not None and self.scope != scope
        is_held = bool(leaving) and (len(leaving) > limit or has_other_scope)
        if is_held or ((leaving or over) and not truth.keys):
            return ExpectedReport(leaving or over, kept, lost, set(), settled=False)
        unconfirmed = leaving | over
        return ExpectedReport(
            unconfirmed if verification == "fails" else unconfirmed & truth.keys, kept, lost, over, settled=True
        )

    def apply_run(
        self, view: SourceView, truth: SourceView, scope: str, verification: str, limit: int
    ) -> ExpectedReport:
        """Apply one complete run; return the expected report."""
        before = self.snapshot()
        expected = self.decide(view, truth, scope, verification, limit)
        leaving = self.keys_in_state("active") - view.keys - expected.held - expected.kept
        listed = expected.items or leaving
        if self.approved is not None and listed and listed == self.approved:
            for key in listed - {NUMBER_LOSS}:
                self.contacts[key].state = "removed"
            expected = ExpectedReport(set(), set(), lost=False, over=expected.over, settled=True, released=True)
        self.approved = None
        for key in self.keys_in_state("missing") if expected.settled else ():
            self.contacts[key].runs += 1
        for key in (expected.over - expected.held) & self.keys_in_state("missing"):
            self.contacts[key].state = "removed"
        for key in leaving & self.keys_in_state("active"):
            self.contacts[key] = replace(self.contacts[key], state="missing", runs=1, due=False)
        losses = self.keys_that_lost_numbers(view) if expected.lost else set()
        for key, row in view.rows.items():
            numbers = self.contacts[key].row[1] if key in losses else row[1]
            self.contacts[key] = ModelContact((row[0], numbers, *row[2:]), had_number=bool(row[1]) or key in losses)
        self.held, self.kept = expected.items, expected.kept
        if expected.settled:
            self.scope = scope
        return replace(expected, changed=self.snapshot() != before)


class HistoryMachine(RuleBasedStateMachine):
    """The sources, the models of their contacts, and the Custom contacts as edited over HTTP."""

    slapd: Slapd
    folder: Path
    urls: tuple[str, str]
    port: int
    token: str

    def __init__(self) -> None:
        super().__init__()
        self.branch = Branch(self.slapd)
        options = {"max_removals": MAX_REMOVALS, "guard": GUARD, "lifecycle": LIFECYCLE}
        self.env = Environment(self.folder, self.urls[0], self.branch, self.port, options)
        self.twins = (
            TwinDatabase(self.env, self.urls[0], lambda fingerprint: fingerprint),
            TwinDatabase(self.env, self.urls[1], lambda _: os.urandom(16)),
        )
        self.people: dict[str, dict[str, Any]] = {}  # uid at creation -> the entry
        self.queues: dict[str, str] = {}
        self.filter = ALL_USERS_FILTER
        self.hidden = False
        self.model = {"corp": SourceModel(), "acd": SourceModel()}
        self.runs = 0
        self.ids: dict[tuple[str, str], str] = {}
        self.custom: dict[str, tuple[str, str]] = {}
        self.revision = 0
        self.next_number = 0

    @initialize(people=st.sampled_from([5, 7, 9, 3, 0]), data=st.data())
    def load_initial(self, people: int, data: st.DataObject) -> None:
        """Start with an empty directory, and sync the first people and queues."""
        for twin in self.twins:
            twin.clear()
        self.revision = self.env.revision()
        for _ in range(people):
            self.add_user(data)
        self.replace_queues(data)
        self.configure()
        self.run("corp", self.read_users(), self.filter, ReadConditions())
        self.run("acd", self.read_queues(), "queues.toml", ReadConditions())

    def teardown(self) -> None:
        for twin in self.twins:
            twin.close()
        self.branch.close()

    # events at the sources

    @rule(events=st.lists(st.sampled_from(EVENTS), max_size=5), fault=st.sampled_from(FAULTS), data=st.data())
    def change_users_and_sync(self, events: list[str], fault: str, data: st.DataObject) -> None:
        """Apply events, then sync the users under a fault; with too few users some faults have no effect."""
        for event in events:
            self.apply_event(event, data)
        fault = "none" if len(self.people) < {"cut": 6, "limit": 3}.get(fault, 0) else fault
        truth = self.read_users()
        conditions = self.conditions(data, truth)
        with Proxy(self.slapd.port, max_searches=3 if fault == "cut" else None) as proxy:
            self.configure(**self.fault(fault, proxy))
            if fault == "none":
                self.run("corp", truth, self.filter, conditions)
            else:
                self.run_incomplete("corp", conditions)

    @rule(half=st.sampled_from([False, False, False, True]), data=st.data())
    def change_queues_and_sync(self, half: bool, data: st.DataObject) -> None:
        self.apply_event(data.draw(st.sampled_from(["replace_queues", "advance_two_hours", "operator_decides"])), data)
        truth = self.read_queues()
        conditions = self.conditions(data, truth)
        self.configure()
        if half:
            self.env.write_queue_file('[[queue]]\nname = "Sal')
            self.run_incomplete("acd", conditions)
        else:
            self.run("acd", truth, "queues.toml", conditions)
        self.env.write_queues(self.queues)

    def apply_event(self, event: str, data: st.DataObject) -> None:
        if self.people or event not in {"change_user", "rename_user", "invalidate_user", "remove_user", "lose_number"}:
            getattr(self, event)(data)

    def add_user(self, data: st.DataObject) -> None:
        uid, given, family, numbers = f"u{self.next_number}", data.draw(NAMES), data.draw(NAMES), data.draw(NUMBERS)
        self.next_number += 1
        dn = self.branch.add(uid, given, family, **({"telephoneNumber": numbers} if numbers else {}))
        self.people[uid] = {"dn": dn, "uid": uid, "given": given, "family": family, "numbers": numbers, "bad": False}

    def change_user(self, data: st.DataObject) -> None:
        person, family, numbers = self.draw_person(data), data.draw(NAMES), data.draw(NUMBERS)
        self.branch.change(person["dn"], sn=family, telephoneNumber=numbers)
        person |= {"family": family, "numbers": numbers, "bad": False}

    def lose_number(self, data: st.DataObject) -> None:
        person = self.draw_person(data)
        self.branch.change(person["dn"], telephoneNumber=[])
        person |= {"numbers": []}

    def rename_user(self, data: st.DataObject) -> None:
        person, uid = self.draw_person(data), f"r{self.next_number}"
        self.next_number += 1
        person |= {"dn": self.branch.rename(person["dn"], f"uid={uid}"), "uid": uid}

    def invalidate_user(self, data: st.DataObject) -> None:
        """Set an invalid name: the record is rejected and the contact is unchanged."""
        person = self.draw_person(data)
        self.branch.change(person["dn"], sn="x" * 300)
        person |= {"family": "x" * 300, "bad": True}

    def remove_user(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.people)))
        self.branch.remove(self.people.pop(uid)["dn"])

    def remove_all_users(self, data: st.DataObject) -> None:
        for person in self.people.values():
            self.branch.remove(person["dn"])
        self.people.clear()

    def replace_queues(self, data: st.DataObject) -> None:
        names = st.sampled_from(["Sales", "Support", "Night", "Day", "Fax"])
        self.queues = data.draw(st.dictionaries(names, st.sampled_from(["1", "2"])))
        self.env.write_queues(self.queues)

    def toggle_number_access(self, data: st.DataObject | None = None) -> None:
        """Deny the reader access to phone numbers, or allow it again."""
        self.hidden = not self.hidden
        if self.hidden:
            self.branch.deny_reader("attrs=telephoneNumber")
        else:
            self.branch.allow_reader()

    def toggle_filter(self, data: st.DataObject) -> None:
        self.filter = FILTER_WITHOUT_BOB if self.filter == ALL_USERS_FILTER else ALL_USERS_FILTER

    # events in the directory

    def advance_two_hours(self, data: st.DataObject | None = None) -> None:
        for twin in self.twins:
            twin.advance_two_hours()
        for model in self.model.values():
            for key in model.keys_in_state("missing"):
                model.contacts[key].due = True

    def operator_decides(self, data: st.DataObject) -> None:
        """Approve or reject all that a source holds."""
        decision = data.draw(st.sampled_from(["approve", "approve", "reject"]))
        for source, model in self.model.items():
            if model.held and (decision == "reject" or model.approved is None):
                self.decide_held(decision, source)

    def decide_held(self, decision: str, source: str) -> None:
        model = self.model[source]
        for twin in self.twins:
            twin.decide_held(decision, source)
        model.approved = set(model.held) if decision == "approve" else None
        model.kept = set() if decision == "approve" else model.held - {NUMBER_LOSS}

    @precondition(lambda self: self.runs >= 6)
    @rule(data=st.data())
    def all_runs_succeed(self, data: st.DataObject) -> None:
        """Liveness: after complete runs, time and approvals the directory equals the sources."""
        for _ in self.people.keys() & {data.draw(st.sampled_from([*sorted(self.people), ""]))}:
            self.remove_user(data)
        if self.hidden:
            self.toggle_number_access()
        self.configure(max_removals=1000)
        for source in ("corp", "acd"):
            truth = self.read_users() if source == "corp" else self.read_queues()
            scope = self.filter if source == "corp" else "queues.toml"
            model = self.model[source]
            self.run(source, truth, scope, ReadConditions(), limit=1000)
            for step in range(GRACE_RUNS + 1):
                if model.held and model.approved is None:
                    self.decide_held("approve", source)
                if step == 1:
                    self.advance_two_hours()
                if model.held or model.keys_in_state("missing"):
                    self.run(source, truth, scope, ReadConditions(), limit=1000)
            assert model.held == set()
            assert model.keys_in_state("missing") <= truth.rejected
            assert {
                key: model.contacts[key].row for key in model.keys_in_state("active") - truth.rejected
            } == truth.rows
            assert model.keys_in_state("active") <= truth.keys
        self.configure()
        self.runs = 0

    @rule(action=st.sampled_from(["create", "edit", "delete"]), data=st.data())
    def edit_custom_contact(self, action: str, data: st.DataObject) -> None:
        """Edit Custom contacts over HTTP."""
        name, number = data.draw(NAMES), data.draw(st.sampled_from(["xxx-xxx-xxxx", "5", "+1 2"]))
        if action == "create" or not self.custom:
            answer = self.http("POST", "", json={"name": name, "phoneNumber": number})
            self.custom[answer["id"]] = (name, number)
            self.assert_revision_rose()
            return
        id_ = data.draw(st.sampled_from(sorted(self.custom)))
        if action == "edit":
            self.http("PUT", f"/{id_}", json={"name": name})
            self.custom[id_] = (name, self.custom[id_][1])
            self.revision = max(self.revision, self.env.revision())
        else:
            self.http("DELETE", f"/{id_}")
            del self.custom[id_]
            self.assert_revision_rose()

    # invariants

    @invariant()
    def custom_contacts_are_as_edited(self) -> None:
        rows = self.env.fetch_rows("SELECT replace(id::text, '-', '') AS id, name, numbers FROM contact_custom")
        assert {row["id"]: (row["name"], row["numbers"][0]["phoneNumber"]) for row in rows} == self.custom

    @invariant()
    def synced_contacts_equal_the_model(self) -> None:
        rows = self.env.fetch_rows(
            "SELECT source, source_key, name, numbers, user_name, state, served FROM contact WHERE source IS NOT NULL"
        )
        stored: dict[str, dict[str, tuple[Any, ...]]] = {"corp": {}, "acd": {}}
        for row in rows:
            numbers = tuple(number["phoneNumber"] for number in row["numbers"])
            user = (row["user_name"],) if row["source"] == "corp" else ()
            stored[row["source"]][row["source_key"]] = ((row["name"], numbers, *user), row["state"])
            assert row["served"] == (row["state"] != "removed")
        for source, model in self.model.items():
            assert stored[source] == {key: (contact.row, contact.state) for key, contact in model.contacts.items()}

    @invariant()
    def held_items_are_listed(self) -> None:
        for source, model in self.model.items():
            assert [twin.held(source) for twin in self.twins] == [model.held] * 2

    @invariant()
    def ids_are_stable_and_unique(self) -> None:
        rows = self.env.fetch_rows("SELECT source, source_key, id FROM contact WHERE source IS NOT NULL")
        for row in rows:
            key = (row["source"], row["source_key"])
            assert self.ids.setdefault(key, row["id"]) == row["id"]
        assert len(set(self.ids.values())) == len(self.ids)

    @invariant()
    def the_revision_never_decreases(self) -> None:
        assert self.env.revision() >= self.revision

    @invariant()
    def both_twins_are_equal(self) -> None:
        assert self.twins[0].synced_contacts() == self.twins[1].synced_contacts()

    # helpers

    def draw_person(self, data: st.DataObject) -> dict[str, Any]:
        return self.people[data.draw(st.sampled_from(sorted(self.people)))]

    def fault(self, fault: str, proxy: Proxy) -> dict[str, Any]:
        """Return the settings under which a read has a fault."""
        return {
            "down": {"urls": f'"ldap://127.0.0.1:{dead_port()}"'},
            "password": {"password_file": "wrong-password"},
            "base": {"base": f"ou=gone,{self.branch.base}"},
            "limit": {"bind_dn": LIMITED_DN, "password_file": "limited-password"},
            "cut": {"urls": f'"{proxy.url}"'},
            "none": {},
        }[fault]

    def by_key(self, by_dn: dict[str, Any]) -> dict[str, Any]:
        """Replace the DNs by entryUUIDs."""
        keys = self.branch.find_keys("(objectClass=inetOrgPerson)")
        return {keys[dn]: value for dn, value in by_dn.items()}

    def read_users(self) -> SourceView:
        """Return what the reader reads from the directory server."""
        matches = [
            person for person in self.people.values() if self.filter == ALL_USERS_FILTER or person["family"] != "Bob"
        ]
        rows = {person["dn"]: expected_row(person, hidden=self.hidden) for person in matches if not person["bad"]}
        bad = {person["dn"]: None for person in matches if person["bad"]}
        return SourceView(self.by_key(rows), set(self.by_key(bad)))

    def read_queues(self) -> SourceView:
        return SourceView({name: (name, (number,)) for name, number in self.queues.items()}, set())

    def conditions(self, data: st.DataObject, truth: SourceView) -> ReadConditions:
        """Draw conditions: mostly normal, sometimes records that a read omits, or a verification that fails."""
        lagging = data.draw(st.sampled_from([0, 0, 3])) if truth.keys else 0
        keys = (
            data.draw(st.sets(st.sampled_from(sorted(truth.keys)), min_size=1, max_size=lagging)) if lagging else set()
        )
        return ReadConditions(frozenset(keys), data.draw(st.sampled_from(["works", "works", "works", "fails"])))

    def configure(self, **changes: Any) -> None:
        """Write settings under which a read succeeds, with these changes."""
        usual: dict[str, Any] = {
            "urls": f'"{self.slapd.url}"', "bind_dn": READER_DN, "password_file": "reader-password",
            "base": self.branch.base, "max_removals": MAX_REMOVALS, "ldap": f"filter = '{self.filter}'",
        }  # fmt: skip
        self.env.configure(**(usual | changes))

    def run_incomplete(self, source: str, conditions: ReadConditions) -> None:
        """Run both twins, which are incomplete; the model is unchanged."""
        reports = [twin.run(self.env, source, conditions) for twin in self.twins]
        assert [report.outcome for report in reports] == [Outcome.INCOMPLETE] * 2, [report.reason for report in reports]

    def run(
        self, source: str, truth: SourceView, scope: str, conditions: ReadConditions, limit: int = MAX_REMOVALS
    ) -> None:
        """Run both twins and the model, and compare the reports."""
        model = self.model[source]
        here, waiting = truth.keys & model.keys_in_state("active"), truth.keys & model.keys_in_state("missing")
        reports = [twin.run(self.env, source, conditions) for twin in self.twins]
        expected = model.apply_run(truth.without(conditions.lagging), truth, scope, conditions.verification, limit)
        for report in reports:
            assert (report.outcome, report.held) == (expected.outcome, len(expected.held | expected.kept)), report
            assert (NUMBER_LOSS in expected.items) == bool(report.held_attributes), report
            assert (report.approved is not None) == expected.released, report
            assert (report.revision is not None) == expected.changed, report
        if not expected.released:
            assert here <= model.keys_in_state("active"), "a contact at the source is never removed"
            assert not waiting & model.keys_in_state("removed"), "not even at the end of a grace"
        if expected.changed:
            self.assert_revision_rose()
        self.runs += 1

    def assert_revision_rose(self) -> None:
        """Assert that a change of a contact has raised the revision."""
        revision = self.env.revision()
        assert revision > self.revision
        self.revision = revision

    def http(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v2/contacts{path}"
        answer = httpx.request(method, url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60, **options)
        body: dict[str, Any] = assert_ok(answer)
        return body


def expected_row(person: dict[str, Any], *, hidden: bool) -> tuple[Any, ...]:
    """Return the expected columns of a person."""
    return (f"{person['given']} {person['family']}", () if hidden else tuple(person["numbers"]), person["uid"])


@pytest.fixture
def twin_url(postgres: Any, template_database: str) -> Any:
    """The URL of a second database with the schema."""
    name = f"twin_{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    return postgres.url(name)


@pytest.mark.timeout(900)
def test_random_histories(env: Environment, slapd: Slapd, twin_url: str) -> None:
    """No fault removes a contact that is at the source; an absent one is removed after its grace and complete runs."""
    # the daemon of the API has no sources: the machine decides when a sync runs
    folder = env.folder / "daemon"
    folder.mkdir()
    daemon = HttpDaemon(folder, env.database_url)
    daemon.configure()
    daemon.start()
    try:
        daemon.create_tokens()
        attributes = {"slapd": slapd, "folder": env.folder, "port": daemon.port, "token": daemon.tokens["admin"]}
        machine = type("History", (HistoryMachine,), attributes | {"urls": (env.database_url, twin_url)})
        # a failing history is shown as it was found: shrinking it takes many more histories than it is worth
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=10, stateful_step_count=12, deadline=None,
                suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate],
            ),
        )  # fmt: skip
    finally:
        assert daemon.stop() == 0
