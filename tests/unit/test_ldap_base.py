"""Scope of a base: comparison of DNs in different spellings."""

import pytest

from syncd.sources.ldap.base import is_in_scope

PEOPLE = "ou=people,dc=example,dc=com"


@pytest.mark.parametrize(
    ("dn", "base", "subtree", "onelevel", "itself"),
    [
        (PEOPLE, PEOPLE, True, False, True),
        (f"uid=a,{PEOPLE}", PEOPLE, True, True, False),
        (f"uid=a,ou=b,{PEOPLE}", PEOPLE, True, False, False),
        ("UID=a, OU=People, DC=Example, DC=com", PEOPLE, True, True, False),
        (f"uid=a\\,b,{PEOPLE}", PEOPLE, True, True, False),
        (f"uid=a\\\\,{PEOPLE}", PEOPLE, True, True, False),
        (f"uid=a\\,{PEOPLE}", PEOPLE, False, False, False),
        (f"uid=a\\2C{PEOPLE}", PEOPLE, False, False, False),
        ("uid=a,ou=other people,dc=example,dc=com", PEOPLE, False, False, False),
        ("uid=a,ou=other,dc=example,dc=com", PEOPLE, False, False, False),
        ("dc=example,dc=com", PEOPLE, False, False, False),
        ("dc=com", "", True, True, False),
        ("", "", True, False, True),
    ],
)
def test_entries_in_the_scope_of_a_search(dn: str, base: str, subtree: bool, onelevel: bool, itself: bool) -> None:
    """The scopes of RFC 4511 section 4.5.1.2; an escaped comma separates nothing (RFC 4514)."""
    assert is_in_scope(dn, base, "subtree") is subtree
    assert is_in_scope(dn, base, "onelevel") is onelevel
    assert is_in_scope(dn, base, "base") is itself
