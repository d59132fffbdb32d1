"""Worker processes: one process for one piece of work, whose CPU time and memory do not burden the event loop.

The parent writes a pickled (function, arguments) to the child's stdin and reads the pickled result from its stdout.
A child that is killed loses only its own work. It has a session of its own, so that Ctrl-C on a terminal reaches only
the daemon, which decides about its workers.
"""

import asyncio
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from syncd.errors import SyncdError

T = TypeVar("T")


class WorkerFailed(Exception):
    """A process that ended without a result; the text holds its exit status, signal or traceback."""


class Worker:
    """A running process. `result` waits for it, `kill` ends it early."""

    def __init__(self, process: asyncio.subprocess.Process, pickled_call: bytes) -> None:
        self._process = process
        self._pickled_call = pickled_call

    @classmethod
    async def start(cls, function: Callable[..., Any], *arguments: object) -> "Worker":
        """Start a process for function(*arguments); all of them, and the result, must be picklable."""
        pickled_call = pickle.dumps((function, arguments))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd.system.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        return cls(process, pickled_call)

    async def result(self, time_limit: float | None = None) -> Any:
        """Wait for the function and return its result; the time limit is in seconds.

        The process is killed at the time limit and when the wait is cancelled.
        Raises the SyncdError that the function raised; WorkerFailed for any other end without a result.
        """
        try:
            async with asyncio.timeout(time_limit):
                answer, _ = await self._process.communicate(self._pickled_call)
        except TimeoutError:
            await self._kill_and_wait()
            raise WorkerFailed(f"did not end within {time_limit:g} s and was killed") from None
        except asyncio.CancelledError:
            await self._kill_and_wait()
            raise
        if self._process.returncode != 0 or not answer:
            raise WorkerFailed(self._exit_reason())
        value = pickle.loads(answer)  # noqa: S301 - written by our own child
        if isinstance(value, SyncdError | WorkerFailed):
            raise value
        return value

    def _exit_reason(self) -> str:
        code = self._process.returncode or 0
        if code >= 0:
            return f"ended with status {code} and without a result"
        names = {number.value: number.name for number in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"

    async def _kill_and_wait(self) -> None:
        self.kill()
        await self._process.communicate()

    def kill(self) -> None:
        """Kill the process now; the database rolls back its open transaction."""
        if self._process.returncode is None:
            self._process.kill()


def main() -> None:
    """Run the function in the child process and write its pickled result to stdout."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of the function is not part of its result
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    try:
        result = pickle.dumps(function(*arguments))
    except SyncdError as error:
        result = pickle.dumps(error)
    except Exception:  # noqa: BLE001 - boundary of one run: the daemon logs the traceback and continues
        result = pickle.dumps(WorkerFailed(traceback.format_exc()))
    with answer:
        answer.write(result)


if __name__ == "__main__":
    from syncd.system.worker import main as _main  # by the module's own name, so that WorkerFailed is one class

    _main()
