"""Holds and rejects: the commands held, approve, reject and rejects, on real servers."""

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
from tests.environment import Environment

HOUR = timedelta(hours=1)


@pytest.fixture
def people(env: Environment) -> dict[str, str]:
    """Eight synchronized people: name -> DN. The guard allows two removals."""
    dns = {f"Pat {n}": env.branch.add(f"u{n}", "Pat", str(n), telephoneNumber=f"555 {n}") for n in range(8)}
    env.run()
    return dns


def remove_people(env: Environment, people: dict[str, str], *numbers: int) -> set[str]:
    """Remove people from the directory server; return their names."""
    names = {f"Pat {n}" for n in numbers}
    for name in names:
        env.branch.remove(people[name])
    return names


def run_command(env: Environment, *arguments: str, status: int = 0) -> str:
    """Return the output of a command that exits with this status."""
    result = env.run_command(*arguments)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + ("" if status == 0 else result.stderr)


def held_items(env: Environment) -> list[dict[str, Any]]:
    """Return the items of `syncd held`."""
    items: list[dict[str, Any]] = json.loads(run_command(env, "held", "--json"))["held"]
    return items


@contextmanager
def api_connection(env: Environment) -> Iterator[Connection]:
    """A connection with the role of the commands."""
    with open_engine(env.settings.database, Role.API).begin() as connection:
        yield connection


def refusal(env: Environment, number: int, *, approve: bool = True) -> str:
    """Return the message of a refused decision."""
    with pytest.raises(SyncdError) as caught, api_connection(env) as connection:
        approvals.approve(connection, number, "ann", HOUR) if approve else approvals.reject(connection, number, "ann")
    return str(caught.value)


def expire_approvals(env: Environment) -> None:
    """Make every approval expire."""
    with psycopg.connect(env.database_url) as connection:
        connection.execute("UPDATE approval SET expires_at = now() - interval '1 second'")


def last_run(env: Environment) -> dict[str, Any]:
    return env.fetch_rows("SELECT * FROM run ORDER BY id DESC LIMIT 1")[0]


def test_held_removals_are_listed_and_approved_once(env: Environment, people: dict[str, str]) -> None:
    """Three of eight at a limit of two: none is removed until the list is approved."""
    keys = {name: row["source_key"] for name, row in env.served_contacts().items()}
    removed = remove_people(env, people, 1, 4, 6)
    report = env.run()
    run = str(report.run)

    items = held_items(env)
    text = run_command(env, "held", "corp")
    approved = run_command(env, "approve", run)
    synced = run_command(env, "sync", "corp")

    assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 3, 0)
    assert {item["key"] for item in items} == {keys[name] for name in removed}
    assert {(item["source"], item["run"], item["code"], item["keptBy"]) for item in items} == {
        ("corp", report.run, "volume", None)
    }
    assert f"`syncd approve {run}`" in text
    assert all(name in text and keys[name] in text for name in removed)
    assert re.search(r"approved: 3 removals of corp, as held by run \d+, until \d{4}-", approved)
    assert "`syncd sync corp`" in approved
    assert "3 removed" in synced
    assert set(env.served_contacts()) == set(people) - removed
    assert run_command(env, "held") == "nothing is held\n"

    remove_people(env, people, 0, 2, 3)
    again = env.run()
    assert (again.outcome, again.held) == (Outcome.HELD, 3)
    assert re.search(r"^what run \d+ held was approved by .+@.+, and run \d+ removed it$", refusal(env, int(run)))


def test_an_approval_of_another_list_is_void(env: Environment, people: dict[str, str]) -> None:
    """One more removal after the approval: nothing is removed, run and log have the reason."""
    remove_people(env, people, 1, 4, 6)
    first = env.run()
    run_command(env, "approve", str(first.run))
    remove_people(env, people, 7)

    result = env.run_command("sync", "corp")

    assert result.returncode == 3
    assert f"the approval of run {first.run} is void: 3 removals were approved, now 4 are held" in result.stdout
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["approval.invalidated"]["why"] in events["sync.held"]["why"]
    assert set(env.served_contacts()) == set(people)
    sentence = refusal(env, first.run or 0)
    assert f"run {last_run(env)['id']} has replaced the list of run {first.run}" in sentence


def test_an_approval_expires(env: Environment, people: dict[str, str]) -> None:
    """An expired approval has no effect; the list can be approved again."""
    remove_people(env, people, 1, 4, 6)
    first = env.run()
    run_command(env, "approve", str(first.run))
    expire_approvals(env)
    assert [item["approvedBy"] for item in held_items(env)] == [None] * 3

    second = env.run()

    assert (second.outcome, second.held, second.approved) == (Outcome.HELD, 3, None)
    with api_connection(env) as connection:
        approvals.approve(connection, second.run or 0, "ann", HOUR)
    assert env.run().counts.removed == 3


def test_an_expired_approval_of_the_same_run_can_be_renewed(env: Environment, people: dict[str, str]) -> None:
    """Without another run the same list is approved a second time."""
    remove_people(env, people, 1, 4, 6)
    first = env.run()
    run_command(env, "approve", str(first.run))
    expire_approvals(env)

    run_command(env, "approve", str(first.run))

    assert env.run().counts.removed == 3


def test_rejected_removals_are_kept_until_approved(env: Environment, people: dict[str, str]) -> None:
    """Rejected removals are kept regardless of the limits; a later approval removes them."""
    kept = remove_people(env, people, 1, 4, 6)
    first = env.run()
    rejected = run_command(env, "reject", str(first.run))
    other = remove_people(env, people, 7)

    second = env.run()

    assert rejected.startswith("rejected: 3 removals of corp; all of it stays")
    assert (second.outcome, second.counts.removed) == (Outcome.COMPLETED, 1)
    assert set(env.served_contacts()) == set(people) - other
    items = held_items(env)
    assert {item["name"] for item in items} == kept
    assert all("@" in item["keptBy"] for item in items)
    run_command(env, "approve", str(second.run))
    assert env.run().counts.removed == 3
    assert set(env.served_contacts()) == set(people) - kept - other


