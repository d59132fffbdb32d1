"""The guard on real servers, for every kind of source: what is held, kept, released, believed and written down."""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ldap3
import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.contacts.contact import Contact, Number, Type, index
from syncd.core.sync.plan import Change, Outcome, Report
from syncd.core.sync.record import Attempt, Evidence, Search, Sighting, Source
from syncd.demo.servers import Slapd
from syncd.drill.proxy import dead_port
from syncd.jobs.sync import synchronize
from syncd.store.connection.engine import Role, open_engine
from syncd.store.run.writer import open_writer
from tests import environment
from tests.environment import READER, Branch, Premises

RELAX = [("1.3.6.1.4.1.4203.666.5.12", True, None)]
"""With this control slapd lets the root DN say which entryUUID an entry has."""
OPEN = 'max_removals_day = "100%"\nmax_removals_week = "100%"\n'
NO_GRACE = 'grace = "0s"\ngrace_runs = 1\n'
GRACE = 'grace = "1h"\ngrace_runs = 3\n'
HOUR = timedelta(hours=1)


class Records:
    """The records of one source, numbered: added, changed and removed in bulk; record n always has the same key."""

    source: str
    type: Type
    attribute: str
    """The attribute that gives the numbers, as the guard calls it."""
    member: str
    """The member, besides name and numbers, that `change` gives a value."""
    column: str

    def __init__(self, site: Premises) -> None:
        self.site = site

    def key(self, n: int) -> str:
        """The key by which the source knows a record."""
        raise NotImplementedError

    def name(self, n: int) -> str:
        """The name of its contact."""
        raise NotImplementedError

    def add(self, *numbers: int) -> None:
        """Add records, or bring back removed ones under their old keys."""
        raise NotImplementedError

    def remove(self, *numbers: int) -> None:
        raise NotImplementedError

    def change(self, *numbers: int, to: str) -> None:
        """Give them this value of `member`."""
        raise NotImplementedError

    def call(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        """Give them these phone numbers, or none."""
        raise NotImplementedError

    def spoil(self, *numbers: int) -> None:
        """Make records of them that cannot be mapped."""
        raise NotImplementedError

    def mend(self, *numbers: int) -> None:
        raise NotImplementedError

    def breaking(self) -> dict[str, Any]:
        """Settings under which the source does not answer."""
        raise NotImplementedError

    # the same for all

    def run(self) -> Report:
        return self.site.run(self.source)

    def served(self) -> set[str]:
        return set(self.site.contacts(self.type))

    def names(self, numbers: Sequence[int]) -> set[str]:
        return {self.name(n) for n in numbers}

    def contact(self, n: int) -> dict[str, Any]:
        """The stored row of a record, served or not."""
        query = "SELECT * FROM contact WHERE source = %s AND source_key = %s"
        return self.site.rows(query, self.source, self.key(n))[0]

    def states(self, *numbers: int) -> list[str]:
        return [self.contact(n)["state"] for n in numbers]

    def phones(self) -> dict[str, list[str]]:
        """The numbers of all served contacts by name."""
        found = self.site.contacts(self.type)
        return {name: [number["phoneNumber"] for number in row["numbers"]] for name, row in found.items()}

    def held(self) -> list[dict[str, Any]]:
        query = "SELECT * FROM held WHERE source = %s AND job = 'sync' ORDER BY name"
        return self.site.rows(query, self.source)

    def held_names(self) -> set[str]:
        return {row["name"] for row in self.held()}

    def log(self, run: int | None) -> list[dict[str, Any]]:
        """The lines that a run wrote into the change log; members without a value are left out."""
        found = self.site.rows("SELECT * FROM change WHERE run_id = %s ORDER BY id", run)
        for row in found:
            row |= {side: {m: v for m, v in row[side].items() if v is not None} for side in ("old", "new")}
        return found

    def history(self, n: int) -> list[str]:
        """What the change log says happened to a record."""
        query = "SELECT kind FROM change WHERE source_key = %s AND type = %s ORDER BY id"
        return [row["kind"] for row in self.site.rows(query, self.key(n), self.type)]

    def shift(self, age: timedelta) -> None:
        """Let all absences and runs of the past have been so much earlier."""
        self.write("UPDATE contact SET state_since = state_since - %s WHERE state <> 'active'", age)
        self.write("UPDATE run SET finished_at = finished_at - %s", age)

    def approve(self, run: int | None, expires: str = "1 hour") -> None:
        """A person's word for all that a run holds, as `syncd approve` gives it."""
        items = [row["item"] for row in self.held() if row["run_id"] == run]
        digest = hashlib.sha256("\n".join(sorted(items)).encode()).digest()
        self.write(
            "INSERT INTO approval (run_id, source, job, list, items, approved_by, expires_at) "
            "VALUES (%s, %s, 'sync', %s, %s, 'ann', now() + CAST(%s AS interval))",
            run, self.source, digest, len(items), expires,
        )  # fmt: skip

    def approval(self) -> dict[str, Any]:
        return self.site.rows("SELECT * FROM approval WHERE source = %s ORDER BY approved_at DESC", self.source)[0]

    def write(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.site.database_url) as connection:
            connection.execute(statement, values)

    def frozen(self) -> list[Any]:
        """Every row that speaks of the directory, runs aside, exactly as stored."""
        kept = {"contact", "directory", "source", "held", "change", "reject"}
        return [row for row in self.site.fingerprint() if row["of"] in kept]

    def flat(self, numbers: Sequence[int]) -> None:
        """Start with these records in the directory, active."""
        self.add(*numbers)
        assert self.run().outcome is Outcome.COMPLETED


class People(Records):
    """Persons of a branch of the LDAP directory, read by an account that access rules apply to."""

    source, type = "corp", "User"
    attribute, member, column = "telephonenumber", "emailAddress", "email_address"

    def __init__(self, site: Premises, branch: Branch | None = None) -> None:
        super().__init__(site)
        self.branch = branch or site.branch
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
            self.branch.connection.add(self.dn(n), "inetOrgPerson", values, controls=RELAX)

    def remove(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.remove(self.dn(n))

    def change(self, *numbers: int, to: str) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), mail=to)

    def call(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), telephoneNumber=phone(n) or [])

    def spoil(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), employeeNumber="x" * 300)

    def mend(self, *numbers: int) -> None:
        for n in numbers:
            self.branch.change(self.dn(n), employeeNumber=[])

    def breaking(self) -> dict[str, Any]:
        return {"urls": f'"ldap://127.0.0.1:{dead_port()}"'}


