"""The subtree of one fault in the private directory: changes over LDAP as administrator, and their reversal."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import ldap3

from syncd.demo.servers import Slapd
from syncd.drill.people import UNITS, DrillPerson, outside_unit, people, reader_dn, subtree_base

_RELAX = ("1.3.6.1.4.1.4203.666.5.12", True, None)
"""OpenLDAP's Relax Rules control: the administrator sets the key of an entry, as a restore from a backup does."""
_MANAGE_REFERRALS = ("2.16.840.1.113730.3.4.2", True, None)
"""ManageDsaIT (RFC 3296): the operation is on the referral object itself."""


class Subtree:
    """Subtree of one fault. Each change pushes its reversal on `undo`. Methods raise LDAPException of ldap3."""

    def __init__(self, slapd: Slapd, name: str, undo: ExitStack) -> None:
        self.base = subtree_base(name)
        self.reader_dn = reader_dn(name)
        self.outside_unit = outside_unit(name)
        self.people = people(name)
        self._undo = undo
        # the stubs of ldap3 lack the types of most methods
        self._connection: Any = ldap3.Connection(
            ldap3.Server(slapd.url, get_info=ldap3.NONE), slapd.root_dn, slapd.password, auto_bind=True,
            check_names=False, raise_exceptions=True, receive_timeout=60,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connection."""
        self._connection.unbind()

    def replace_attributes(self, dn: str, **values: Any) -> None:
        """Replace the values of attributes; an empty list removes the attribute."""
        self._connection.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(values))
        attributes = self._connection.response[0]["raw_attributes"]
        before = {name: attributes.get(name, []) for name in values}
        self._replace(dn, values)
        self._undo.callback(self._replace, dn, before)

    def _replace(self, dn: str, values: dict[str, Any]) -> None:
        changes = {
            name: [(ldap3.MODIFY_REPLACE, value if isinstance(value, list) else [value])]
            for name, value in values.items()
        }
        self._connection.modify(dn, changes)

    def set_description(self, entries: Iterable[DrillPerson], description: str) -> None:
        """Set the description of entries, which the access rules of `people.ACCESS` match."""
        for person in entries:
            self.replace_attributes(person.dn, description=description)

    def add_reader_to_group(self, group: str) -> None:
        """Add the reader of this subtree to a group."""
        self._modify_membership(group, ldap3.MODIFY_ADD)
        self._undo.callback(self._modify_membership, group, ldap3.MODIFY_DELETE)

    def _modify_membership(self, group: str, operation: str) -> None:
        self._connection.modify(group, {"member": [(operation, [self.reader_dn])]})

    def delete_people(self, *entries: DrillPerson) -> None:
        """Delete people; the reversal adds them with the same keys."""
        for person in entries:
            self._connection.delete(person.dn)
            self._undo.callback(self.add_person, person.dn, **person.attributes(), entryUUID=person.entry_uuid)

    def add_person(self, dn: str, **attributes: str) -> None:
        """Add a person, without a reversal."""
        self._connection.add(dn, "inetOrgPerson", attributes, controls=[_RELAX])

    def add_temporary_person(self, dn: str, **attributes: str) -> None:
        """Add a person; the reversal deletes the entry."""
        self.add_person(dn, **attributes)
        self._undo.callback(self._connection.delete, dn)

    def move_entry(self, dn: str, parent: str) -> str:
        """Move an entry with all entries below it; return its new DN."""
        rdn, _, old_parent = dn.partition(",")
        moved = self._rename(dn, rdn, parent)
        self._undo.callback(self._rename, moved, rdn, old_parent)
        return moved

    def _rename(self, dn: str, rdn: str, parent: str) -> str:
        self._connection.modify_dn(dn, rdn, new_superior=parent)
        return f"{rdn},{parent}"

    def add_referral(self, dn: str, url: str) -> None:
        """Add a referral object (RFC 3296) at the DN of an earlier entry."""
        self._connection.add(dn, ["referral", "extensibleObject"], {"ref": url}, controls=[_MANAGE_REFERRALS])
        self._undo.callback(self._connection.delete, dn, controls=[_MANAGE_REFERRALS])

    def rename_until(self, people: Iterable[DrillPerson], stop: Callable[[], bool]) -> int:
        """Rename people and move them between the units until `stop()`, then back; return the number of renames."""
        dns = {person: person.dn for person in people}
        count = 0
        try:
            while not stop():
                for person, dn in dns.items():
                    count += 1
                    dns[person] = self._rename(dn, f"cn={person.uid} {count}", f"ou={UNITS[count % 2]},{self.base}")
                    if stop():
                        break
        finally:
            for person, dn in dns.items():
                self._rename(dn, f"cn={person.uid}", person.dn.partition(",")[2])
        return count
