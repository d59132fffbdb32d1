"""The people of the drill and their LDIF: each fault has its own subtree, so that faults can run concurrently."""

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
class DrillPerson:
    """One inetOrgPerson. No contact member is mapped from its `cn`, so a rename changes no contact."""

    subtree: str
    number: int

    @property
    def uid(self) -> str:
        """The login."""
        return f"{self.subtree}.{self.number:02}"

    @property
    def dn(self) -> str:
        """The DN before any move."""
        return f"cn={self.uid},ou={UNITS[self.number % len(UNITS)]},{subtree_base(self.subtree)}"

    @property
    def entry_uuid(self) -> str:
        """The key; the same in every server and every drill, so that a restored entry is the same person."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.uid}.drill.example.com"))

    def attributes(self) -> dict[str, str]:
        """Return the attributes of the entry, without object class and key."""
        return {
            "cn": self.uid,
            "uid": self.uid,
            "givenName": _GIVEN[self.number % len(_GIVEN)],
            "sn": _FAMILY[self.number % len(_FAMILY)],
            "mail": f"{self.uid}@example.com",
            "employeeNumber": f"{self.subtree}-{self.number}",
            "telephoneNumber": f"+1 555 010 {1000 + self.number}",
        }


def subtree_base(subtree: str) -> str:
    """Return the DN that is the base of the source."""
    return f"ou={subtree},{ROOT}"


def outside_unit(subtree: str) -> str:
    """Return the DN of a unit that the reader may read and that is below the base of no source."""
    return f"ou={subtree},{_OUTSIDE}"


def reader_dn(subtree: str) -> str:
    """Return the DN of the account that the source binds as."""
    return f"cn={subtree},{READERS}"


def people(subtree: str) -> list[DrillPerson]:
    """Return all people of a subtree."""
    return [DrillPerson(subtree, number) for number in range(POPULATION)]


def ldif(subtrees: Iterable[str], password: str, *, omit_last: int = 0, directory: str = "drill") -> str:
    """Return the LDIF of a directory with these subtrees, each without its last `omit_last` people.

    Keys are given and not made by the server: two servers with the same `directory` name are replicas.
    """
    lines = list(_top_entries())
    for subtree in subtrees:
        base = subtree_base(subtree)
        for unit in (base, *(f"ou={name},{base}" for name in UNITS)):
            key = uuid.uuid5(uuid.NAMESPACE_DNS, f"{unit} of {directory}")
            lines += _format_entry(unit, "organizationalUnit", {"entryUUID": str(key)})
        lines += _format_entry(outside_unit(subtree), "organizationalUnit", {})
        account = {"cn": subtree, "userPassword": password}
        lines += _format_entry(reader_dn(subtree), "organizationalRole", account, "simpleSecurityObject")
        for person in people(subtree)[: POPULATION - omit_last]:
            attributes = person.attributes() | {"entryUUID": person.entry_uuid}
            lines += _format_entry(person.dn, "inetOrgPerson", attributes)
    return "\n".join(lines)


def _top_entries() -> Iterator[str]:
    yield from _format_entry(ROOT, "organization", {"o": "Drill", "dc": "example"}, "dcObject")
    for unit in (READERS, _OUTSIDE):
        yield from _format_entry(unit, "organizationalUnit", {})
    for group in LIMITED_GROUPS:
        yield from _format_entry(group, "groupOfNames", {"member": READERS})


def _format_entry(dn: str, object_class: str, attributes: Mapping[str, str], *more_classes: str) -> Iterator[str]:
    yield f"dn: {dn}"
    yield from (f"objectClass: {name}" for name in (object_class, *more_classes))
    for name, value in attributes.items():
        yield f"{name}: {value}" if value.isascii() else f"{name}:: {base64.b64encode(value.encode()).decode()}"
    yield ""


SIZE_LIMITED, TOTAL_LIMITED = LIMITED_GROUPS = (f"cn=few,{ROOT}", f"cn=few-pages,{ROOT}")
"""Groups whose members receive at most half a subtree: from a search, or from all pages of a search."""

HIDDEN, NO_PHONE, NO_KEY = "hidden", "no-phone", "no-key"
"""Values of `description` that deny readers the whole entry, its number or its key."""

_HALF = POPULATION // 2

ACCESS = f"""\
access to attrs=userPassword by anonymous auth by * none
access to filter="(description={HIDDEN})" by dn.children="{READERS}" none by * break
access to filter="(description={NO_PHONE})" attrs=telephoneNumber by dn.children="{READERS}" none by * break
access to filter="(description={NO_KEY})" attrs=entryUUID by dn.children="{READERS}" none by * break
access to dn.regex="(^|,)ou=south,ou=[^,]+,{ROOT}$" by dn.children="{READERS}" read by * none
access to * by * read
limits group="{SIZE_LIMITED}" size.soft={_HALF} size.hard={_HALF} size.prtotal={_HALF}
limits group="{TOTAL_LIMITED}" size.soft=unlimited size.hard=unlimited size.prtotal={_HALF}
"""
"""Access rules and limits of slapd.conf. A fault loses rights or meets limits through a changed entry or group, so that
server and account stay the same. Anonymous clients may not read one unit of each subtree: a client that takes a refused
bind for a successful one reads half of the subtree.
"""
