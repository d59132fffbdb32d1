"""What people see of what is held and rejected, and what becomes of their word: the commands, on real servers."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from syncd.core.sync.history import HeldItem
from syncd.core.sync.plan import Outcome
from syncd.errors import SyncdError
from syncd.store.admin import approvals
from syncd.store.connection.engine import Role, open_engine
from tests.environment import Premises

HOUR = timedelta(hours=1)


@pytest.fixture
def people(site: Premises) -> dict[str, str]:
    """Eight people who were synced once: name -> DN. Two removals are let pass."""
    dns = {f"Pat {n}": site.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)}
    site.run()
    return dns


def leave(site: Premises, people: dict[str, str], *numbers: int) -> set[str]:
    """Remove these people; return their names."""
    names = {f"Pat {n}" for n in numbers}
    for name in names:
        site.branch.remove(people[name])
    return names


def said(site: Premises, *words: str, status: int = 0) -> str:
    """What a command prints on its way to this exit status."""
    done = site.command(*words)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + ("" if status == 0 else done.stderr)


def held(site: Premises) -> list[dict[str, Any]]:
    """What `syncd held` lists."""
    found: list[dict[str, Any]] = json.loads(said(site, "held", "--json"))["held"]
    return found


@contextmanager
def asking(site: Premises) -> Iterator[Connection]:
    """A connection as the commands have it."""
    with open_engine(site.settings.database, Role.API).begin() as connection:
        yield connection


def refused(site: Premises, number: int, *, approve: bool = True) -> str:
    """The sentence with which a word on a run is refused."""
    with pytest.raises(SyncdError) as caught, asking(site) as connection:
        approvals.approve(connection, number, "ann", HOUR) if approve else approvals.reject(connection, number, "ann")
    return str(caught.value)


def shift_expiry(site: Premises) -> None:
    """Let every approval have expired a moment ago."""
    with psycopg.connect(site.database_url) as connection:
        connection.execute("UPDATE approval SET expires_at = now() - interval '1 second'")


def last_run(site: Premises) -> dict[str, Any]:
    return site.rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]


def test_removals_over_the_limit_wait_for_a_person_and_go_once(site: Premises, people: dict[str, str]) -> None:
    """Three of eight at a limit of two: none goes, the list has exactly their keys, and an approval frees that list."""
    keys = {name: row["source_key"] for name, row in site.contacts().items()}
    gone = leave(site, people, 1, 4, 6)
    report = site.run()
    run = str(report.run)

    listed = held(site)
    text = said(site, "held", "corp")
    approved = said(site, "approve", run)
    synced = said(site, "sync", "corp")

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 3, 0)
    assert {item["key"] for item in listed} == {keys[name] for name in gone}
    assert {(item["source"], item["run"], item["code"], item["keptBy"]) for item in listed} == {
        ("corp", report.run, "volume", None)
    }
    assert f"`syncd approve {run}`" in text
    assert all(name in text and keys[name] in text for name in gone)
    assert re.search(r"approved: 3 removals of corp, as held by run \d+, until \d{4}-", approved)
    assert "`syncd sync corp`" in approved
    assert "3 removed" in synced
    assert set(site.contacts()) == set(people) - gone
    assert said(site, "held") == "nothing is held\n"

    leave(site, people, 0, 2, 3)
    again = site.run()
    assert (again.outcome, again.held) == (Outcome.HELD, 3)
    assert re.search(r"^what run \d+ held was approved by .+@.+, and run \d+ removed it$", refused(site, int(run)))


def test_an_approval_of_another_list_is_void(site: Premises, people: dict[str, str]) -> None:
    """One more left after the approval: nobody is removed, the run says why, and the log warns."""
    leave(site, people, 1, 4, 6)
    first = site.run()
    said(site, "approve", str(first.run))
    leave(site, people, 7)

    done = site.command("sync", "corp")

    assert done.returncode == 3
    assert f"the approval of run {first.run} is void: 3 removals were approved, now 4 are held" in done.stdout
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["approval.void"]["why"] in events["sync.held"]["why"]
    assert set(site.contacts()) == set(people)
    sentence = refused(site, first.run or 0)
    assert f"run {last_run(site)['id']} has replaced the list of run {first.run}" in sentence


def test_an_approval_expires(site: Premises, people: dict[str, str]) -> None:
    """A word of yesterday frees nobody today; it can be given again."""
    leave(site, people, 1, 4, 6)
    first = site.run()
    said(site, "approve", str(first.run))
    shift_expiry(site)
    assert [item["approvedBy"] for item in held(site)] == [None] * 3

    second = site.run()

    assert (second.outcome, second.held, second.approved) == (Outcome.HELD, 3, None)
    with asking(site) as connection:
        approvals.approve(connection, second.run or 0, "ann", HOUR)
    assert site.run().counts.removed == 3


def test_an_expired_approval_of_the_same_run_can_be_renewed(site: Premises, people: dict[str, str]) -> None:
    """Nothing ran between: the same list, approved a second time."""
    leave(site, people, 1, 4, 6)
    first = site.run()
    said(site, "approve", str(first.run))
    shift_expiry(site)

    said(site, "approve", str(first.run))

    assert site.run().counts.removed == 3


def test_who_is_kept_stays_under_any_limit_until_approved(site: Premises, people: dict[str, str]) -> None:
    """`syncd reject`: these contacts stay whatever the limits, others go; an approval of the list frees them again."""
    kept = leave(site, people, 1, 4, 6)
    first = site.run()
    rejected = said(site, "reject", str(first.run))
    other = leave(site, people, 7)

    second = site.run()

    assert rejected.startswith("rejected: 3 removals of corp; all of it stays")
    assert (second.outcome, second.counts.removed) == (Outcome.COMPLETED, 1)
    assert set(site.contacts()) == set(people) - other
    listed = held(site)
    assert {item["name"] for item in listed} == kept
    assert all("@" in item["keptBy"] for item in listed)
    said(site, "approve", str(second.run))
    assert site.run().counts.removed == 3
    assert set(site.contacts()) == set(people) - kept - other


def test_a_word_counts_although_the_limit_lets_the_list_pass_by_now(site: Premises, people: dict[str, str]) -> None:
    """Three were held, a person approved, the limit was raised: the approval is used, they leave without a grace."""
    site.configure(lifecycle='grace = "1h"\ngrace_runs = 3\n')
    gone = leave(site, people, 1, 4, 6)
    first = site.run()
    said(site, "approve", str(first.run))
    site.configure(max_removals=5)

    report = site.run()

    assert (report.outcome, report.approved, report.counts.removed) == (Outcome.COMPLETED, first.run, 3)
    assert set(site.contacts()) == set(people) - gone


def test_who_is_back_at_the_source_leaves_the_list(site: Premises, people: dict[str, str]) -> None:
    """A kept contact that the source has again is an ordinary one."""
    leave(site, people, 1, 4, 6)
    unit = site.branch.unit(f"ou=elsewhere,{site.branch.base}")
    moved = site.branch.rename(people["Pat 0"], "uid=u0", unit)
    site.configure(ldap='scope = "onelevel"')
    report = site.run()
    assert {item["name"] for item in held(site)} == {"Pat 0", "Pat 1", "Pat 4", "Pat 6"}
    said(site, "reject", str(report.run))
    site.branch.rename(moved, "uid=u0", site.branch.base)

    site.run()

    assert {item["name"] for item in held(site)} == {"Pat 1", "Pat 4", "Pat 6"}


def test_a_rejection_withdraws_an_approval(site: Premises, people: dict[str, str]) -> None:
    """Who changes their mind before the next run is heard."""
    leave(site, people, 1, 4, 6)
    run = str(site.run().run)
    said(site, "approve", run)

    assert "an approval of this list is withdrawn" in said(site, "reject", run)

    assert site.run().counts.removed == 0
    assert set(site.contacts()) == set(people)


def test_a_word_that_makes_no_sense_is_refused_with_the_reason(site: Premises, people: dict[str, str]) -> None:
    """No such run, a run that held nothing, a list that is approved already: sentences and status 1."""
    first = last_run(site)["id"]
    assert f"there is no run {first + 99}; `syncd held`" in said(site, "approve", str(first + 99), status=1)
    assert refused(site, first) == f"run {first} of corp held nothing"
    assert refused(site, first, approve=False) == f"run {first} of corp held nothing"
    dns = leave(site, people, 1, 4, 6)
    second = site.run().run or 0
    with asking(site) as connection:
        word = approvals.approve(connection, second, "ann", HOUR)
    assert (word.source, word.contacts, word.attributes) == ("corp", len(dns), ())
    assert f"what run {second} holds is approved already, by ann, until" in refused(site, second)
    site.configure(max_removals=5)
    site.run()
    assert "held is not held any more" in refused(site, second, approve=False)


def test_the_loss_of_an_attribute_is_listed_and_can_be_approved(site: Premises, people: dict[str, str]) -> None:
    """Every number vanishes: they stay, `syncd held` names the attribute, and an approval lets them go."""
    for dn in people.values():
        site.branch.change(dn, telephoneNumber=[])
    report = site.run()

    (item,) = held(site)
    assert (item["attribute"], item["id"], item["code"]) == ("telephonenumber", None, "attribute")
    assert all(row["numbers"] for row in site.contacts().values())
    assert "the loss of telephonenumber of corp" in said(site, "approve", str(report.run))
    site.run()
    assert not any(row["numbers"] for row in site.contacts().values())
    assert said(site, "held") == "nothing is held\n"


def test_records_in_quarantine_are_listed_until_they_are_mended(site: Premises, people: dict[str, str]) -> None:
    """`syncd rejects` shows key, place, reason and values; a mended record leaves by itself."""
    assert said(site, "rejects") == "nothing is rejected\n"
    site.branch.change(people["Pat 3"], sn="x" * 300)
    site.run()

    (record,) = json.loads(said(site, "rejects", "corp", "--json"))["rejects"]
    text = said(site, "rejects")

    assert record["key"] == site.contacts()["Pat 3"]["source_key"]
    assert record["place"].lower() == people["Pat 3"].lower()
    assert "300 characters" in record["reason"]
    assert record["values"]["sn"] == ["x" * 300]
    assert "300 characters" in text
    site.branch.change(people["Pat 3"], sn="3")
    site.run()
    assert said(site, "rejects") == "nothing is rejected\n"


def test_a_source_that_there_is_not_is_no_empty_list(site: Premises) -> None:
    """A mistyped source is told, with the nearest name."""
    for command in ("held", "rejects"):
        done = site.command(command, "crop")
        assert done.returncode == 78
        assert "did you mean 'corp'?" in done.stderr


def test_a_held_item_knows_what_it_is() -> None:
    """A contact by its id in the form of the API, or an attribute by its name."""
    from datetime import UTC, datetime

    now = datetime(2026, 3, 1, tzinfo=UTC)
    contact = HeldItem("corp", "sync", 7, "0f9b-1", "k", "Ada", "volume", "why", now, None, None, "ann@h", now)
    attribute = contact._replace(item="attribute mail", name="mail")

    assert (contact.attribute, contact.facts()["id"], contact.facts()["name"]) == (None, "0f9b1", "Ada")
    assert (attribute.attribute, attribute.facts()["id"], attribute.facts()["name"]) == ("mail", None, None)
    assert contact.facts()["approvalExpiresAt"] == "2026-03-01T00:00:00+00:00"
