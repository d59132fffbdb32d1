"""Plan of an import."""

from typing import Any

import pytest

from syncd.core.contacts.contact import Contact, PhoneNumber
from syncd.core.contacts.models import StoredContact
from syncd.core.files.contact_import import MAX_NUMBERS, ImportEntry, ImportReport, ImportRow, plan_import


def contact(id_: str, name: str, *numbers: dict[str, str], type_: Any = "Custom") -> StoredContact:
    return StoredContact(id_ * 32, type_, name, numbers, None, None, None, None, None, [], [], None)


AMBULANCE = contact("a", "Ambulance", {"phoneNumber": "112"})
BANK = contact("b", "Bank", {"phoneNumber": "1", "description": "desk"}, {"phoneNumber": "2"})
TWIN = contact("c", "Bank", {"phoneNumber": "1", "description": "desk"}, {"phoneNumber": "2"})
USER = contact("d", "Jim", type_="User")


def judge(*entries: ImportEntry, like: tuple[StoredContact, ...] = (AMBULANCE, BANK)) -> list[ImportRow]:
    stored = {one.id: one for one in (AMBULANCE, BANK, TWIN, USER)}
    return [action.row for action in plan_import(entries, stored, like)]


def entry_with(**members: Any) -> ImportEntry:
    return ImportEntry(7, members)


def test_an_entry_without_id_creates_a_contact() -> None:
    """All its numbers are kept."""
    numbers = (PhoneNumber("1", "desk"), PhoneNumber(" 2 "))
    (action,) = plan_import([entry_with(name=" Eve ", phoneNumber="1", phoneNumbers=numbers, type="Custom")], {}, ())

    assert action.row == ImportRow(7, "create", "", "Eve")
    assert action.contact == Contact("Eve", (PhoneNumber("1", "desk"), PhoneNumber("2")))
    assert action.stored is None


def test_an_equal_contact_is_not_created_again() -> None:
    """Neither by another import of the file nor by two equal rows. Another name or number is another contact."""
    same = {"name": "Ambulance", "phoneNumber": "112"}

    assert judge(entry_with(**same), entry_with(**same, phoneNumbers=(PhoneNumber("112"),))) == [
        ImportRow(7, "unchanged", "a" * 32, "Ambulance")
    ] * 2  # fmt: skip
    assert [row.result for row in judge(entry_with(**same), entry_with(**same), like=())] == ["create", "unchanged"]
    assert [row.result for row in judge(entry_with(name="ambulance", phoneNumber="112"))] == ["create"]
    assert [row.result for row in judge(entry_with(**same, phoneNumbers=(PhoneNumber("112", "desk"),)))] == ["create"]


def test_an_entry_with_id_updates_the_given_members() -> None:
    """As PUT does."""
    entry = entry_with(id="b" * 32, name="Banque")
    (action,) = plan_import([entry], {BANK.id: BANK}, ())

    assert action.row == ImportRow(7, "change", "b" * 32, "Banque")
    assert action.contact == Contact("Banque", (PhoneNumber("1", "desk"), PhoneNumber("2")))
    assert action.stored == BANK
    (action,) = plan_import([entry_with(id="b" * 32, phoneNumber="9")], {BANK.id: BANK}, ())
    assert action.contact == Contact("Bank", (PhoneNumber("9"), PhoneNumber("2")))
    (action,) = plan_import(
        [entry_with(id="b" * 32, phoneNumber="9", phoneNumbers=(PhoneNumber("9"),))], {BANK.id: BANK}, ()
    )
    assert action.contact == Contact("Bank", (PhoneNumber("9"),))


def test_an_equal_update_is_unchanged() -> None:
    rows = judge(entry_with(id="b" * 32), entry_with(id="a" * 32, name="Ambulance", phoneNumber="112", type="Custom"))

    assert [row.result for row in rows] == ["unchanged", "unchanged"]


