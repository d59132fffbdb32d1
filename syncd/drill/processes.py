"""The processes of the drill: each is the real command line, in a session of its own, and none outlives the drill."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from syncd.errors import SyncdError

PATIENCE = 120.0
"""Seconds until something that is sure to happen must have happened; only a defect makes anybody wait so long."""


class DrillFailed(SyncdError):
    """A part of the drill itself did not do what it should."""


class Stopped(Exception):
    """The drill is being stopped; whoever waits for something waits no longer."""


class Ended(NamedTuple):
    """A command that has come to its end."""

    status: int
    out: str
    err: str


class Processes:
    """Starts commands and remembers them, so that all can be ended at once."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []

    def start(self, settings: Path, *words: str, log: Path | None = None) -> subprocess.Popen[str]:
        """Start a syncd command; what it says goes to the log, or to pipes where there is none."""
        sink = subprocess.PIPE if log is None else log.open("a")
        # our environment without settings of the reader's own, which would win over the drill's
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        with self._lock:
            if self.stopping.is_set():
                raise Stopped
            process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "--config", str(settings), *words],
                stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, text=True, env=surroundings, start_new_session=True,
            )  # fmt: skip
            self._running.append(process)
        if not isinstance(sink, int):
            sink.close()
        return process

    def end(self, process: subprocess.Popen[str], seconds: float = PATIENCE) -> Ended:
        """Wait for a command's end. Raises DrillFailed when it does not come."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            raise DrillFailed(f"{process.args!r} did not end within {seconds:g} s") from None
        finally:
            with self._lock:
                self._running.remove(process)
        if self.stopping.is_set():
            raise Stopped
        return Ended(process.returncode, out or "", err or "")

    def run(self, settings: Path, *words: str) -> Ended:
        """One command to its end, whatever its status."""
        return self.end(self.start(settings, *words))

    def done(self, settings: Path, *words: str) -> str:
        """What a command says on stdout. Raises DrillFailed with its words when it fails."""
        return self.succeeded(self.start(settings, *words))

    def succeeded(self, process: subprocess.Popen[str]) -> str:
        """The same for a command that was started."""
        ended = self.end(process)
        if ended.status:
            words = f"{process.args!r} ended with status {ended.status}"
            raise DrillFailed(f"{words}:\n{ended.out}{ended.err}")
        return ended.out

    def until(self, true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return when something has become true. Raises DrillFailed when it does not in time."""
        limit = time.monotonic() + seconds
        while not true():
            if self.stopping.wait(0.02):
                raise Stopped
            if time.monotonic() > limit:
                raise DrillFailed(f"waited {seconds:g} s in vain until {what}")

    def stop(self) -> None:
        """End all of them now, and start no more."""
        with self._lock:
            self.stopping.set()
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End it, with whatever it has started, even if it is stopped."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
