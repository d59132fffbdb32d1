"""The life of a synced contact: active -> missing -> removed -> purged."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How long somebody whom the source no longer has stays in the directory."""

    grace: timedelta
    """A missing contact is removed when it has been missing for so long …"""
    grace_runs: int
    """… and in so many runs that count, both."""
    shown: bool
    """Whether a missing contact is still served."""
    retention: timedelta
    """A removed contact is forgotten after so long; who returns before has the old id."""

    @property
    def immediate(self) -> bool:
        """True when there is no grace: the first run without an entry removes its contact."""
        return not self.grace and self.grace_runs <= 1