class Queues(Records):
    """Queues in a file."""

    source, type = "acd", "Queue"
    attribute, member, column = "phonenumber", "channel", "channel"

    def __init__(self, site: Premises) -> None:
        super().__init__(site)
        self.listed: dict[int, dict[str, str]] = {}

    def key(self, n: int) -> str:
        return self.name(n)

    def name(self, n: int) -> str:
        return f"Q {n:03}"

    def add(self, *numbers: int) -> None:
        self.listed |= {n: {"name": self.name(n), "phoneNumber": f"+1 555 {n:03}"} for n in numbers}
        self.write_file()

    def remove(self, *numbers: int) -> None:
        for n in numbers:
            del self.listed[n]
        self.write_file()

    def change(self, *numbers: int, to: str) -> None:
        for n in numbers:
            self.listed[n]["channel"] = to
        self.write_file()

    def call(self, *numbers: int, phone: Callable[[int], str | None]) -> None:
        for n in numbers:
            self.listed[n]["phoneNumber"] = phone(n) or ""
        self.write_file()

    def spoil(self, *numbers: int) -> None:
        self.change(*numbers, to="x" * 300)

    def mend(self, *numbers: int) -> None:
        self.change(*numbers, to="")

    def breaking(self) -> dict[str, Any]:
        return {"path": "gone.toml"}

    def write_file(self) -> None:
        blocks = ["[[queue]]\n" + "".join(f'{m} = "{v}"\n' for m, v in one.items()) for one in self.listed.values()]
        self.site.write_queues("\n".join(blocks) or "queue = []\n")


@pytest.fixture(params=["ldap", "file"])
def records(request: pytest.FixtureRequest, site: Premises) -> Records:
    """Records of each kind of source, in a directory without grace whose windows are open."""
    given(site)
    return People(site) if request.param == "ldap" else Queues(site)


@pytest.fixture
def people(site: Premises) -> People:
    """The same of LDAP only."""
    given(site)
    return People(site)


def given(site: Premises, guard: str = OPEN, lifecycle: str = NO_GRACE, **more: Any) -> None:
    """Settings of both sources, until they are given others."""
    fixed = {"page_size": 1000, "bind_dn": READER, "password_file": "reader-password", "read_timeout": "60s"}
    usual = {"max_removals": '"100%"', "urls": f'"{site.branch.slapd.url}"', "path": "queues.toml"}
    site.configure(**(fixed | usual | {"guard": guard, "lifecycle": lifecycle} | more))


# F2: so many and no more


def test_one_more_than_the_limit_holds_all_of_them_and_nothing_else(records: Records) -> None:
    """Of 200 with a limit of 5 %: 11 who are gone stay and are listed, with additions and changes applied; 10 leave."""
    records.flat(range(200))
    given(records.site, max_removals='"5%"')
    ids = {records.name(n): str(records.contact(n)["id"]) for n in range(11)}
    records.remove(*range(11))
    records.add(300, 301)
    records.change(50, 51, 52, to="new")

    report = records.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 11)
    assert (report.counts.added, report.counts.changed) == (2, 3)
    assert (report.counts.missing, report.counts.removed, report.left_active) == (0, 0, 0)
    assert records.served() == records.names([*range(200), 300, 301])
    assert [records.contact(n)[records.column] for n in (50, 51, 52)] == ["new"] * 3
    held = records.held()
    assert {row["name"]: row["item"] for row in held} == ids
    assert {row["source_key"] for row in held} == {records.key(n) for n in range(11)}
    assert {(row["run_id"], row["code"]) for row in held} == {(report.run, "volume")}
    assert all("11 of 200 contacts would leave, at most 10 may" in row["reason"] for row in held)
    stored = records.site.rows("SELECT * FROM run WHERE id = %s", report.run)[0]
    assert (stored["outcome"], stored["held"], stored["complete"], stored["settled"]) == ("held", 11, True, False)

    records.add(10)
    report = records.run()

    assert (report.outcome, report.counts.removed, report.held) == (Outcome.COMPLETED, 10, 0)
    assert records.served() == records.names([*range(10, 200), 300, 301])
    assert records.held() == []


def test_a_small_source_may_lose_a_few(records: Records) -> None:
    """Of fewer than min_population a share says nothing: three may go, four may not."""
    records.flat(range(12))
    given(records.site, max_removals='"5%"')
    records.remove(0, 1, 2, 3)
    assert records.run().held == 4
    records.add(3)
    assert records.run().counts.removed == 3


def test_held_again_keeps_since_when(records: Records) -> None:
    """The list of the next run replaces the last one; who was on it keeps the time from which they were held."""
    records.flat(range(10))
    given(records.site, max_removals=1)
    records.remove(0, 1)
    first = records.run()
    before = {row["name"]: row["since"] for row in records.held()}
    records.remove(2)

    second = records.run()

    after = records.held()
    assert {row["run_id"] for row in after} == {second.run}
    assert first.run != second.run
    assert {row["name"]: row["since"] for row in after if row["name"] in before} == before
    assert len(after) == 3


# N15: slowly


def test_forty_runs_of_one_per_cent_are_held_at_the_windows(records: Records) -> None:
    """Ten leave in a day, fifteen in a week, however many runs it takes; nobody after that."""
    records.flat(range(100))
    windows = 'max_removals_day = "10%"\nmax_removals_week = "15%"\n'
    given(records.site, guard=windows)
    said = []
    for n in range(40):
        if n == 20:
            records.add(*range(10, 20))
            assert records.run().outcome is Outcome.COMPLETED
            records.shift(timedelta(hours=25))
        records.remove(n)
        report = records.run()
        said.append(report.why if report.held else report.counts.removed)

    assert said[:10] + said[20:25] == [1] * 15
    assert all("10 have left already, at most 10 may in 24 hours (max_removals_day" in str(why) for why in said[10:20])
    assert all("15 have left already, at most 15 may in 7 days (max_removals_week" in str(why) for why in said[25:])
    assert records.served() == records.names([*range(10, 20), *range(25, 100)])
    assert records.held_names() == records.names(range(25, 40))


def test_what_a_person_approved_does_not_fill_the_window(records: Records) -> None:
    """Ten approved ones, and four more leave the same day as if the ten had never been."""
    records.flat(range(100))
    given(records.site, guard='max_removals_day = "10%"\nmax_removals_week = "100%"\n')
    records.remove(*range(5))
    assert records.run().counts.removed == 5
    records.remove(*range(5, 15))
    held = records.run()
    records.approve(held.run)
    released = records.run()
    assert (released.counts.removed, released.left_active) == (10, 0)
    records.remove(*range(15, 19))

    report = records.run()

    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 4)


# N2: the scope of the read


