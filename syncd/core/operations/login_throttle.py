"""Exponential back-off after failed logins, per account or address. Times are seconds of a monotonic clock."""

from collections import OrderedDict
from dataclasses import dataclass

FREE_ATTEMPTS = 3
"""Number of failures without back-off, because passwords are mistyped."""
MAX_BACKOFF = 300.0
"""Maximum back-off, in seconds."""
FORGET_AFTER = 1800.0
"""Seconds after the last failure when all are forgotten; longer than the usual lockout window of an LDAP server."""
MAX_RECORDS = 10_000
"""Maximum of accounts or addresses in memory; the one with the oldest failure is evicted first."""


def backoff_seconds(failures: int) -> float:
    """Return the back-off after this number of failures: none, then 1 s, doubled by each further failure."""
    return 0.0 if failures < FREE_ATTEMPTS else min(MAX_BACKOFF, 2.0 ** min(failures - FREE_ATTEMPTS, 30))


@dataclass(slots=True)
class FailureRecord:
    """Failures of one account or address."""

    failures: int = 0
    last: float = 0.0
    """Time of the last failure."""
    rejected: int = 0
    """Number of attempts that were rejected unchecked since the last failure."""


class FailureThrottle:
    """Failures of many subjects: accounts or addresses."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max_records = max_records
        self._records: OrderedDict[str, FailureRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def check_wait(self, subject: str, now: float) -> float:
        """Return the seconds until the next attempt may be checked; 0 for now. Counts an attempt that has to wait."""
        record = self._find(subject, now)
        wait = max(0.0, record.last + backoff_seconds(record.failures) - now) if record else 0.0
        if record and wait:
            record.rejected += 1
        return wait

    def is_slowed(self, subject: str, now: float) -> bool:
        """Whether the free attempts are used up, even if the back-off is over."""
        record = self._find(subject, now)
        return record is not None and record.failures >= FREE_ATTEMPTS

    def record_failure(self, subject: str, now: float) -> FailureRecord:
        """Count a failure; return the failures with it, and the attempts that were rejected before it."""
        before = self._find(subject, now) or FailureRecord()
        after = FailureRecord(before.failures + 1, now, before.rejected)
        self._records[subject] = FailureRecord(after.failures, now)
        self._records.move_to_end(subject)
        if len(self._records) > self._max_records:
            self._records.popitem(last=False)
        return after

    def clear(self, subject: str) -> None:
        """Forget all failures of a subject."""
        self._records.pop(subject, None)

    def forgive_one(self, subject: str) -> None:
        """Forget one failure: among many clients of one address, a success makes up for a mistyped password."""
        record = self._records.get(subject)
        if record is not None:
            record.failures = max(0, record.failures - 1)

    def _find(self, subject: str, now: float) -> FailureRecord | None:
        record = self._records.get(subject)
        if record is not None and now - record.last >= FORGET_AFTER:
            del self._records[subject]
            return None
        return record
