"""The guard: attributes that vanish from most entries."""

from collections.abc import Sequence
from typing import Any

import pytest

from syncd.core.contacts.contact import Contact, ContactType, PhoneNumber, build_index
from syncd.core.sync.plan import Outcome
from tests.environment import Environment
from tests.records import GRACE, QueueRecords, Records, UserRecords, configure_guard


def lose_numbers(records: Records, numbers: Sequence[int], *, by: str) -> None:
    """Remove the phone numbers of entries: by an access rule, or at the source."""
    if by == "access":
        records.env.branch.deny_reader("attrs=telephoneNumber")
    else:
        records.set_phones(*numbers, phone=lambda _: None)


def restore_numbers(records: Records, numbers: Sequence[int], *, by: str) -> None:
    if by == "access":
        records.env.branch.allow_reader()
    else:
        records.set_phones(*numbers, phone=lambda n: f"+1 555 {n:03}")


LOSS_CAUSES = [(UserRecords, "access"), (UserRecords, "deletion"), (QueueRecords, "deletion")]


@pytest.mark.parametrize(("kind", "by"), LOSS_CAUSES)
def test_a_vanished_attribute_clears_no_number(env: Environment, kind: type[Records], by: str) -> None:
    """The loss is held in every run with its reason, other changes of the entries are applied; it ends by itself."""
    configure_guard(env)
    records = kind(env)
    records.load(range(30))
    before = records.phones()
    lose_numbers(records, range(30), by=by)
    records.change(1, 2, 3, to="new")
    records.add(40)
    records.remove(5)

    first = records.run()

    assert (first.outcome, first.held_attributes) == (Outcome.HELD, (records.attribute,))
    assert (first.counts.added, first.counts.changed, first.counts.removed, first.held) == (1, 3, 1, 0)
    assert f"the attribute {records.attribute} is gone from 29 of the 30 entries that had it" in first.reason
    after = records.phones()
    assert {name: phones for name, phones in after.items() if name in before} == {
        name: phones for name, phones in before.items() if name != records.name(5)
    }
    assert [records.contact(n)[records.column] for n in (1, 2, 3)] == ["new"] * 3
    assert [(row["item"], row["code"], row["run_id"]) for row in records.held_items()] == [
        (f"attribute {records.attribute}", "attribute", first.run)
    ]
    assert records.attribute in records.held_items()[0]["reason"]
    assert all("phoneNumbers" not in row["old"] for row in records.changes_of(first.run) if row["kind"] == "change")

    second = records.run()

    assert (second.outcome, second.held_attributes, second.revision) == (Outcome.HELD, (records.attribute,), None)
    assert second.counts.changed == 0
    assert records.phones() == after

    restore_numbers(records, [n for n in range(30) if n != 5], by=by)
    third = records.run()

    assert (third.outcome, third.reason, records.held_items()) == (Outcome.COMPLETED, "", [])
    assert {name: phones for name, phones in records.phones().items() if name in before} == {
        name: phones for name, phones in before.items() if name != records.name(5)
    }
    assert count_digests(records) == len(records.served())
    stored = records.dump_directory()
    assert records.run().outcome is Outcome.COMPLETED
    assert records.dump_directory() == stored


def count_digests(records: Records) -> int:
    """Return how many active contacts the next run recognises by a digest."""
    query = "SELECT count(digest) AS n FROM contact WHERE source = %s AND state = 'active'"
    return int(records.env.fetch_rows(query, records.source)[0]["n"])


@pytest.mark.parametrize(("kind", "by"), LOSS_CAUSES)
def test_an_approved_loss_is_applied(env: Environment, kind: type[Records], by: str) -> None:
    """The approval releases it once: the numbers are cleared, and the list is empty."""
    configure_guard(env)
    records = kind(env)
    records.load(range(25))
    lose_numbers(records, range(25), by=by)
    records.approve(records.run().run)

    report = records.run()

    assert (report.outcome, report.counts.changed, records.held_items()) == (Outcome.COMPLETED, 25, [])
    assert set(map(tuple, records.phones().values())) == {()}
    assert records.latest_approval()["used_by"] == report.run
    assert count_digests(records) == 25
    assert (records.run().revision, records.run().reason) == (None, "")


def test_a_loss_in_few_entries_is_an_ordinary_change(records: Records) -> None:
    """Up to the share of max_attribute_loss the numbers are cleared."""
    records.load(range(30))
    records.set_phones(*range(6), phone=lambda _: None)

    report = records.run()

    assert (report.outcome, report.counts.changed, report.held_attributes) == (Outcome.COMPLETED, 6, ())
    assert [records.phones()[records.name(n)] for n in (0, 5, 6)] == [[], [], ["+1 555 006"]]