class Narrowing:
    """A change of settings that leaves the records 0, 1 and 2 out."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def prepare(self) -> None:
        """Before the first run."""

    def narrow(self) -> dict[str, Any]:
        raise NotImplementedError

    def named(self) -> str:
        """The cause, as it must be told."""
        raise NotImplementedError


class ByFilter(Narrowing):
    text = "(&(objectClass=inetOrgPerson)(!(sn=000))(!(sn=001))(!(sn=002)))"

    def narrow(self) -> dict[str, Any]:
        return {"ldap": f'filter = "{self.text}"'}

    def named(self) -> str:
        return f'filter changed from "(objectClass=inetOrgPerson)" to "{self.text}"'


class ByBase(Narrowing):
    def prepare(self) -> None:
        self.unit = self.records.site.branch.unit(f"ou=inner,{self.records.site.branch.base}")
        for n in range(3, 20):
            self.records.site.branch.rename(f"uid=u{n},{self.records.site.branch.base}", f"uid=u{n}", self.unit)

    def narrow(self) -> dict[str, Any]:
        return {"base": self.unit}

    def named(self) -> str:
        return f'base changed from "{self.records.site.branch.base}" to "{self.unit}"'


class ByScope(Narrowing):
    def prepare(self) -> None:
        unit = self.records.site.branch.unit(f"ou=inner,{self.records.site.branch.base}")
        for n in range(3):
            self.records.site.branch.rename(f"uid=u{n},{self.records.site.branch.base}", f"uid=u{n}", unit)

    def narrow(self) -> dict[str, Any]:
        return {"ldap": 'scope = "onelevel"'}

    def named(self) -> str:
        return 'scope changed from "subtree" to "onelevel"'


class ByIdentity(Narrowing):
    def prepare(self) -> None:
        given(self.records.site, bind_dn=Slapd.root_dn, password_file="ldap-password")
        self.records.site.branch.hide("filter=(|(sn=000)(sn=001)(sn=002))")

    def narrow(self) -> dict[str, Any]:
        return {"bind_dn": READER, "password_file": "reader-password"}

    def named(self) -> str:
        return f'identity changed from "{Slapd.root_dn}" to "{READER}"'


class ByPath(Narrowing):
    def narrow(self) -> dict[str, Any]:
        text = (self.records.site.folder / "queues.toml").read_text().split("\n\n")
        (self.records.site.folder / "other.toml").write_text("\n\n".join(text[3:]))
        return {"path": "other.toml"}

    def named(self) -> str:
        folder = self.records.site.folder
        return f'path changed from "{folder}/queues.toml" to "{folder}/other.toml"'


NARROWINGS = [(People, ByFilter), (People, ByBase), (People, ByScope), (People, ByIdentity), (Queues, ByPath)]


@pytest.mark.parametrize(("kind", "narrowing"), NARROWINGS)
def test_three_who_a_change_of_settings_leaves_out_stay(
    site: Premises, kind: type[Records], narrowing: type[Narrowing]
) -> None:
    """Under any limit they are held, with the change named; set back, the list empties by itself."""
    given(site)
    records = kind(site)
    records.add(*range(20))
    change = narrowing(records)
    change.prepare()
    assert records.run().counts.added == 20
    before = dict(site.options)
    site.configure(**change.narrow())

    for _ in range(2):
        report = records.run()
        assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 3, 0)
        assert change.named() in report.why
        assert {row["code"] for row in records.held()} == {"scope"}
        assert records.held_names() == records.names(range(3))
    assert records.served() == records.names(range(20))

    site.options = before
    site.configure()
    back = records.run()

    assert (back.outcome, back.why, back.held) == (Outcome.COMPLETED, "", 0)
    assert records.held() == []
    assert records.served() == records.names(range(20))


@pytest.mark.parametrize(
    ("kind", "rule"), [(People, 'name = "cn"'), (Queues, 'name = "name"\nphoneNumber = "phoneNumber"')]
)
def test_departures_that_come_with_another_map_are_held(site: Premises, kind: type[Records], rule: str) -> None:
    """One removal together with a change of the map: held, each changed member named, changes applied."""
    given(site)
    records = kind(site)
    records.add(*range(10))
    records.change(1, to="old")
    records.run()
    records.remove(0)
    site.configure(ldap=f"[source.map]\n{rule}", file=f"[source.map]\n{rule}")

    report = records.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert f'map.{records.member} changed from "' in report.why
    assert records.contact(1)[records.column] is None


@pytest.mark.parametrize(("kind", "narrowing"), [(People, ByFilter), (Queues, ByPath)])
def test_whoever_leaves_while_a_change_of_settings_is_not_approved_is_held_too(
    site: Premises, kind: type[Records], narrowing: type[Narrowing]
) -> None:
    """Until somebody has looked, nobody can tell them apart; one approval then releases all and settles the change."""
    given(site)
    records = kind(site)
    records.flat(range(20))
    change = narrowing(records)
    site.configure(**change.narrow())
    assert records.run().held == 3
    if narrowing is ByPath:  # the other file is another file
        text = (site.folder / "other.toml").read_text().split("\n\n")
        (site.folder / "other.toml").write_text("\n\n".join(text[1:]))
    else:
        records.remove(3)

    report = records.run()
    assert records.held_names() == records.names(range(4))
    records.approve(report.run)
    released = records.run()

    assert (released.outcome, released.counts.removed, released.held) == (Outcome.COMPLETED, 4, 0)
    after = records.run()
    assert (after.outcome, after.why) == (Outcome.COMPLETED, "")


@pytest.mark.parametrize(("kind", "narrowing"), [(People, ByFilter), (Queues, ByPath)])
def test_a_change_of_settings_without_departures_is_taken_over(
    site: Premises, kind: type[Records], narrowing: type[Narrowing]
) -> None:
    """Nobody is left out by it, so the next removal is an ordinary one."""
    given(site)
    records = kind(site)
    records.flat(range(3, 20))
    settings = narrowing(records).narrow()
    if kind is Queues:
        (site.folder / "other.toml").write_text((site.folder / "queues.toml").read_text())
    site.configure(**settings)
    first = records.run()
    records.remove(3)
    if kind is Queues:
        (site.folder / "other.toml").write_text((site.folder / "queues.toml").read_text())

    report = records.run()

    assert (first.outcome, first.why) == (Outcome.COMPLETED, "")
    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 1)


# N3: an attribute that vanishes


def lose(records: Records, numbers: Sequence[int], *, by: str) -> None:
    """Take the phone numbers from these entries: by an access rule, or from the source itself."""
    if by == "access":
        records.site.branch.hide("attrs=telephoneNumber")
    else:
        records.call(*numbers, phone=lambda _: None)


def give_back(records: Records, numbers: Sequence[int], *, by: str) -> None:
    if by == "access":
        records.site.branch.show()
    else:
        records.call(*numbers, phone=lambda n: f"+1 555 {n:03}")


LOSSES = [(People, "access"), (People, "deletion"), (Queues, "deletion")]


@pytest.mark.parametrize(("kind", "by"), LOSSES)
def test_an_attribute_that_vanishes_clears_no_number(site: Premises, kind: type[Records], by: str) -> None:
    """Held run after run, named in the alert, with the other changes of the same entries applied; it mends itself."""
    given(site)
    records = kind(site)
    records.flat(range(30))
    before = records.phones()
    lose(records, range(30), by=by)
    records.change(1, 2, 3, to="new")
    records.add(40)
    records.remove(5)

    first = records.run()

    assert (first.outcome, first.attributes) == (Outcome.HELD, (records.attribute,))
    assert (first.counts.added, first.counts.changed, first.counts.removed, first.held) == (1, 3, 1, 0)
    assert f"the attribute {records.attribute} is gone from 29 of the 30 entries that had it" in first.why
    after = records.phones()
    assert {name: phones for name, phones in after.items() if name in before} == {
        name: phones for name, phones in before.items() if name != records.name(5)
    }
    assert [records.contact(n)[records.column] for n in (1, 2, 3)] == ["new"] * 3
    assert [(row["item"], row["code"], row["run_id"]) for row in records.held()] == [
        (f"attribute {records.attribute}", "attribute", first.run)
    ]
    assert records.attribute in records.held()[0]["reason"]
    assert all("phoneNumbers" not in row["old"] for row in records.log(first.run) if row["kind"] == "change")

    second = records.run()

    assert (second.outcome, second.attributes, second.revision) == (Outcome.HELD, (records.attribute,), None)
    assert second.counts.changed == 0
    assert records.phones() == after

    give_back(records, [n for n in range(30) if n != 5], by=by)
    third = records.run()

    assert (third.outcome, third.why, records.held()) == (Outcome.COMPLETED, "", [])
    assert {name: phones for name, phones in records.phones().items() if name in before} == {
        name: phones for name, phones in before.items() if name != records.name(5)
    }
    assert digests(records) == len(records.served())
    frozen = records.frozen()
    assert records.run().outcome is Outcome.COMPLETED
    assert records.frozen() == frozen


def digests(records: Records) -> int:
    """How many active contacts are recognised by the next run."""
    query = "SELECT count(digest) AS n FROM contact WHERE source = %s AND state = 'active'"
    return int(records.site.rows(query, records.source)[0]["n"])


@pytest.mark.parametrize(("kind", "by"), LOSSES)
def test_a_loss_that_a_person_approves_is_applied(site: Premises, kind: type[Records], by: str) -> None:
    """Released once, by the run: the numbers are gone, and the list is empty."""
    given(site)
    records = kind(site)
    records.flat(range(25))
    lose(records, range(25), by=by)
    records.approve(records.run().run)

    report = records.run()

    assert (report.outcome, report.counts.changed, records.held()) == (Outcome.COMPLETED, 25, [])
    assert set(map(tuple, records.phones().values())) == {()}
    assert records.approval()["used_by"] == report.run
    assert digests(records) == 25
    assert (records.run().revision, records.run().why) == (None, "")


def test_a_few_that_lose_an_attribute_are_an_ordinary_change(records: Records) -> None:
    """Up to the share it is what happens every day: their numbers are cleared."""
    records.flat(range(30))
    records.call(*range(6), phone=lambda _: None)

    report = records.run()

    assert (report.outcome, report.counts.changed, report.attributes) == (Outcome.COMPLETED, 6, ())
    assert [records.phones()[records.name(n)] for n in (0, 5, 6)] == [[], [], ["+1 555 006"]]


def test_removals_and_a_lost_attribute_are_held_together_and_released_together(records: Records) -> None:
    """One list with both kinds of items; one word releases it."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.call(*range(3, 30), phone=lambda _: None)

    report = records.run()
    assert (report.outcome, report.held, report.attributes) == (Outcome.HELD, 3, (records.attribute,))
    assert {row["code"] for row in records.held()} == {"volume", "attribute"}
    records.approve(report.run)
    released = records.run()

    assert (released.outcome, released.counts.removed, released.counts.changed) == (Outcome.COMPLETED, 3, 27)
    assert records.held() == []


