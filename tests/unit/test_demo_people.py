"""The sample people of the demonstration: unique logins, mappable entries, difficult names."""

from syncd.core.contacts.contact import Contact
from syncd.core.sync.mapping import DEFAULT_RULES, Mapper
from syncd.core.sync.record import Record
from syncd.demo.people import ldif, people


def test_ldif_is_always_the_same() -> None:
    """Documentation and tests may name people."""
    assert ldif() == ldif()


def test_logins_are_unique() -> None:
    """Logins are ASCII letters and digits, as mail addresses need them."""
    logins = [person.login for person in people()]

    assert len(set(logins)) == len(logins)
    assert all(login.isascii() and login.isalnum() for login in logins)


def test_every_person_is_mapped_to_a_contact() -> None:
    """No sample person is rejected by the default mapping of an LDAP source."""
    mapper = Mapper("User", DEFAULT_RULES["User"])
    for person in people():
        values: dict[str, list[str]] = {}
        for attribute, value in person.attributes():
            values.setdefault(attribute.lower(), []).append(value)

        assert isinstance(mapper.to_contact(Record(person.login, "", b"", values)), Contact)


def test_difficult_cases_are_included() -> None:
    """Several scripts, a person without a number and one with several numbers."""
    sample = people()
    names = " ".join(f"{person.given} {person.family}" for person in sample)

    assert all(name in names for name in ("Παπαδόπουλος", "Щербаков", "الخوارزمي", "欧阳", "山田", "O'Brien", ", Jr."))
    assert any(not person.phones and not person.mobile for person in sample)
    assert any(len(person.phones) + len(person.mobile) > 2 for person in sample)
