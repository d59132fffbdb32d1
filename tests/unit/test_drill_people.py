"""The sample people of the demonstration: a directory that a real server takes and that is worth looking at."""

from syncd.core.contacts.contact import Contact
from syncd.core.sync.mapping import DEFAULT_RULES, Mapper
from syncd.core.sync.record import Record
from syncd.demo.people import ldif, people


def test_the_people_are_always_the_same() -> None:
    """Documentation and tests may name them."""
    assert ldif() == ldif()


def test_everyone_has_a_login_of_their_own() -> None:
    """In ASCII letters and digits, as mail addresses need them."""
    logins = [person.login for person in people()]

    assert len(set(logins)) == len(logins)
    assert all(login.isascii() and login.isalnum() for login in logins)


def test_everyone_becomes_a_contact() -> None:
    """No sample person is rejected by the map that an LDAP source has by default."""
    mapper = Mapper("User", DEFAULT_RULES["User"])
    for person in people():
        values: dict[str, list[str]] = {}
        for attribute, value in person.attributes():
            values.setdefault(attribute.lower(), []).append(value)

        assert isinstance(mapper.contact(Record(person.login, "", b"", values)), Contact)


def test_the_hard_cases_are_there() -> None:
    """Scripts, no number and several numbers are what a reader wants to try."""
    everyone = people()
    names = " ".join(f"{person.given} {person.family}" for person in everyone)

    assert all(
        sample in names for sample in ("Παπαδόπουλος", "Щербаков", "الخوارزمي", "欧阳", "山田", "O'Brien", ", Jr.")
    )
    assert any(not person.phones and not person.mobile for person in everyone)
    assert any(len(person.phones) + len(person.mobile) > 2 for person in everyone)