def test_who_comes_back_while_an_attribute_is_lost_keeps_what_it_gave(records: Records) -> None:
    """Missing, and back in the very run in which the numbers vanish: the number is not cleared either."""
    given(records.site, lifecycle=GRACE)
    records.flat(range(25))
    records.remove(0)
    assert records.run().counts.missing == 1
    records.add(0)
    records.call(*range(25), phone=lambda _: None)

    report = records.run()

    assert (report.outcome, report.attributes, report.counts.added) == (Outcome.HELD, (records.attribute,), 1)
    assert records.phones()[records.name(0)] == ["+1 555 000"]
    assert all(records.phones().values())


def test_a_map_that_names_what_nobody_has_clears_no_number(records: Records) -> None:
    """A wrong word in the settings is no reason to empty a member; the other changes come; the right word mends it."""
    records.flat(range(30))
    before = records.phones()
    kind, number, rest = {
        "User": ("ldap", "telephoneNumber", 'name = ["{givenName} {sn}", "cn"]\nemailAddress = "mail"'),
        "Queue": ("file", "phoneNumber", 'name = "name"\nchannel = "channel"'),
    }[records.type]

    given(records.site, **{kind: f'[source.map]\n{rest}\nphoneNumber = "pager"\n'})
    records.change(1, 2, to="new")
    first = records.run()

    assert (first.outcome, "member phoneNumber" in first.attributes) == (Outcome.HELD, True)
    assert "the member phoneNumber is gone from 30 of the 30 entries that had it" in first.why
    assert "names what nobody has" in first.why
    assert records.phones() == before
    assert [records.contact(n)[records.column] for n in (1, 2)] == ["new"] * 2
    assert ("attribute member phoneNumber", "attribute") in {(row["item"], row["code"]) for row in records.held()}
    assert records.run().outcome is Outcome.HELD
    assert records.phones() == before

    given(records.site, **{kind: f'[source.map]\n{rest}\nphoneNumber = ["pager", "{number}"]\n'})
    records.run()

    assert records.phones() == before
    assert "attribute member phoneNumber" not in {row["item"] for row in records.held()}


def consistent(row: dict[str, Any], type_: Type) -> bool:
    """Whether what is searched, sorted and dialled by is what the members of this row make."""
    numbers = tuple(Number(n["phoneNumber"], n.get("description", "")) for n in row["numbers"])
    lists = {name: tuple(row[name]) for name in ("roles", "business_units")}
    rest = {name: row[name] for name in Contact._fields if name not in {"numbers", *lists}}
    made = index(type_, Contact(numbers=numbers, **lists, **rest))
    stored = (
        row["name_folded"],
        row["first_name_folded"],
        row["last_name_folded"],
        row["search"],
        tuple(row["dialled"]),
        tuple(row["tails"]),
    )
    return tuple(made) == stored


def test_members_that_a_template_or_a_list_makes_of_a_lost_attribute_are_kept(people: People) -> None:
    """Names of a hidden sn stay, both numbers stay when one of two attributes is hidden, and they can be searched."""
    people.flat(range(25))
    for n in range(25):
        people.branch.change(people.dn(n), mobile=f"+49 {n}")
    people.run()
    before = {name: {k: v for k, v in row.items() if k != "user_name"} for name, row in people.site.contacts().items()}
    people.branch.hide("attrs=sn,telephoneNumber")
    for n in range(3):
        people.branch.rename(people.dn(n), f"uid=r{n}")

    report = people.run()

    after = people.site.contacts()
    assert (report.outcome, report.attributes) == (Outcome.HELD, ("sn", "telephonenumber"))
    assert report.counts.changed == 3
    assert set(after) == set(before)
    for name, row in after.items():
        assert (row["last_name"], row["numbers"]) == (before[name]["last_name"], before[name]["numbers"])
        assert len(row["numbers"]) == 2
    assert [after[people.name(n)]["user_name"] for n in (0, 1, 2, 3)] == ["r0", "r1", "r2", "u3"]
    rows = people.site.rows("SELECT * FROM contact_user")
    assert all(consistent(row, "User") for row in rows)
    assert people.site.rows("SELECT name FROM contact_user WHERE search LIKE '%%\nr0\n%%'") == [{"name": "P 000"}]


# N4: the second look


def test_who_moved_out_of_the_base_leaves_with_the_place_as_the_reason(people: People) -> None:
    """They are there, but not where the source looks: out of scope is a reason of its own, in plan and change log."""
    people.flat(range(10))
    former = people.branch.connection
    unit = f"ou=former{uuid.uuid4().hex},{environment.ROOT}"
    former.add(unit, "organizationalUnit")
    people.branch.rename(people.dn(3), "uid=u3", unit)
    people.remove(4)

    report = people.run()

    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 2)
    reasons = {row["source_key"]: row["reason"] for row in people.log(report.run)}
    assert reasons == {people.key(3): f"out of scope, found at uid=u3,{unit}", people.key(4): None}
    former.delete(f"uid=u3,{unit}")
    former.delete(unit)


