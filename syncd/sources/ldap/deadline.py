"""Points in time that work must not pass."""

import time


class Deadline:
    """So many seconds from now, on a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self._at - time.monotonic()

    @property
    def passed(self) -> bool:
        """True when no time is left."""
        return self.remaining <= 0

    def within(self, seconds: float) -> "Deadline":
        """A deadline this many seconds from now, but never later than this one."""
        return Deadline(min(seconds, self.remaining))
