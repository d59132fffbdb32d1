"""Lifecycle of a synced contact: active -> missing -> removed -> purged."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Periods of the states of a contact that its source no longer has."""

    grace: timedelta
    """Minimum time as missing before the contact is removed; `grace_runs` must have passed as well."""
    grace_runs: int
    """Minimum number of complete runs without the contact before it is removed."""
    serve_missing: bool
    """Whether missing contacts are served."""
    retention: timedelta
    """Time from removed to purged. A contact that reappears before it is purged keeps its id."""

    @property
    def is_immediate(self) -> bool:
        """Whether there is no grace: the first run without an entry removes its contact."""
        return not self.grace and self.grace_runs <= 1