@pytest.fixture(scope="module")
def replica(server_folder: Path) -> Iterator[Slapd]:
    """A second server of the same directory."""
    server = Slapd(server_folder / "guarding-replica", extra=environment.LIMITS)
    server.create(environment.LDIF)
    server.start()
    yield server
    server.stop()


def second_branch(site: Premises, replica: Slapd) -> Branch:
    """The same branch on the replica: same DN, same entryUUID."""
    here = site.branch
    here.connection.search(here.base, "(objectClass=*)", ldap3.BASE, attributes=["entryUUID"])
    key = here.connection.response[0]["attributes"]["entryUUID"]
    there = Branch(replica)
    there.remove(there.base)
    there.base = here.base
    values = {"entryUUID": key[0] if isinstance(key, list) else key}
    there.connection.add(there.base, "organizationalUnit", values, controls=RELAX)
    return there


@pytest.mark.parametrize("other", ["answers", "is down"])
def test_ten_that_one_replica_lacks_stay(people: People, replica: Slapd, other: str) -> None:
    """The second server has them: present. It is down: unverified. In neither case is anybody removed."""
    site = people.site
    there = People(site, second_branch(site, replica))
    people.add(*range(40))
    there.add(*range(40))
    people.run()
    people.remove(*range(10))  # the replica that is read lags, and one has left for good
    people.remove(20)
    there.remove(20)
    second = replica.url if other == "answers" else f"ldap://127.0.0.1:{dead_port()}"
    given(site, urls=f'"{site.branch.slapd.url}", "{second}"')

    report = people.run()

    assert report.evidence is not None
    assert report.evidence.server == site.branch.slapd.url
    expected = list(range(10)) if other == "answers" else [*range(10), 20]
    assert (report.outcome, report.held) == (Outcome.HELD, len(expected))
    assert people.held_names() == people.names(expected)
    assert {row["code"] for row in people.held()} == {"present" if other == "answers" else "unverified"}
    assert people.served() == people.names(set(range(40)) - {20} | set(expected))
    assert (report.counts.removed, report.settled) == (40 - len(people.served()), True)
    assert all(replica.url in row["reason"] for row in people.held()) == (other == "answers")
    there.branch.close()


class Returning:
    """A source in which everything is there again by the time it is asked a second time, or which is gone by then."""

    def __init__(self, source: Source, between: Callable[[], None]) -> None:
        self._source = source
        self._between = between

    def attempts(self) -> Iterator[Attempt]:
        return self._source.attempts()

    def look(self, keys: Sequence[str], evidence: Evidence) -> Sequence[Sighting]:
        self._between()
        return self._source.look(keys, evidence)

    def search(self, text: str, keys: Sequence[str]) -> Search:
        return self._source.search(text, keys)


def run_with(records: Records, between: Callable[[], None]) -> Report:
    """A run during which something happens between the read and the second look."""
    settings = records.site.settings
    source = settings.named(records.source)
    job = use_cases.job(source)
    with open_writer(open_engine(settings.database, Role.SYNC), source.name, source.type) as writer:
        return synchronize(replace(job, source=Returning(job.source, between)), writer)


@pytest.mark.parametrize("grace", [NO_GRACE, GRACE])
def test_who_is_there_when_asked_for_stays(records: Records, grace: str) -> None:
    """The read missed three of whom two are found a moment later: one leaves, two are held as present."""
    given(records.site, lifecycle=grace)
    records.flat(range(10))
    records.remove(0, 1, 2)

    report = run_with(records, lambda: records.add(0, 1))

    assert (report.outcome, report.held, report.counts.leaving) == (Outcome.HELD, 2, 1)
    assert [(row["name"], row["code"]) for row in records.held()] == [
        (records.name(0), "present"), (records.name(1), "present"),
    ]  # fmt: skip
    assert records.states(0, 1, 2) == ["active", "active", "removed" if grace == NO_GRACE else "missing"]
    again = records.run()
    assert (again.outcome, records.held()) == (Outcome.COMPLETED, [])


def test_who_is_there_at_the_end_of_the_grace_stays_missing(records: Records) -> None:
    """Before a missing contact is removed it is asked for once more, and an answer keeps it."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(10))
    records.remove(0)
    records.run()
    records.shift(2 * HOUR)

    report = run_with(records, lambda: records.add(0))

    assert (report.outcome, report.held, records.states(0)) == (Outcome.HELD, 1, ["missing"])
    assert (records.run().counts.added, records.states(0)) == (1, ["active"])


def test_nobody_leaves_while_the_source_cannot_be_asked(records: Records) -> None:
    """It went away between the read and the question: unverified, and everybody stays."""
    records.flat(range(10))
    records.remove(0, 1)
    if isinstance(records, People):
        between = lambda: records.site.branch.hide("attrs=entry")  # noqa: E731 - nothing is found, not even the base
    else:
        between = (records.site.folder / "queues.toml").unlink

    report = run_with(records, between)

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 2, 0)
    assert {row["code"] for row in records.held()} == {"unverified"}
    assert records.served() == records.names(range(10))


# F5: missing, removed, back


@pytest.mark.parametrize("shown", [True, False])
def test_a_grace_needs_its_time_and_its_runs(records: Records, shown: bool) -> None:
    """Three runs within the hour remove nobody, nor do two runs after it; missing is shown or hidden as set."""
    missing = f'missing = "{"show" if shown else "hide"}"\n'
    given(records.site, lifecycle=GRACE + missing)
    records.flat(range(10))
    records.remove(0, 1)

    first = records.run()
    assert (first.outcome, first.counts.missing, first.counts.removed) == (Outcome.COMPLETED, 2, 0)
    assert records.served() == records.names(range(0 if shown else 2, 10))
    for _ in range(3):
        assert records.run().counts.removed == 0
    assert records.states(0, 1) == ["missing", "missing"]
    records.remove(2)
    records.run()
    records.shift(2 * HOUR)

    second = records.run()

    assert (second.counts.removed, records.states(0, 1, 2)) == (2, ["removed", "removed", "missing"])
    third = records.run()
    assert (third.counts.removed, records.states(2)) == (1, ["removed"])
    assert records.served() == records.names(range(3, 10))
    assert records.history(0) == ["add", "miss", "remove"]


def test_a_grace_of_runs_alone_and_of_time_alone(records: Records) -> None:
    """With no time the second run removes; with one run the hour does."""
    given(records.site, lifecycle='grace = "0s"\ngrace_runs = 2\n')
    records.flat(range(10))
    records.remove(0)
    assert records.run().counts.missing == 1
    assert records.run().counts.removed == 1
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.remove(1)
    assert records.run().counts.missing == 1
    assert records.run().counts.removed == 0
    records.shift(2 * HOUR)
    assert records.run().counts.removed == 1


def test_runs_that_prove_nothing_count_for_no_grace(records: Records) -> None:
    """Two incomplete runs and two that hold all removals: after each of them the missing one is as far as before."""
    given(records.site, lifecycle=GRACE, max_removals=3)
    records.flat(range(10))
    records.remove(0)
    records.run()
    records.shift(2 * HOUR)
    for _ in range(2):
        given(records.site, lifecycle=GRACE, max_removals=3, **records.breaking())
        assert records.run().outcome is Outcome.INCOMPLETE
    given(records.site, lifecycle=GRACE, max_removals=3)
    records.remove(1, 2, 3, 4)
    for _ in range(3):
        held = records.run()
        assert (held.outcome, held.held, held.settled) == (Outcome.HELD, 4, False)
        assert records.states(0) == ["missing"]
    records.add(1, 2, 3, 4)

    assert (records.run().counts.removed, records.states(0)) == (0, ["missing"])  # the second that counts
    assert (records.run().counts.removed, records.states(0)) == (1, ["removed"])


def test_who_comes_back_has_the_old_id_and_its_history(records: Records) -> None:
    """While missing, and again after the removal: the same contact, and the log tells the whole story."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(5))
    born = records.contact(0)["id"]
    records.remove(0)
    gone = records.run()
    assert records.contact(0)["gone_run"] == gone.run
    records.add(0)
    back = records.run()
    assert (back.counts.added, records.contact(0)["gone_run"]) == (1, None)
    records.remove(0)
    records.run()
    records.shift(2 * HOUR)
    assert records.run().counts.removed == 1
    assert records.contact(0)["served"] is False
    records.add(0)

    assert records.run().counts.added == 1
    row = records.contact(0)
    assert (row["id"], row["state"], row["served"]) == (born, "active", True)
    assert records.history(0) == ["add", "miss", "return", "miss", "remove", "return"]


