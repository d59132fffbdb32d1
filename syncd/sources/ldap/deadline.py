"""Time limits on the monotonic clock."""

import time


class Deadline:
    """A point in time, given in seconds from now; unaffected by changes of the system clock."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left; zero or less after the deadline."""
        return self._at - time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining <= 0

    def within(self, seconds: float) -> "Deadline":
        """Return a deadline this many seconds from now, but never later than this one."""
        return Deadline(min(seconds, self.remaining))
