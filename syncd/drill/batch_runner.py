"""The batch runner: several sources share one `syncd sync`, because starting a process costs more than a run.

A batch starts when every participant waits for a run or has left. It is split over two concurrent commands.
"""

import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from syncd.drill.environment import Environment
from syncd.drill.processes import CommandResult

_MAX_CONCURRENT = 2


class _Request:
    """One source that waits for its run."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self.finished = threading.Event()
        self.result: tuple[int, CommandResult] | BaseException | None = None


class BatchRunner:
    """Runs the sources of a number of participants, each a thread. A participant that needs no more runs must leave."""

    def __init__(self, environment: Environment, participants: int) -> None:
        self._environment = environment
        self._participants = participants
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self._count = 0

    def run(self, source: dict[str, Any]) -> tuple[int, CommandResult]:
        """Run a source with these settings in the next batch; return process id and result of the command.

        Raises: the error of the batch (DrillFailed, DrillStopped, OSError).
        """
        request = _Request(source)
        with self._lock:
            self._waiting.append(request)
            batch = self._take_batch()
        self._run_batch(batch)
        request.finished.wait()
        if request.result is None or isinstance(request.result, BaseException):
            raise request.result or RuntimeError("a batch ended without a result")
        return request.result

    def leave(self) -> None:
        """Remove one participant; this may start the batch of the others. Raises: as `run`."""
        with self._lock:
            self._participants -= 1
            batch = self._take_batch()
        self._run_batch(batch)

    def _take_batch(self) -> list[_Request]:
        """Take the waiting requests if all participants wait, else none."""
        if len(self._waiting) < self._participants:
            return []
        batch, self._waiting = self._waiting, []
        return batch

    def _run_batch(self, batch: Sequence[_Request]) -> None:
        """Run a batch in the thread of the last participant."""
        if not batch:
            return
        self._count += 1
        parts = [batch[number::_MAX_CONCURRENT] for number in range(min(_MAX_CONCURRENT, len(batch)))]
        try:
            started = [(part, self._start(part, number)) for number, part in enumerate(parts)]
            for part, process in started:
                result = self._environment.processes.wait(process)
                for request in part:
                    request.result = (process.pid, result)
        except BaseException as error:
            for request in batch:
                request.result = request.result or error
            raise
        finally:
            for request in batch:
                request.finished.set()

    def _start(self, part: Sequence[_Request], number: int) -> "subprocess.Popen[str]":
        sources = [request.source for request in part]
        settings = self._environment.write_settings(f"batch-{self._count}-{number}", sources)
        return self._environment.processes.start(settings, "sync")
