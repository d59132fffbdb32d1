"""Password checks by LDAP bind, in threads, with a cache of the results.

The cache holds no password, only keyed hashes (BLAKE2b); the key is random and ends with the process.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from syncd.core.contacts.models import Identity
from syncd.errors import AuthenticationUnavailable, WrongPassword
from syncd.observability import log

MAX_CONCURRENT = 8
"""Maximum of concurrent checks; the caller of `PasswordChecker.check` enforces it."""
_CHECK_TIMEOUT = 20.0
"""Seconds for one check. The LDAP operations have shorter timeouts; only name resolution can hang for longer."""
_RETRY_DELAY = 5.0
"""Seconds after a failed connection in which checks fail at once instead of waiting for the server."""
_THROTTLE_KEY = "sign-in"
"""Subject of the throttled log events."""
_MAX_ENTRIES = 10_000
"""Maximum of cached acceptances, and of cached rejections; the least recently used ones are dropped."""


class _Accepted(NamedTuple):
    """Cached acceptance of a name."""

    digest: bytes
    """32 bytes over name and password."""
    identity: Identity
    at: float
    """Time of the check, on the monotonic clock."""


class PasswordChecker:
    """Checks names and passwords, and caches the results.

    `bind` is the blocking check, see `sources.ldap.authentication`. `cache_ttl` is the number of seconds for which a
    result is valid without another check. `offline_ttl` is the number of seconds for which an accepted password stays
    valid while the server cannot be reached.
    """

    def __init__(self, bind: Callable[[str, str], Identity], cache_ttl: float, offline_ttl: float) -> None:
        self._bind = bind
        self._cache_ttl = cache_ttl
        self._offline_ttl = offline_ttl
        self._key = secrets.token_bytes(32)
        self._accepted: OrderedDict[str, _Accepted] = OrderedDict()
        self._rejected: OrderedDict[bytes, float] = OrderedDict()
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="sign-in")
        self._outage: str | None = None
        self._next_attempt = 0.0

    def close(self) -> None:
        """Drop pending checks; running ones end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def find_cached(self, name: str, password: str) -> Identity | None:
        """Return the cached identity for this name and password; None when absent or older than `cache_ttl`."""
        cached = self._find_acceptance(name, password)
        return cached.identity if cached and time.monotonic() - cached.at < self._cache_ttl else None

    def recently_accepted(self, name: str, password: str) -> bool:
        """Tell whether the last check of this name accepted this password, at any age: then it is no guess."""
        return self._find_acceptance(name, password) is not None

    def recently_rejected(self, name: str, password: str) -> float | None:
        """Return the seconds until a rejected password may be checked again; None when it was not rejected before."""
        rejected_at = self._rejected.get(self._digest(name, password))
        return None if rejected_at is None else max(0.0, rejected_at + self._cache_ttl - time.monotonic())

    async def check(self, name: str, password: str) -> tuple[Identity, bool]:
        """Check a password now; return the identity, and True if it is from the cache because no server answered.

        Raises WrongPassword. Raises AuthenticationUnavailable when no server answered and there is no cached
        acceptance younger than `offline_ttl`.
        """
        try:
            identity = await self._check_by_bind(name, password)
        except WrongPassword:
            self._cache_rejection(name, password)
            raise
        except AuthenticationUnavailable:
            cached = self._find_acceptance(name, password)
            if cached is None or time.monotonic() - cached.at > self._offline_ttl:
                raise
            return cached.identity, True
        self._cache_acceptance(name, password, identity)
        return identity, False

    async def _check_by_bind(self, name: str, password: str) -> Identity:
        now = time.monotonic()
        if self._outage is not None and now < self._next_attempt:
            raise AuthenticationUnavailable(self._outage)
        # other checks fail at once while this one finds out whether the server is back
        self._next_attempt = now + _CHECK_TIMEOUT
        result = asyncio.get_running_loop().run_in_executor(self._threads, self._bind, name, password)
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                identity = await result
        except WrongPassword:
            self._report_contact()
            raise
        except AuthenticationUnavailable as error:
            self._report_outage(error.reason)
            raise
        except TimeoutError:
            self._report_outage(why := f"no answer within {_CHECK_TIMEOUT:g} s")
            raise AuthenticationUnavailable(why) from None
        self._report_contact()
        for group in identity.missing_groups:
            log.emit_throttled(log.AUTH_GROUP_MISSING, f"group {group}", "", group=group)
        return identity

    def _report_outage(self, why: str) -> None:
        log.emit_throttled(log.AUTH_UNAVAILABLE, _THROTTLE_KEY, why)
        self._outage, self._next_attempt = why, time.monotonic() + _RETRY_DELAY

    def _report_contact(self) -> None:
        self._outage = None
        recovered = log.recovered(_THROTTLE_KEY)
        if recovered is not None:
            log.emit(log.AUTH_RESTORED, seconds=round(recovered.seconds, 1))

    def _digest(self, name: str, password: str) -> bytes:
        credentials = f"{len(name)}:{name}{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(credentials, key=self._key, digest_size=32).digest()

    def _find_acceptance(self, name: str, password: str) -> _Accepted | None:
        cached = self._accepted.get(name)
        if cached is None or not hmac.compare_digest(cached.digest, self._digest(name, password)):
            return None
        self._accepted.move_to_end(name)
        return cached

    def _cache_acceptance(self, name: str, password: str, identity: Identity) -> None:
        """Store the only valid password of a name; it replaces an older one."""
        digest = self._digest(name, password)
        self._rejected.pop(digest, None)
        self._accepted[name] = _Accepted(digest, identity, time.monotonic())
        self._accepted.move_to_end(name)
        if len(self._accepted) > _MAX_ENTRIES:
            self._accepted.popitem(last=False)

    def _cache_rejection(self, name: str, password: str) -> None:
        digest = self._digest(name, password)
        if self._find_acceptance(name, password) is not None:
            del self._accepted[name]
        self._rejected[digest] = time.monotonic()
        self._rejected.move_to_end(digest)
        if len(self._rejected) > _MAX_ENTRIES:
            self._rejected.popitem(last=False)
