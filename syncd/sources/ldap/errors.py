"""LDAP faults, result codes, and their remedies."""

import re

from ldap3.core.results import RESULT_CODES

from syncd.core.sync.record import IncompleteReason
from syncd.sources.ldap import ber

# result codes (RFC 4511 appendix A)
SIZE_LIMIT_EXCEEDED = 4
NO_SUCH_OBJECT = 32
BUSY_OR_UNAVAILABLE = {51, 52}

# result code -> code of the incomplete read, and remedy
_RESULT_REMEDIES = {
    3: ("time-limit", "raise the server's time limit for this bind DN"),
    4: ("size-limit", "raise the server's size limit for this bind DN, the one for all pages of a search included"),
    10: ("referral", "use the URL of the server that holds the base; referrals are not followed"),
    11: ("admin-limit", "raise the server's limits for this bind DN, or make page_size smaller"),
    12: ("paging-control", "allow paged results (RFC 2696) for this bind DN on the server"),
    32: ("base", "correct the source's base, or let the bind DN read it"),
    34: ("base", "correct the source's base: it is no DN"),
    51: ("result", "wait until the server is less busy"),
    52: ("result", "wait until the server is available again"),
}
# result code of a bind -> remedy
_BIND_REMEDIES = {
    7: "choose another bind: the server does not support this method",
    8: 'use tls = "ldaps" or "starttls": the server accepts no bind without encryption',
    13: 'use tls = "ldaps" or "starttls": the server accepts no bind without encryption',
}
# MS-ADTS section 3.1.1.3.1.5: the message of result 49 contains the Win32 error of the logon
_LOGON_REMEDIES = {
    "525": "correct bind_dn: the server knows no such account",
    "52e": "correct the password file of the source, or bind_dn",
    "530": "the account may not sign in at this time; widen its hours",
    "531": "the account may not sign in from this machine; allow it",
    "532": "the account's password has expired; set a new one that does not",
    "533": "the account is disabled; enable it",
    "701": "the account has expired; renew it",
    "773": "the account must change its password first; set one without that demand",
    "775": "the account is locked out; unlock it and find out which client tries wrong passwords",
}


def bind_remedy(code: int, server_message: str) -> str:
    """Return the remedy for a bind that was refused with this result code and server message."""
    logon = re.search(r"\bdata ([0-9a-f]{3})\b", server_message)
    remedy = _LOGON_REMEDIES.get(logon[1]) if logon else _BIND_REMEDIES.get(code)
    return remedy or "check bind, bind_dn and the password file of the source"


class LdapFault(Exception):
    """A failed operation on one server. Never leaves the package: it becomes a reason of an incomplete read.

    `code` is stable, `reason` says what happened, `remedy` is the operator's next step, `retry_other_server` tells
    whether another server may succeed, `result_code` (RFC 4511 appendix A) is set for a refused bind only.
    """

    def __init__(
        self, code: str, reason: str, remedy: str, *, retry_other_server: bool = False, result_code: int = 0
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.remedy = remedy
        self.retry_other_server = retry_other_server
        self.result_code = result_code

    def to_incomplete_reason(self, where: str) -> IncompleteReason:
        """Convert to a reason for the evidence; `where` is the server and the progress of the read."""
        return IncompleteReason(self.code, f"{where}: {self.reason}; {self.remedy}")


def result_name(code: int) -> str:
    """Return a result code with its name (RFC 4511 appendix A)."""
    return f"{code} {RESULT_CODES.get(code, 'unknown')}"


def result_fault(result: ber.LdapResult) -> LdapFault | None:
    """Return the fault of a failed search; None for a successful one."""
    if result.code == 0:
        return None
    code, remedy = _RESULT_REMEDIES.get(result.code, ("result", "look up the code and the server's log"))
    reason = f"the server ended the search with code {result_name(result.code)}"
    if result.message:
        reason += f": {result.message}"
    if result.referrals:
        reason += f" (to {', '.join(result.referrals)})"
    return LdapFault(code, reason, remedy, retry_other_server=result.code in BUSY_OR_UNAVAILABLE)


def malformed_fault(error: ber.Malformed) -> LdapFault:
    """Return the fault for bytes that are not an LDAP message."""
    return LdapFault(
        "malformed",
        f"the server sent bytes that are no LDAP message ({error})",
        "check that the URL leads to an LDAP server and that ldaps:// and ldap:// are not mixed up",
        retry_other_server=True,
    )
