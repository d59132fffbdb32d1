"""The syncd processes of the drill: each is the real command line in a session of its own and ends with the drill."""

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

WAIT_TIMEOUT = 120.0
"""Seconds until an expected event must have occurred; only a defect lets a wait take so long."""


class DrillFailed(SyncdError):
    """The drill itself failed: a command, a wait or a fault name."""


class DrillStopped(Exception):
    """The drill is being stopped, therefore every wait ends."""


class CommandResult(NamedTuple):
    """Exit status and output of a command; the output is empty if it went to a log file."""

    status: int
    stdout: str
    stderr: str


class Processes:
    """Starts commands and can kill all running ones."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []

    def start(self, settings: Path, *arguments: str, log: Path | None = None) -> subprocess.Popen[str]:
        """Start a syncd command; its output goes to the log file, or to pipes without one. Raises: DrillStopped."""
        sink = subprocess.PIPE if log is None else log.open("a")
        # SYNCD_* variables of the caller would override the settings of the drill
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        with self._lock:
            if self.stopping.is_set():
                raise DrillStopped
            process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "--config", str(settings), *arguments], stdout=sink, stderr=sink,
                stdin=subprocess.DEVNULL, text=True, env=environment, start_new_session=True,
            )  # fmt: skip
            self._running.append(process)
        if not isinstance(sink, int):
            sink.close()
        return process

    def wait(self, process: subprocess.Popen[str], seconds: float = WAIT_TIMEOUT) -> CommandResult:
        """Wait for the end of a command. Raises: DrillFailed after the timeout, DrillStopped."""
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            raise DrillFailed(f"{process.args!r} did not end within {seconds:g} s") from None
        finally:
            with self._lock:
                self._running.remove(process)
        if self.stopping.is_set():
            raise DrillStopped
        return CommandResult(process.returncode, stdout or "", stderr or "")

    def run(self, settings: Path, *arguments: str) -> CommandResult:
        """Run a command to its end, whatever its exit status. Raises: DrillFailed after the timeout, DrillStopped."""
        return self.wait(self.start(settings, *arguments))

    def check_output(self, settings: Path, *arguments: str) -> str:
        """Run a command; return its stdout. Raises: DrillFailed with its output if it fails, DrillStopped."""
        return self.wait_success(self.start(settings, *arguments))

    def wait_success(self, process: subprocess.Popen[str]) -> str:
        """Wait for a started command; return its stdout. Raises: as `check_output`."""
        result = self.wait(process)
        if result.status:
            message = f"{process.args!r} ended with status {result.status}"
            raise DrillFailed(f"{message}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def wait_until(self, condition: Callable[[], bool], description: str, seconds: float = WAIT_TIMEOUT) -> None:
        """Poll a condition until it is true. Raises: DrillFailed after the timeout, DrillStopped."""
        limit = time.monotonic() + seconds
        while not condition():
            if self.stopping.wait(0.02):
                raise DrillStopped
            if time.monotonic() > limit:
                raise DrillFailed(f"timeout after {seconds:g} s, waiting for: {description}")

    def stop(self) -> None:
        """Kill all running commands and refuse to start more."""
        with self._lock:
            self.stopping.set()
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the process group of a command, also if the command is stopped (SIGSTOP)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