def test_removals_and_a_lost_attribute_are_held_and_released_together(records: Records) -> None:
    """One list has items of both kinds; one approval releases it."""
    records.load(range(30))
    configure_guard(records.env, max_removals=2)
    records.remove(0, 1, 2)
    records.set_phones(*range(3, 30), phone=lambda _: None)

    report = records.run()
    assert (report.outcome, report.held, report.held_attributes) == (Outcome.HELD, 3, (records.attribute,))
    assert {row["code"] for row in records.held_items()} == {"volume", "attribute"}
    records.approve(report.run)
    released = records.run()

    assert (released.outcome, released.counts.removed, released.counts.changed) == (Outcome.COMPLETED, 3, 27)
    assert records.held_items() == []


def test_a_contact_that_returns_without_a_lost_attribute_keeps_its_value(records: Records) -> None:
    """A missing contact returns in the run in which the numbers vanish: its number is not cleared either."""
    configure_guard(records.env, lifecycle=GRACE)
    records.load(range(25))
    records.remove(0)
    assert records.run().counts.missing == 1
    records.add(0)
    records.set_phones(*range(25), phone=lambda _: None)

    report = records.run()

    assert (report.outcome, report.held_attributes, report.counts.added) == (Outcome.HELD, (records.attribute,), 1)
    assert records.phones()[records.name(0)] == ["+1 555 000"]
    assert all(records.phones().values())


def test_a_map_of_an_absent_attribute_clears_no_number(records: Records) -> None:
    """A wrong name in the map holds the loss of the member; other changes are applied; the right name ends it."""
    records.load(range(30))
    before = records.phones()
    kind, number, rest = {
        "User": ("ldap", "telephoneNumber", 'name = ["{givenName} {sn}", "cn"]\nemailAddress = "mail"'),
        "Queue": ("file", "phoneNumber", 'name = "name"\nchannel = "channel"'),
    }[records.type]

    configure_guard(records.env, **{kind: f'[source.map]\n{rest}\nphoneNumber = "pager"\n'})
    records.change(1, 2, to="new")
    first = records.run()

    assert (first.outcome, "member phoneNumber" in first.held_attributes) == (Outcome.HELD, True)
    assert "the member phoneNumber is gone from 30 of the 30 entries that had it" in first.reason
    assert "names an attribute that no entry has" in first.reason
    assert records.phones() == before
    assert [records.contact(n)[records.column] for n in (1, 2)] == ["new"] * 2
    assert ("attribute member phoneNumber", "attribute") in {(row["item"], row["code"]) for row in records.held_items()}
    assert records.run().outcome is Outcome.HELD
    assert records.phones() == before

    configure_guard(records.env, **{kind: f'[source.map]\n{rest}\nphoneNumber = ["pager", "{number}"]\n'})
    records.run()

    assert records.phones() == before
    assert "attribute member phoneNumber" not in {row["item"] for row in records.held_items()}


def is_indexed_correctly(row: dict[str, Any], type_: ContactType) -> bool:
    """Whether the columns for searching, sorting and lookup are those of the members in this row."""
    numbers = tuple(PhoneNumber(n["phoneNumber"], n.get("description", "")) for n in row["numbers"])
    lists: dict[str, Any] = {name: tuple(row[name]) for name in ("roles", "business_units")}
    rest: dict[str, Any] = {name: row[name] for name in Contact._fields if name not in {"numbers", *lists}}
    made = build_index(type_, Contact(numbers=numbers, **lists, **rest))
    stored = (
        row["name_folded"],
        row["first_name_folded"],
        row["last_name_folded"],
        row["search"],
        tuple(row["dialled"]),
        tuple(row["tails"]),
    )
    return tuple(made) == stored


def test_members_made_from_a_lost_attribute_are_kept(users: UserRecords) -> None:
    """Names by template and numbers by list stay when an attribute of them is hidden, and stay searchable."""
    users.load(range(25))
    for n in range(25):
        users.branch.change(users.dn(n), mobile=f"+49 {n}")
    users.run()
    before = {
        name: {k: v for k, v in row.items() if k != "user_name"} for name, row in users.env.served_contacts().items()
    }
    users.branch.deny_reader("attrs=sn,telephoneNumber")
    for n in range(3):
        users.branch.rename(users.dn(n), f"uid=r{n}")

    report = users.run()

    after = users.env.served_contacts()
    assert (report.outcome, report.held_attributes) == (Outcome.HELD, ("sn", "telephonenumber"))
    assert report.counts.changed == 3
    assert set(after) == set(before)
    for name, row in after.items():
        assert (row["last_name"], row["numbers"]) == (before[name]["last_name"], before[name]["numbers"])
        assert len(row["numbers"]) == 2
    assert [after[users.name(n)]["user_name"] for n in (0, 1, 2, 3)] == ["r0", "r1", "r2", "u3"]
    rows = users.env.fetch_rows("SELECT * FROM contact_user")
    assert all(is_indexed_correctly(row, "User") for row in rows)
    assert users.env.fetch_rows("SELECT name FROM contact_user WHERE search LIKE '%%\nr0\n%%'") == [{"name": "P 000"}]