@pytest.mark.parametrize("state", ["missing", "removed"])
@pytest.mark.parametrize("witness", ["nothing", "an incomplete run", "no such run"])
def test_postgresql_refuses_an_absence_without_a_complete_run(records: Records, state: str, witness: str) -> None:
    """Whatever the code does: the sync's own role cannot call anybody gone without the number of a complete run."""
    records.flat(range(2))
    given(records.site, **records.breaking())
    incomplete = records.run()
    number = {"nothing": None, "an incomplete run": incomplete.run, "no such run": 10_000}[witness]
    table = "contact_user" if records.type == "User" else "contact_queue"
    with psycopg.connect(records.site.database_url, options="-c role=syncd_sync") as connection:
        refused = psycopg.errors.CheckViolation if number is None else psycopg.errors.ForeignKeyViolation
        with pytest.raises(refused):
            connection.execute(f"UPDATE {table} SET state = %s, gone_run = %s", (state, number))
        connection.rollback()
        connection.execute(f"UPDATE {table} SET state = %s, gone_run = (SELECT id FROM run WHERE complete)", (state,))
        with pytest.raises(psycopg.errors.ForeignKeyViolation):  # nor can the witness be taken away
            connection.execute("DELETE FROM run WHERE complete")


# N8: sentinels


def member_of(records: Records, n: int) -> str:
    """A sentinel by the number of a record, as an operator may write it."""
    return f'phoneNumber = "(+1) 555-{n:03}"'


SENTINELS: dict[str, Callable[[Records, int], str]] = {
    "name": lambda records, n: f'name = "{records.name(n)}"',
    "number": member_of,
    "two members": lambda records, n: f'name = "{records.name(n)}", phoneNumber = "+1555{n:03}"',
}


@pytest.mark.parametrize("by", SENTINELS)
def test_without_its_sentinel_a_read_is_not_believed(records: Records, by: str) -> None:
    """With it everything is applied; without it nothing is, not even additions, and the run names it."""
    sentinel = SENTINELS[by](records, 7)
    given(records.site, guard=f"{OPEN}sentinel = [{{ {sentinel} }}]\n")
    records.flat(range(10))
    records.remove(0)
    assert records.run().counts.removed == 1
    records.remove(7)
    records.add(20)
    frozen = records.frozen()

    report = records.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert report.why.startswith(f"the sentinel {sentinel} is not there, so the read is not believed")
    assert records.frozen() == frozen
    records.add(7)
    assert records.run().counts.added == 1


def test_a_minimum_of_contacts_must_be_there(records: Records) -> None:
    """Eight of ten: one more is missing and the read is not believed; and a first read of too few is not either."""
    given(records.site, guard=f"{OPEN}sentinel = [{{ at_least = 8 }}]\n")
    records.add(*range(7))
    first = records.run()
    assert first.outcome is Outcome.INCOMPLETE
    assert "count of contacts was found 7 times, not 8" in first.why
    records.flat(range(7, 10))
    records.remove(0, 1)
    assert records.run().counts.removed == 2
    records.remove(2)
    assert "count of contacts was found 7 times, not 8" in records.run().why


def test_a_sentinel_by_role_and_minimum(people: People) -> None:
    """At least two night guards, whoever they are, among the roles of a list."""
    given(people.site, ldap='[source.map]\nname = "cn"\nroles = "title"\n')
    sentinel = 'sentinel = [{ roles = "guard", at_least = 2 }]\n[source.lifecycle]'  # only here: queues have no roles
    people.site.file.write_text(people.site.file.read_text().replace("[source.lifecycle]", sentinel, 1))
    people.add(*range(6))
    for n in range(3):
        people.branch.change(people.dn(n), title=["guard", "cook"])
    people.run()
    people.remove(0)
    assert people.run().counts.removed == 1
    people.remove(1)

    report = people.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert 'the sentinel roles = "guard" was found 1 times, not 2' in report.why


def test_a_sentinel_whose_record_is_bad_is_there(records: Records) -> None:
    """Its good row stays, so it is among the contacts."""
    given(records.site, guard=f'{OPEN}sentinel = [{{ name = "{records.name(1)}" }}]\n')
    records.flat(range(10))
    records.spoil(1)

    report = records.run()

    assert (report.outcome, report.counts.rejected) == (Outcome.COMPLETED, 1)


# F12: quarantine


def quarantine(records: Records) -> list[dict[str, Any]]:
    return records.site.rows("SELECT * FROM reject WHERE source = %s ORDER BY source_key", records.source)


def test_one_bad_record_of_many_is_set_aside(records: Records) -> None:
    """The others are applied, it is listed with reason and values and keeps its row; mended it leaves the list."""
    records.flat(range(30))
    records.change(7, to="old")
    records.run()
    before = records.contact(7)
    records.spoil(7)
    records.change(8, to="new")
    records.remove(9)

    report = records.run()

    assert (report.outcome, report.counts.changed, report.counts.removed) == (Outcome.COMPLETED, 1, 1)
    assert report.counts.rejected == 1
    assert [reject.key for reject in report.fresh_rejects] == [records.key(7)]
    (row,) = quarantine(records)
    assert (row["source_key"], row["run_id"]) == (records.key(7), report.run)
    assert "300 characters" in row["reason"]
    assert ["x" * 300] in row["record"].values()
    assert records.contact(7) == before

    records.mend(7)
    records.change(7, to="mended")
    mended = records.run()

    assert (mended.counts.changed, mended.counts.rejected, quarantine(records)) == (1, 0, [])
    assert records.contact(7)[records.column] == "mended"


