"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable

TIMEOUT = 60.0
"""Seconds; long enough for a busy machine."""


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Return when the condition is true. Raises AssertionError when it is not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it did not become true within {seconds:.0f} s")
        time.sleep(0.01)