def test_an_approval_applies_after_the_limit_was_raised(env: Environment, people: dict[str, str]) -> None:
    """The approved removals have no grace period."""
    env.configure(lifecycle='grace = "1h"\ngrace_runs = 3\n')
    removed = remove_people(env, people, 1, 4, 6)
    first = env.run()
    run_command(env, "approve", str(first.run))
    env.configure(max_removals=5)

    report = env.run()

    assert (report.outcome, report.approved, report.counts.removed) == (Outcome.COMPLETED, first.run, 3)
    assert set(env.served_contacts()) == set(people) - removed


def test_returned_contacts_leave_the_list(env: Environment, people: dict[str, str]) -> None:
    """A kept contact is released when the source has it again."""
    remove_people(env, people, 1, 4, 6)
    unit = env.branch.add_unit(f"ou=elsewhere,{env.branch.base}")
    moved = env.branch.rename(people["Pat 0"], "uid=u0", unit)
    env.configure(ldap='scope = "onelevel"')
    report = env.run()
    assert {item["name"] for item in held_items(env)} == {"Pat 0", "Pat 1", "Pat 4", "Pat 6"}
    run_command(env, "reject", str(report.run))
    env.branch.rename(moved, "uid=u0", env.branch.base)

    env.run()

    assert {item["name"] for item in held_items(env)} == {"Pat 1", "Pat 4", "Pat 6"}


def test_a_rejection_withdraws_an_approval(env: Environment, people: dict[str, str]) -> None:
    """The last decision before the next run counts."""
    remove_people(env, people, 1, 4, 6)
    run = str(env.run().run)
    run_command(env, "approve", run)

    assert "an approval of this list is withdrawn" in run_command(env, "reject", run)

    assert env.run().counts.removed == 0
    assert set(env.served_contacts()) == set(people)


def test_invalid_decisions_are_refused(env: Environment, people: dict[str, str]) -> None:
    """Unknown run, run without holds, approved list: messages and status 1."""
    first = last_run(env)["id"]
    assert f"there is no run {first + 99}; `syncd held`" in run_command(env, "approve", str(first + 99), status=1)
    assert refusal(env, first) == f"run {first} of corp held nothing"
    assert refusal(env, first, approve=False) == f"run {first} of corp held nothing"
    dns = remove_people(env, people, 1, 4, 6)
    second = env.run().run or 0
    with api_connection(env) as connection:
        word = approvals.approve(connection, second, "ann", HOUR)
    assert (word.source, word.contacts, word.attributes) == ("corp", len(dns), ())
    assert f"what run {second} holds is approved already, by ann, until" in refusal(env, second)
    env.configure(max_removals=5)
    env.run()
    assert "held is not held any more" in refusal(env, second, approve=False)


def test_the_loss_of_an_attribute_is_listed_and_can_be_approved(env: Environment, people: dict[str, str]) -> None:
    """All phone numbers are lost: they are kept until the loss is approved."""
    for dn in people.values():
        env.branch.change(dn, telephoneNumber=[])
    report = env.run()

    (item,) = held_items(env)
    assert (item["attribute"], item["id"], item["code"]) == ("telephonenumber", None, "attribute")
    assert all(row["numbers"] for row in env.served_contacts().values())
    assert "the loss of telephonenumber of corp" in run_command(env, "approve", str(report.run))
    env.run()
    assert not any(row["numbers"] for row in env.served_contacts().values())
    assert run_command(env, "held") == "nothing is held\n"


def test_rejected_records_are_listed_until_corrected(env: Environment, people: dict[str, str]) -> None:
    """`syncd rejects` shows key, place, reason and values; a corrected record leaves the list."""
    assert run_command(env, "rejects") == "nothing is rejected\n"
    env.branch.change(people["Pat 3"], sn="x" * 300)
    env.run()

    (record,) = json.loads(run_command(env, "rejects", "corp", "--json"))["rejects"]
    text = run_command(env, "rejects")

    assert record["key"] == env.served_contacts()["Pat 3"]["source_key"]
    assert record["place"].lower() == people["Pat 3"].lower()
    assert "300 characters" in record["reason"]
    assert record["values"]["sn"] == ["x" * 300]
    assert "300 characters" in text
    env.branch.change(people["Pat 3"], sn="3")
    env.run()
    assert run_command(env, "rejects") == "nothing is rejected\n"


def test_an_unknown_source_is_an_error(env: Environment) -> None:
    """The message suggests the nearest name."""
    for command in ("held", "rejects"):
        result = env.run_command(command, "crop")
        assert result.returncode == 78
        assert "did you mean 'corp'?" in result.stderr


def test_a_held_item_is_a_contact_or_an_attribute() -> None:
    """A contact has its id in the form of the API, an attribute its name."""
    from datetime import UTC, datetime

    now = datetime(2026, 3, 1, tzinfo=UTC)
    contact = HeldItem("corp", "sync", 7, "0f9b-1", "k", "Ada", "volume", "why", now, None, None, "ann@h", now)
    attribute = contact._replace(item="attribute mail", name="mail")

    assert (contact.attribute, contact.to_json()["id"], contact.to_json()["name"]) == (None, "0f9b1", "Ada")
    assert (attribute.attribute, attribute.to_json()["id"], attribute.to_json()["name"]) == ("mail", None, None)
    assert contact.to_json()["approvalExpiresAt"] == "2026-03-01T00:00:00+00:00"