def test_too_many_bad_records_make_the_read_incomplete(records: Records) -> None:
    """Seven of thirty: no contact is written, but the list of them is, with what to do."""
    records.flat(range(30))
    records.spoil(*range(7))
    records.change(8, to="new")
    records.remove(9)
    rows = [row for row in records.frozen() if row["of"] != "reject"]

    report = records.run()

    assert report.outcome is Outcome.INCOMPLETE
    assert "7 of 29 records cannot be mapped, at most 5 may be" in report.why
    assert [row["source_key"] for row in quarantine(records)] == [records.key(n) for n in sorted(
        range(7), key=records.key)]  # fmt: skip
    assert [row for row in records.frozen() if row["of"] != "reject"] == rows


@pytest.mark.parametrize("many", [False, True])
def test_keys_that_repeat_are_listed_and_their_rows_stay(people: People, many: bool) -> None:
    """One key of two entries: neither is believed; too many of them and nothing is, and the list names each."""
    given(people.site, ldap='key = "employeeNumber"')
    for n in range(20):
        people.add(n)
        people.branch.change(people.dn(n), employeeNumber=str(n))
    assert people.run().counts.added == 20
    twins = range(100, 110 if many else 101)
    for n in twins:
        people.add(n)
        people.branch.change(people.dn(n), employeeNumber=str(n - 100))
    people.remove(19)

    report = people.run()

    assert people.served() == people.names(range(20))
    listed = people.site.rows("SELECT DISTINCT source_key, reason FROM reject ORDER BY source_key")
    assert [row["source_key"] for row in listed] == sorted(str(n - 100) for n in twins)
    assert all("appears more than once" in row["reason"] for row in listed)
    assert report.outcome is (Outcome.INCOMPLETE if many else Outcome.HELD)
    assert [row["code"] for row in people.held()] == ([] if many else ["doubled"])
    people.remove(*twins)
    mended = people.run()
    assert (mended.outcome, mended.counts.removed, people.served()) == (Outcome.COMPLETED, 1, people.names(range(19)))


def test_whose_key_is_overwritten_stays(people: People) -> None:
    """Both people are there under one key: neither is believed, and the one whose key is gone is not removed."""
    given(people.site, ldap='key = "employeeNumber"')
    people.add(*range(5))
    for n in range(5):
        people.branch.change(people.dn(n), employeeNumber=str(n))
    people.run()
    before = people.site.contacts()
    people.branch.change(people.dn(1), employeeNumber="2")

    report = people.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert people.held_names() == {people.name(1)}
    assert people.site.contacts() == before


def test_a_bad_record_does_not_bring_back_who_is_missing_nor_removes_them(records: Records) -> None:
    """It is there, though nobody can say as what: the missing contact stays missing beyond its grace."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(30))
    records.remove(0)
    records.run()
    records.shift(2 * HOUR)
    records.add(0)
    records.spoil(0)

    report = records.run()

    assert (report.outcome, report.counts.removed, records.states(0)) == (Outcome.COMPLETED, 0, ["missing"])


# approval


def test_an_approval_releases_its_list_once(records: Records) -> None:
    """The next run removes exactly what was held, says who approved it, and the word is used up."""
    records.flat(range(30))
    given(records.site, max_removals=2, lifecycle='grace = "24h"\ngrace_runs = 3\n')
    records.remove(0, 1, 2)
    held = records.run()
    records.approve(held.run)

    report = records.run()

    assert (report.outcome, report.counts.removed, report.approved) == (Outcome.COMPLETED, 3, held.run)
    assert records.states(0, 1, 2) == ["removed"] * 3  # the grace was for doubt
    assert "approved by ann" in report.why
    assert {row["reason"] for row in records.log(report.run)} == {"approved by ann"}
    assert (records.approval()["used_by"], records.approval()["void"]) == (report.run, None)
    assert (records.held(), report.settled, report.left_active) == ([], True, 0)

    records.add(0, 1, 2)
    assert records.run().counts.added == 3
    records.remove(0, 1, 2)
    again = records.run()
    assert (again.outcome, again.held, again.approved) == (Outcome.HELD, 3, None)


def test_an_approval_of_another_list_is_void(records: Records) -> None:
    """One more has left since: nobody is released, and the run says so; a new word is needed."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    records.remove(3)

    report = records.run()

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 4, 0)
    assert "3 removals were approved, now 4 are held" in report.why
    assert "3 removals were approved" in records.approval()["void"]
    records.add(3)
    assert records.run().held == 3


def test_an_approval_that_is_not_needed_any_more_is_void(records: Records) -> None:
    """They are back: nothing is held, and the word does not wait for the next time."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    records.add(0, 1, 2)
    assert records.run().outcome is Outcome.COMPLETED
    assert "nothing is held any more" in records.approval()["void"]
    records.remove(0, 1, 2)

    assert records.run().held == 3


def test_an_expired_approval_releases_nobody(records: Records) -> None:
    """After its time the list is held as if nobody had said anything."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run, expires="-1 second")

    report = records.run()

    assert (report.outcome, report.held, records.approval()["used_by"]) == (Outcome.HELD, 3, None)


def test_an_approval_outlives_a_run_that_proves_nothing(records: Records) -> None:
    """The source was down in between: the list is the same, so the word still holds."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.approve(records.run().run)
    given(records.site, max_removals=2, **records.breaking())
    assert records.run().outcome is Outcome.INCOMPLETE
    given(records.site, max_removals=2)

    assert records.run().counts.removed == 3


def test_whom_a_person_keeps_stays_under_any_limit(records: Records) -> None:
    """Others leave, they do not; they are not counted among the leaving; back at the source, the word is forgotten."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1, 2)
    records.run()
    records.write("UPDATE held SET kept_by = 'ann', kept_at = now()")
    records.remove(3, 4)

    for removed in (2, 0):
        report = records.run()
        assert (report.outcome, report.counts.removed, report.counts.kept) == (Outcome.COMPLETED, removed, 3)
        assert "3 contacts stay because a person decided so" in report.why
    assert {(row["name"], row["kept_by"], row["code"]) for row in records.held()} == {
        (records.name(n), "ann", "kept") for n in range(3)
    }
    assert records.states(0, 1, 2, 3, 4) == ["active"] * 3 + ["removed"] * 2

    records.add(0, 1, 2)
    records.run()
    assert records.held() == []
    given(records.site, max_removals=3)
    records.remove(0, 1, 2)
    assert records.run().counts.removed == 3


# F7: the plan is bound


def planned(records: Records) -> tuple[Report, list[Change]]:
    """What `syncd plan` would write into its file."""
    found: list[tuple[Report, list[Change]]] = []
    use_cases.plan_source(
        records.site.settings, records.source, lambda report, changes: found.append((report, list(changes)))
    )
    return found[0]


def moved(records: Records) -> None:
    """Something of each kind to plan."""
    records.flat(range(30))
    given(records.site, max_removals=2)
    records.remove(0, 1)
    records.change(2, 3, to="new")
    records.add(40)


def applied(records: Records, changes: list[Change]) -> Report:
    return use_cases.apply_plan(records.site.settings, records.source, changes)


