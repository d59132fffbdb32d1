"""A branch of the private directory, changed over LDAP as its administrator does, and put back as it was."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import ldap3

from syncd.demo.servers import Slapd
from syncd.drill.people import Person, base, outside, people, reader

_RELAX = ("1.3.6.1.4.1.4203.666.5.12", True, None)
"""OpenLDAP's control by which an administrator gives an entry its key, as a restore from a backup does."""
_MANAGE_REFERRALS = ("2.16.840.1.113730.3.4.2", True, None)
"""RFC 3296: the referral itself is meant, not where it leads."""


class Branch:
    """One fault's part of the directory. Each change leaves its contrary in `undo`."""

    def __init__(self, slapd: Slapd, name: str, undo: ExitStack) -> None:
        self.base = base(name)
        self.reader = reader(name)
        self.outside = outside(name)
        self.people = people(name)
        self._undo = undo
        # the stubs leave most of its methods without types
        self._connection: Any = ldap3.Connection(
            ldap3.Server(slapd.url, get_info=ldap3.NONE), slapd.root_dn, slapd.password, auto_bind=True,
            check_names=False, raise_exceptions=True, receive_timeout=60,
        )  # fmt: skip

    def close(self) -> None:
        """End the connection."""
        self._connection.unbind()

    def change(self, dn: str, **values: Any) -> None:
        """Replace the values of attributes; an empty list removes one."""
        self._connection.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(values))
        found = self._connection.response[0]["raw_attributes"]
        before = {name: found.get(name, []) for name in values}
        self._replace(dn, values)
        self._undo.callback(self._replace, dn, before)

    def _replace(self, dn: str, values: dict[str, Any]) -> None:
        replaced = {
            name: [(ldap3.MODIFY_REPLACE, value if isinstance(value, list) else [value])]
            for name, value in values.items()
        }
        self._connection.modify(dn, replaced)

    def describe(self, whom: Iterable[Person], description: str) -> None:
        """Give entries a description, which is what access rules go by."""
        for person in whom:
            self.change(person.dn, description=description)

    def join(self, group: str) -> None:
        """Make the reader of this branch a member of a group."""
        self._member(group, ldap3.MODIFY_ADD)
        self._undo.callback(self._member, group, ldap3.MODIFY_DELETE)

    def _member(self, group: str, how: str) -> None:
        self._connection.modify(group, {"member": [(how, [self.reader])]})

    def leave(self, *whom: Person) -> None:
        """Delete people; they come back with their keys."""
        for person in whom:
            self._connection.delete(person.dn)
            self._undo.callback(self.add, person.dn, **person.attributes(), entryUUID=person.entry_uuid)

    def add(self, dn: str, **attributes: str) -> None:
        """Add a person."""
        self._connection.add(dn, "inetOrgPerson", attributes, controls=[_RELAX])

    def add_for_now(self, dn: str, **attributes: str) -> None:
        """Add a person who goes again."""
        self.add(dn, **attributes)
        self._undo.callback(self._connection.delete, dn)

    def move(self, dn: str, parent: str) -> str:
        """Move an entry with all that is below it; its new DN."""
        rdn, _, old = dn.partition(",")
        moved = self._rename(dn, rdn, parent)
        self._undo.callback(self._rename, moved, rdn, old)
        return moved

    def _rename(self, dn: str, rdn: str, parent: str) -> str:
        self._connection.modify_dn(dn, rdn, new_superior=parent)
        return f"{rdn},{parent}"

    def refer(self, dn: str, url: str) -> None:
        """Put a referral where an entry was (RFC 3296)."""
        self._connection.add(dn, ["referral", "extensibleObject"], {"ref": url}, controls=[_MANAGE_REFERRALS])
        self._undo.callback(self._connection.delete, dn, controls=[_MANAGE_REFERRALS])

    def storm(self, whom: Iterable[Person], units: tuple[str, ...], calm: Callable[[], bool]) -> int:
        """Rename and move people from unit to unit, again and again until it is calm; how often."""
        places = {person: person.dn for person in whom}
        count = 0
        try:
            while not calm():
                for person, dn in places.items():
                    count += 1
                    places[person] = self._rename(dn, f"cn={person.uid} {count}", f"ou={units[count % 2]},{self.base}")
                    if calm():
                        break
        finally:
            for person, dn in places.items():
                self._rename(dn, f"cn={person.uid}", person.dn.partition(",")[2])
        return count