def test_new_contacts_are_compared_with_updated_ones() -> None:
    """A renamed contact allows a new one with the old name, unless a twin still has it; an equal new one is kept."""
    moved = entry_with(id="b" * 32, name="Banque")
    old = {"name": "Bank", "phoneNumber": "1", "phoneNumbers": (PhoneNumber("1", "desk"), PhoneNumber("2"))}

    assert [row.result for row in judge(entry_with(**old), moved)] == ["create", "change"]
    assert [row.result for row in judge(entry_with(**old), moved, like=(BANK, TWIN))] == ["unchanged", "change"]
    assert [row.result for row in judge(entry_with(**{**old, "name": "Banque"}), moved)] == ["unchanged", "change"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ImportEntry(7, {}, "the line is torn"), "the line is torn"),
        (entry_with(name="A"), "phoneNumber is missing"),
        (entry_with(phoneNumber="1"), "name is missing"),
        (entry_with(name=" ", phoneNumber="1"), "name is empty"),
        (entry_with(name="A" * 257, phoneNumber="1"), "name has 257 characters, at most 256 are allowed"),
        (entry_with(name="A\nB", phoneNumber="1"), "name holds a control character"),
        (entry_with(name="A", phoneNumber="1", type="User"), "contacts of type User are kept by the synchronization"),
        (entry_with(name="A", phoneNumber="1", type="user"), "type must be 'Custom'"),
        (entry_with(name="A", phoneNumber="1", userName="a"), "userName is read-only"),
        (
            entry_with(name="A", phoneNumber="1", phoneNumbers=(PhoneNumber("1", "\0"),)),
            "description holds a control character",
        ),
        (entry_with(name="A", phoneNumber="", phoneNumbers=(PhoneNumber("", "x"),)), "phoneNumber is empty"),
        (
            entry_with(name="A", phoneNumber="1", phoneNumbers=(PhoneNumber("1"),) * (MAX_NUMBERS + 1)),
            "101 numbers, at most 100",
        ),
        (entry_with(id="a" * 32, name=""), "name is empty"),
        (entry_with(id="a" * 32, userName="a"), "userName is read-only"),
        (entry_with(id="d" * 32, name="Jim"), f"contact {'d' * 32} is a User: the synchronization keeps it"),
        (entry_with(id="e" * 32, name="Jim"), f"there is no contact '{'e' * 32}'; leave id empty"),
        (entry_with(id="A" * 99, name="Jim"), f"there is no contact '{'A' * 60}'; leave id empty"),
        (ImportEntry(7, {"id": "d" * 32, "name": "Jim"}, ignores_unknown_id=True), f"contact {'d' * 32} is a User"),
    ],
)
def test_invalid_entries_are_rejected_with_a_reason(entry: ImportEntry, reason: str) -> None:
    (row,) = judge(entry)

    assert (row.line, row.result) == (7, "reject")
    assert row.why.startswith(reason)


def test_a_second_entry_with_the_same_id_is_rejected() -> None:
    """It is ambiguous which one is meant."""
    first, second = judge(entry_with(id="a" * 32, name="X"), ImportEntry(8, {"id": "a" * 32, "name": "Y"}))

    assert first.result == "change"
    assert second == ImportRow(8, "reject", "a" * 32, "Y", "line 7 is about this contact already")


def test_an_unknown_id_of_a_card_creates_a_contact() -> None:
    """Address books assign ids of their own."""
    (row,) = judge(ImportEntry(7, {"id": "e" * 32, "name": "Jim", "phoneNumber": "1"}, ignores_unknown_id=True))

    assert row == ImportRow(7, "create", "", "Jim")


def test_counts_of_a_report() -> None:
    rows = [
        ImportRow(2, "create", "a", "A"),
        ImportRow(3, "change", "b", "B"),
        ImportRow(4, "reject", why="no"),
        ImportRow(5, "create"),
    ]

    assert ImportReport(True, rows).to_json() == {
        "applied": True, "created": 2, "changed": 1, "unchanged": 0, "rejected": 1,
        "rows": [
            {"line": 2, "result": "create", "id": "a", "name": "A"},
            {"line": 3, "result": "change", "id": "b", "name": "B"},
            {"line": 4, "result": "reject", "why": "no"},
            {"line": 5, "result": "create"},
        ],
    }  # fmt: skip
