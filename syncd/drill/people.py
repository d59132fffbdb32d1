"""The people of the drill: for each fault a branch of its own, so that faults play beside each other, and its LDIF."""

import base64
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

ROOT = "dc=example,dc=com"
READERS = f"ou=readers,{ROOT}"
_OUTSIDE = f"ou=outside,{ROOT}"

POPULATION = 30
UNITS = ("north", "south")

_GIVEN = ("Ada", "Björn", "Chloé", "Dragan", "Eyþór", "Fatma")
_FAMILY = ("Lovelace", "O'Hara", "Łukasiewicz", "Müller", "Ñíguez")


@dataclass(frozen=True, slots=True)
class Person:
    """One inetOrgPerson, who is named by nothing that a contact shows: a rename changes no contact."""

    branch: str
    number: int

    @property
    def uid(self) -> str:
        """The login."""
        return f"{self.branch}.{self.number:02}"

    @property
    def dn(self) -> str:
        """Where the entry stands while nobody moves it."""
        return f"cn={self.uid},ou={UNITS[self.number % len(UNITS)]},{base(self.branch)}"

    @property
    def entry_uuid(self) -> str:
        """The same in every server and every drill, so that whoever comes back is the same person."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.uid}.drill.example.com"))

    def attributes(self) -> dict[str, str]:
        """As they stand in the directory."""
        return {
            "cn": self.uid,
            "uid": self.uid,
            "givenName": _GIVEN[self.number % len(_GIVEN)],
            "sn": _FAMILY[self.number % len(_FAMILY)],
            "mail": f"{self.uid}@example.com",
            "employeeNumber": f"{self.branch}-{self.number}",
            "telephoneNumber": f"+1 555 010 {1000 + self.number}",
        }


def base(branch: str) -> str:
    """The base of a source."""
    return f"ou={branch},{ROOT}"


def outside(branch: str) -> str:
    """A unit that is readable like everything else, and in the base of no source."""
    return f"ou={branch},{_OUTSIDE}"


def reader(branch: str) -> str:
    """The account that a source binds as."""
    return f"cn={branch},{READERS}"


def people(branch: str) -> list[Person]:
    """Everyone in a branch."""
    return [Person(branch, number) for number in range(POPULATION)]


def ldif(branches: Iterable[str], password: str, *, lacking: int = 0, directory: str = "drill") -> str:
    """A directory with these branches, each without so many of its last people.

    Keys are given, not left to the server: two servers with the same directory are replicas.
    """
    lines = list(_frame())
    for branch in branches:
        units = [base(branch), *(f"ou={unit},{base(branch)}" for unit in UNITS)]
        for unit in units:
            key = uuid.uuid5(uuid.NAMESPACE_DNS, f"{unit} of {directory}")
            lines += _entry(unit, "organizationalUnit", {"entryUUID": str(key)})
        lines += _entry(outside(branch), "organizationalUnit", {})
        account = {"cn": branch, "userPassword": password}
        lines += _entry(reader(branch), "organizationalRole", account, "simpleSecurityObject")
        for person in people(branch)[: POPULATION - lacking]:
            lines += _entry(person.dn, "inetOrgPerson", person.attributes() | {"entryUUID": person.entry_uuid})
    return "\n".join(lines)


def _frame() -> Iterator[str]:
    yield from _entry(ROOT, "organization", {"o": "Drill", "dc": "example"}, "dcObject")
    for unit in (READERS, _OUTSIDE):
        yield from _entry(unit, "organizationalUnit", {})
    for group in LIMITED:
        yield from _entry(group, "groupOfNames", {"member": READERS})


def _entry(dn: str, object_class: str, attributes: Mapping[str, str], *more: str) -> Iterator[str]:
    yield f"dn: {dn}"
    yield from (f"objectClass: {name}" for name in (object_class, *more))
    for name, value in attributes.items():
        yield f"{name}: {value}" if value.isascii() else f"{name}:: {base64.b64encode(value.encode()).decode()}"
    yield ""


FEW, FEW_PAGES = LIMITED = (f"cn=few,{ROOT}", f"cn=few-pages,{ROOT}")
"""Groups whose members are answered no more than half a branch: in a search, or in all pages of one."""

HIDDEN, NO_PHONE, NO_KEY = "hidden", "no-phone", "no-key"
"""Descriptions of entries that readers are denied: the whole of it, its number, its key."""

_HALF = POPULATION // 2

ACCESS = f"""\
access to attrs=userPassword by anonymous auth by * none
access to filter="(description={HIDDEN})" by dn.children="{READERS}" none by * break
access to filter="(description={NO_PHONE})" attrs=telephoneNumber by dn.children="{READERS}" none by * break
access to filter="(description={NO_KEY})" attrs=entryUUID by dn.children="{READERS}" none by * break
access to dn.regex="(^|,)ou=south,ou=[^,]+,{ROOT}$" by dn.children="{READERS}" read by * none
access to * by * read
limits group="{FEW}" size.soft={_HALF} size.hard={_HALF} size.prtotal={_HALF}
limits group="{FEW_PAGES}" size.soft=unlimited size.hard=unlimited size.prtotal={_HALF}
"""
"""What slapd's settings say of rights and limits. Rights and limits are lost by changing entries and groups, so that
neither the server nor the account is another one afterwards. Who is nobody may read one unit of each branch: whoever
takes a refused bind for a bind reads half of it.
"""
