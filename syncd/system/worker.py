"""A process of its own for one piece of work: its processor time and memory never weigh on the daemon's loop.

The parent writes a pickled (function, arguments) to the child's stdin and reads the pickled result from its stdout.
A child that is killed loses only its own work. It sits in a session of its own, so that Ctrl-C on a terminal reaches
the daemon alone, which decides what becomes of it.
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


class WorkDied(Exception):
    """The process ended without a result; the text says by which signal, or with which traceback."""


class Worker:
    """One running process. `result` waits for it, `stop` ends it early."""

    def __init__(self, process: asyncio.subprocess.Process, work: bytes) -> None:
        self._process = process
        self._work = work

    @classmethod
    async def start(cls, function: Callable[..., Any], *arguments: object) -> "Worker":
        """Start a process for function(*arguments); all of them, and the result, must be picklable."""
        work = pickle.dumps((function, arguments))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd.system.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        return cls(process, work)

    async def result(self, within: float | None = None) -> Any:
        """What the function returned. Raises what it raised of our own errors, else WorkDied.

        Whoever cancels the waiting ends the process too, and so does the end of the time, in seconds.
        """
        try:
            async with asyncio.timeout(within):
                answer, _ = await self._process.communicate(self._work)
        except TimeoutError:
            await self._end()
            raise WorkDied(f"has not come to an end within {within:g} s and was ended") from None
        except asyncio.CancelledError:
            await self._end()
            raise
        if self._process.returncode != 0 or not answer:
            raise WorkDied(self._last_words())
        value = pickle.loads(answer)  # noqa: S301 - written by our own child
        if isinstance(value, SyncdError | WorkDied):
            raise value
        return value

    def _last_words(self) -> str:
        code = self._process.returncode or 0
        if code >= 0:
            return f"ended with status {code} and without a result"
        known = {number.value: number.name for number in signal.Signals}
        return f"killed by {known.get(-code, f'signal {-code}')}"

    async def _end(self) -> None:
        self.stop()
        await self._process.communicate()

    def stop(self) -> None:
        """End it now. Its open transaction is rolled back by the database."""
        if self._process.returncode is None:
            self._process.kill()


def main() -> None:
    """The child's side."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever the work prints is no part of its result
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    try:
        result = pickle.dumps(function(*arguments))
    except SyncdError as error:
        result = pickle.dumps(error)
    except Exception:  # noqa: BLE001 - the boundary of one run: the daemon logs the traceback and goes on
        result = pickle.dumps(WorkDied(traceback.format_exc()))
    with answer:
        answer.write(result)


if __name__ == "__main__":
    from syncd.system.worker import main as _main  # the module under its own name, so that WorkDied is one class

    _main()
