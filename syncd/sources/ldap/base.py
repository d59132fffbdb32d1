"""The base of a source as its server has it: by what entries are identified there, and which directory it is."""

import re
from typing import NamedTuple

from syncd.settings import LdapSource
from syncd.sources.ldap import ber
from syncd.sources.ldap.entries import OBJECT_GUID, Decoder, Names
from syncd.sources.ldap.errors import Fault, malformed, result_fault
from syncd.sources.ldap.session import Session

# 389-ds has an entryUUID on some versions only, but always its own nsUniqueId; AD has neither of the standard ones. The
# one that only one kind of server has is the one this server keeps for sure.
KEYS = (OBJECT_GUID, "nsuniqueid", "entryuuid")
"""Attributes that a server gives each entry for ever, most server-specific first."""

# RFC 4514: a comma that belongs to a value has a backslash before it
_RDN = re.compile(r"(?:\\.|[^,\\])+", re.DOTALL)


class Base(NamedTuple):
    """The base entry."""

    dn: str
    """As the server spells it, and so as the names of the entries below it end."""
    key_attribute: str
    """The attribute that identifies entries, in lower case."""
    directory: str
    """See `Evidence.directory`; its own key, if the key attribute is one of `KEYS`."""


def read_base(session: Session, settings: LdapSource) -> Base:
    """The base of the source; that it can be read is what makes an empty result below it credible. Raises Fault."""
    configured = settings.key.lower()
    page = session.entry(settings.base, list(KEYS))
    fault = result_fault(page.result)
    if fault is not None:
        raise fault
    if len(page.fresh) != 1:
        raise Fault(
            "base", f"the base {settings.base!r} cannot be read", "let the bind DN read it, or correct the base"
        )
    digest, op = page.fresh[0]
    present = _attributes(op)
    wanted = (configured,) if configured in KEYS else KEYS
    immutable = next((key for key in wanted if present.get(key)), "")
    if not immutable and configured == "auto":
        raise Fault(
            "key",
            f"the base {settings.base!r} has none of {', '.join(KEYS)}, by which entries are identified",
            "let the bind DN read it, or name an attribute that never changes as the source's key",
        )
    entry = Decoder(immutable, frozenset(), b"", lambda _dn, _name: {}).decode(digest, op)
    return Base(entry.place, immutable if configured == "auto" else configured, entry.key or "")


def naming_context(session: Session, dn: str) -> str:
    """The top of the tree that holds this entry (RFC 4512 section 5.1), or the entry where the server tells none."""
    page = session.entry("", ["namingContexts", "defaultNamingContext"])
    if page.result.code != 0 or not page.fresh:
        return dn
    told = [
        context.decode("utf-8", "backslashreplace") for raw in _attributes(page.fresh[0][1]).values() for context in raw
    ]
    return max((context for context in told if lies_within(dn, context, "subtree")), key=_depth, default=dn)


def lies_within(dn: str, base: str, scope: str) -> bool:
    """Whether a search from this base with this scope gets to the entry; both names as one server spells them."""
    entry, top = _rdns(dn), _rdns(base)
    below = len(entry) - len(top)
    deep_enough = {"subtree": below >= 0, "onelevel": below == 1, "base": below == 0}
    return deep_enough[scope] and entry[below:] == top


def _depth(dn: str) -> int:
    return len(_rdns(dn))


def _rdns(dn: str) -> list[str]:
    return [part.strip().lower() for part in _RDN.findall(dn)]


def _attributes(op: bytes) -> dict[str, list[bytes]]:
    try:
        return Names().fold(ber.entry(op)[1])
    except ber.Malformed as error:
        raise malformed(error) from None
