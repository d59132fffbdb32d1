"""What can go wrong with a read: one exception that carries what the evidence has to say about it."""

import re

from ldap3.core.results import RESULT_CODES

from syncd.core.sync.record import Shortfall
from syncd.sources.ldap import ber

# result code -> shortfall code and next step
_RESULTS = {
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
_ANOTHER_SERVER_MAY_DO_BETTER = {51, 52}


# RFC 4511 appendix A
_BINDS = {
    7: "choose another bind: the server does not know this way",
    8: 'use tls = "ldaps" or "starttls": the server takes no bind in clear',
    13: 'use tls = "ldaps" or "starttls": the server takes no bind in clear',
}
# MS-ADTS section 3.1.1.3.1.5 sends the Win32 error of a logon in the words behind result 49
_LOGONS = {
    "525": "correct bind_dn: the server knows no such account",
    "52e": "correct the password file of the source, or bind_dn",
    "530": "the account may not sign in at this time; widen its hours",
    "531": "the account may not sign in from this machine; allow it",
    "532": "the account's password has expired; set a new one that does not",
    "533": "the account is disabled; enable it",
    "701": "the account has expired; renew it",
    "773": "the account must change its password first; set one without that demand",
    "775": "the account is locked out; unlock it and find out who tries wrong passwords",
}


def bind_remedy(code: int, words: str) -> str:
    """What to do when a bind was refused with this result code and these words of the server."""
    logon = re.search(r"\bdata ([0-9a-f]{3})\b", words)
    step = _LOGONS.get(logon[1]) if logon else _BINDS.get(code)
    return step or "check bind, bind_dn and the password file of the source"


class Fault(Exception):
    """The end of a read, or of one way to open it. Never leaves the package: a Fault becomes a Shortfall.

    `code` is stable, `what` says what happened, `step` what an operator does next, `elsewhere` whether another server
    may do better, `result` the result code (RFC 4511 appendix A) of a bind that was refused.
    """

    def __init__(self, code: str, what: str, step: str, *, elsewhere: bool = False, result: int = 0) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.step = step
        self.elsewhere = elsewhere
        self.result = result

    def shortfall(self, where: str) -> Shortfall:
        """The same for the evidence; `where` is the server and how far the read had come."""
        return Shortfall(self.code, f"{where}: {self.what}; {self.step}")


def result_name(code: int) -> str:
    """A result code with its name (RFC 4511 appendix A), as operators look for it."""
    return f"{code} {RESULT_CODES.get(code, 'unknown')}"


def result_fault(result: ber.Result) -> Fault | None:
    """Why a search did not succeed; None when it did."""
    if result.code == 0:
        return None
    code, step = _RESULTS.get(result.code, ("result", "look up the code and the server's log"))
    what = f"the server ended the search with code {result_name(result.code)}"
    if result.message:
        what += f": {result.message}"
    if result.referrals:
        what += f" (to {', '.join(result.referrals)})"
    return Fault(code, what, step, elsewhere=result.code in _ANOTHER_SERVER_MAY_DO_BETTER)


def malformed(error: ber.Malformed) -> Fault:
    """The fault for bytes that are no LDAP."""
    return Fault(
        "malformed",
        f"the server sent bytes that are no LDAP message ({error})",
        "check that the URL leads to an LDAP server and that ldaps:// and ldap:// are not mixed up",
        elsewhere=True,
    )
