"""Worker processes: one process for one piece of work, whose CPU time and memory do not burden the event loop.

The parent writes a pickled (function, arguments) to the child's stdin and reads the pickled result from its stdout.
A child that is killed loses only its own work. It has a session of its own, so that Ctrl-C on a terminal reaches only
the daemon, which decides about its workers. Its memory is limited (RLIMIT_DATA, setrlimit(2)), and when that of the
machine or the service ends, the kernel kills it before the daemon (oom_score_adj, proc(5)).
"""

import asyncio
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from syncd.core.operations.error_text import describe_error, format_traceback
from syncd.errors import SyncdError
from syncd.observability import log
from syncd.settings import Log

_OOM_SCORE_ADJUSTMENT = 500
"""Half of the machine's memory is added to that of a worker when the kernel compares processes."""


class WorkerFailed(Exception):
    """A process that ended without a result. The text has its exit status, signal or exception.

    `traceback` is that of an unexpected exception, else empty.
    """

    def __init__(self, reason: str, traceback: str = "") -> None:
        super().__init__(reason)
        self.traceback = traceback

    def __reduce__(self) -> tuple[type["WorkerFailed"], tuple[str, str]]:  # across processes
        return WorkerFailed, (str(self), self.traceback)


class Worker:
    """A running process. `result` waits for it, `kill` ends it early."""

    def __init__(self, process: asyncio.subprocess.Process, pickled_call: bytes) -> None:
        self._process = process
        self._pickled_call = pickled_call
        self.pid = process.pid

    @classmethod
    async def start(cls, memory_mib: int, function: Callable[..., Any], *arguments: object) -> "Worker":
        """Start a process for function(*arguments); all of them, and the result, must be picklable.

        `memory_mib` is the limit of its data in mebibytes.
        """
        pickled_call = pickle.dumps((function, arguments))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd.system.worker", str(memory_mib),
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
        return f"was killed by {names.get(-code, f'signal {-code}')}"

    async def _kill_and_wait(self) -> None:
        self.kill()
        await self._process.communicate()

    def kill(self) -> None:
        """Kill the process now; the database rolls back its open transaction."""
        if self._process.returncode is None:
            self._process.kill()


def main() -> None:
    """Run the function in the child process and write its pickled result to stdout."""
    memory_mib = int(sys.argv[1])
    _restrict(memory_mib)
    log.configure(Log(), sys.stderr)
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of the function is not part of its result
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    try:
        result = pickle.dumps(function(*arguments))
    except SyncdError as error:
        result = pickle.dumps(error)
    except MemoryError:
        result = pickle.dumps(WorkerFailed(f"needed more memory than {memory_mib} MiB; raise worker.memory_mib"))
    except Exception as error:  # noqa: BLE001 - boundary of one run: the daemon logs the traceback and continues
        result = pickle.dumps(WorkerFailed(f"failed: {describe_error(error)}", format_traceback(error)))
    with answer:
        answer.write(result)


def _restrict(memory_mib: int) -> None:
    """Limit the memory of this process, and let the kernel kill it before the daemon when there is none left."""
    _, maximum = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_mib * 2**20
    if maximum == resource.RLIM_INFINITY or limit < maximum:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(OSError):  # no /proc, or a lower value that only root may set
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJUSTMENT))


if __name__ == "__main__":
    from syncd.system.worker import main as _main  # by the module's own name, so that WorkerFailed is one class

    _main()
