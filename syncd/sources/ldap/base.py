"""The base entry of a source: its DN, the key attribute of its directory, the directory's identity; DN comparison."""

import re
from typing import NamedTuple

from syncd.settings import LdapSource
from syncd.sources.ldap.entries import OBJECT_GUID, Decoder, parse_entry
from syncd.sources.ldap.errors import LdapFault, result_fault
from syncd.sources.ldap.session import Session

# 389-ds has an entryUUID on some versions only, but always its own nsUniqueId; AD has neither of the standard ones. A
# vendor's own attribute is therefore the most reliable one.
IMMUTABLE_KEYS = (OBJECT_GUID, "nsuniqueid", "entryuuid")
"""Attributes that never change during an entry's life, most server-specific first."""

# RFC 4514: a comma within a value is escaped by a backslash
_RDN = re.compile(r"(?:\\.|[^,\\]+)++", re.DOTALL)


class Base(NamedTuple):
    """The base entry."""

    dn: str
    """In the server's spelling, which is the suffix of the DNs of the entries below."""
    key_attribute: str
    """The attribute that identifies entries, in lower case."""
    directory: str
    """See `Evidence.directory`: the base entry's key, if the key attribute is one of `IMMUTABLE_KEYS`."""


def read_base(session: Session, settings: LdapSource) -> Base:
    """Read the base entry of the source; only a readable base makes an empty result below it credible.

    Raises: LdapFault (base, key, and those of a search).
    """
    configured = settings.key.lower()
    page = session.read_entry(settings.base, list(IMMUTABLE_KEYS))
    fault = result_fault(page.result)
    if fault is not None:
        raise fault
    if len(page.unrecognized) != 1:
        raise LdapFault(
            "base", f"the base {settings.base!r} cannot be read", "let the bind DN read it, or correct the base"
        )
    digest, op = page.unrecognized[0]
    _, present = parse_entry(op)
    candidates = (configured,) if configured in IMMUTABLE_KEYS else IMMUTABLE_KEYS
    immutable = next((key for key in candidates if present.get(key)), "")
    if not immutable and configured == "auto":
        raise LdapFault(
            "key",
            f"the base {settings.base!r} has none of {', '.join(IMMUTABLE_KEYS)}, by which entries are identified",
            "let the bind DN read it, or name an attribute that never changes as the source's key",
        )
    entry = Decoder(immutable, frozenset(), b"", lambda _dn, _name: {}).decode(digest, op)
    return Base(entry.location, immutable if configured == "auto" else configured, entry.key or "")


def find_naming_context(session: Session, dn: str) -> str:
    """Return the naming context of an entry (RFC 4512 section 5.1); the entry itself if the server publishes none.

    Raises: LdapFault.
    """
    page = session.read_entry("", ["namingContexts", "defaultNamingContext"])
    if page.result.code != 0 or not page.unrecognized:
        return dn
    _, attributes = parse_entry(page.unrecognized[0][1])
    contexts = [value.decode("utf-8", "backslashreplace") for values in attributes.values() for value in values]
    return max((context for context in contexts if is_in_scope(dn, context, "subtree")), key=_count_rdns, default=dn)


def is_in_scope(dn: str, base: str, scope: str) -> bool:
    """Whether a search with this base and scope reaches the entry; both DNs in the spelling of one server."""
    entry_rdns, base_rdns = _split_rdns(dn), _split_rdns(base)
    depth = len(entry_rdns) - len(base_rdns)
    is_within_depth = {"subtree": depth >= 0, "onelevel": depth == 1, "base": depth == 0}
    return is_within_depth[scope] and entry_rdns[depth:] == base_rdns


def _count_rdns(dn: str) -> int:
    return len(_split_rdns(dn))


def _split_rdns(dn: str) -> list[str]:
    return [part.strip().lower() for part in _RDN.findall(dn)]