def test_a_plan_is_applied_as_it_was_shown(records: Records) -> None:
    """Row for row: what the plan listed is what the change log then says, and what the directory holds."""
    moved(records)
    before = records.site.fingerprint()
    report, changes = planned(records)
    assert records.site.fingerprint() == before
    assert report.counts.removed == 2

    done = applied(records, changes)

    assert done.outcome is Outcome.COMPLETED
    logged = {(row["kind"], row["source_key"]) for row in records.log(done.run)}
    assert logged == {(change.kind, change.key) for change in changes}
    for row in records.log(done.run):
        change = next(change for change in changes if (change.kind, change.key) == (row["kind"], row["source_key"]))
        differing = {m for m in change.old.keys() | change.new.keys() if change.old.get(m) != change.new.get(m)}
        assert row["old"] == {m: v for m, v in change.old.items() if m in differing}
        assert row["new"] == {m: v for m, v in change.new.items() if m in differing}
    assert records.run().revision is None


def test_a_plan_is_refused_when_the_source_has_moved(records: Records) -> None:
    """One entry changed since: the run fails, names it and the values, and writes nothing."""
    moved(records)
    _, changes = planned(records)
    records.change(2, to="newer")
    frozen = records.frozen()

    report = applied(records, changes)

    assert report.outcome is Outcome.FAILED
    assert records.name(2) in report.why
    assert "'new'" in report.why
    assert "'newer'" in report.why
    assert records.name(3) not in report.why
    assert records.frozen() == frozen


def test_a_plan_is_refused_when_the_directory_has_moved(records: Records) -> None:
    """A row of it changed in the database, or somebody else applied it: the run fails, names it, writes nothing."""
    moved(records)
    _, changes = planned(records)
    records.write(f"UPDATE contact SET {records.column} = 'odd' WHERE name = %s", records.name(3))
    frozen = records.frozen()
    report = applied(records, changes)
    assert (report.outcome, records.frozen()) == (Outcome.FAILED, frozen)
    assert records.name(3) in report.why
    assert "'odd'" in report.why

    records.run()
    frozen = records.frozen()
    report = applied(records, changes)

    assert (report.outcome, records.frozen()) == (Outcome.FAILED, frozen)
    assert "no longer due" in report.why


def test_a_plan_is_refused_when_the_guard_has_changed_its_mind(records: Records) -> None:
    """The same rows, but held since a limit was lowered, or released since somebody approved them."""
    moved(records)
    _, changes = planned(records)
    given(records.site, max_removals=1)
    report = applied(records, changes)
    assert report.outcome is Outcome.FAILED
    assert "remove is now held" in report.why

    _, changes = planned(records)
    held = records.run()
    records.approve(held.run)
    report = applied(records, changes)

    assert report.outcome is Outcome.FAILED
    assert records.approval()["used_by"] is None
    assert records.run().counts.removed == 2


# F19: the change log


def test_the_change_log_tells_each_change_once(records: Records) -> None:
    """Old and new values of what differs, numbers that equal the run's, revisions that only rise; none for nothing."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(10))
    records.remove(0)
    records.change(1, 2, to="new")
    records.add(20)
    second = records.run()
    idle = records.run()
    records.shift(2 * HOUR)
    records.change(1, to="newer")
    third = records.run()
    records.add(0)
    fourth = records.run()

    for report in (second, third, fourth):
        kinds = [row["kind"] for row in records.log(report.run)]
        counts = report.counts
        assert (kinds.count("add") + kinds.count("return"), kinds.count("change")) == (counts.added, counts.changed)
        assert (kinds.count("miss"), kinds.count("remove")) == (counts.missing, counts.removed)
        assert len({row["contact_id"] for row in records.log(report.run)}) == len(kinds)
        assert {row["revision"] for row in records.log(report.run)} == {report.revision}
    assert (records.log(idle.run), idle.revision) == ([], None)
    everything = records.site.rows("SELECT * FROM change ORDER BY id")
    assert [row["revision"] for row in everything] == sorted(row["revision"] for row in everything)
    assert all(row["caller"] is None for row in everything)

    changed = {row["source_key"]: row for row in records.log(second.run) if row["kind"] == "change"}
    assert set(changed) == {records.key(1), records.key(2)}
    assert (changed[records.key(1)]["old"], changed[records.key(1)]["new"]) == ({}, {records.member: "new"})
    (line,) = [row for row in records.log(third.run) if row["kind"] == "change"]
    assert (line["old"], line["new"]) == ({records.member: "new"}, {records.member: "newer"})
    (added,) = [row for row in records.log(second.run) if row["kind"] == "add"]
    assert (added["old"], added["new"]["name"]) == ({}, records.name(20))
    for kind, report in (("miss", second), ("remove", third)):
        (line,) = [row for row in records.log(report.run) if row["kind"] == kind]
        assert (line["old"]["name"], line["new"]) == (records.name(0), {})
    (back,) = records.log(fourth.run)
    assert (back["kind"], back["old"]["name"], back["new"]["name"]) == ("return", records.name(0), records.name(0))


# F1, N1: evidence


def test_every_run_stores_why_it_was_believed_or_not(records: Records) -> None:
    """Server, identity, key, scope and shortfalls are in the history, of complete runs and of others."""
    records.flat(range(3))
    given(records.site, **records.breaking())
    records.run()

    good, bad = records.site.rows("SELECT * FROM run WHERE source = %s ORDER BY id", records.source)

    assert (good["complete"], good["settled"], good["evidence"]["complete"]) == (True, True, True)
    assert good["evidence"]["entries"] == 3
    assert good["evidence"]["scope"]["key"] == good["evidence"]["keyAttribute"]
    assert good["scope"] is not None
    assert (bad["complete"], bad["settled"], bad["evidence"]["complete"]) == (False, False, False)
    assert bad["evidence"]["shortfalls"]


# persons' words about those who are missing already


def test_whom_a_person_keeps_at_the_end_of_the_grace_stays(records: Records) -> None:
    """Held because it was there when asked for, and rejected: it stays missing, though it is not found any more."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(10))
    records.remove(0)
    records.run()
    records.shift(2 * HOUR)
    run_with(records, lambda: records.add(0))
    assert records.held_names() == records.names([0])
    records.write("UPDATE held SET kept_by = 'ann', kept_at = now()")
    records.remove(0)

    for _ in range(2):
        report = records.run()
        assert (report.outcome, report.counts.kept, records.states(0)) == (Outcome.COMPLETED, 1, ["missing"])
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n', max_removals=0)
    records.remove(1)
    assert records.run().held == 2
    assert [row["kept_by"] for row in records.held()] == ["ann", None]


def test_the_last_who_are_missing_from_an_emptied_source_wait_for_a_word(records: Records) -> None:
    """Nobody else is there: the end of their grace is held and listed, and one approval is enough."""
    given(records.site, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.flat(range(3))
    records.remove(0)
    assert records.run().counts.missing == 1
    records.remove(1, 2)
    records.approve(records.run().run)
    assert records.run().counts.removed == 2
    records.shift(2 * HOUR)

    report = records.run()

    assert (report.outcome, report.held, records.held()[0]["code"]) == (Outcome.HELD, 1, "empty")
    assert records.states(0) == ["missing"]
    records.approve(report.run)
    assert (records.run().counts.removed, records.states(0)) == (1, ["removed"])
