"""Worker processes: results and errors, and no process left behind."""

import asyncio
import json
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd import errors
from syncd.errors import (
    InvalidParameter,
    MissingPrivilege,
    PlanOutdated,
    SettingsError,
    SourceBusy,
    StoreUnavailable,
    SyncdError,
)
from syncd.settings import load
from syncd.system.worker import Worker, WorkerFailed

ROOT = Path(__file__).parents[2]
MEMORY_MIB = 256


@pytest.fixture(autouse=True)
def _python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child import the functions of this file from any working directory."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def raise_error(error: Exception) -> None:
    raise error


def print_and_return() -> str:
    print("a library prints", flush=True)
    os.write(1, b"a C library prints")
    return "result"


def unpicklable() -> object:
    return lambda: None  # cannot be pickled


def wait_for_other(folder: Path, own: str, other: str) -> bool:
    """Create a file, then wait for the file of another worker."""
    (folder / own).touch()
    for _ in range(2000):
        if (folder / other).exists():
            return True
        time.sleep(0.05)
    return False


def sleep_with_pid_file(folder: Path) -> None:
    """Write the process id to a file, then sleep."""
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    time.sleep(600)


def result_of(function: Callable[..., Any], *arguments: object) -> Any:
    async def main() -> Any:
        return await (await Worker.start(MEMORY_MIB, function, *arguments)).result()

    return asyncio.run(main())


def run_and_act(folder: Path, act: Callable[[Worker, "asyncio.Task[Any]", int], object]) -> int:
    """Act on a busy worker, wait for its end, and return its process id."""

    async def main() -> int:
        worker = await Worker.start(MEMORY_MIB, sleep_with_pid_file, folder)
        task = asyncio.create_task(worker.result())
        async with asyncio.timeout(120):
            while not (folder / "pid").exists():  # noqa: ASYNC110 - another process creates it
                await asyncio.sleep(0.02)
            pid = int((folder / "pid").read_text())
            act(worker, task, pid)
            await task
        return pid

    return asyncio.run(main())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_result_comes_back() -> None:
    """The value of a function in another process, which has a session of its own."""
    assert result_of(divmod, 17, 5) == (3, 2)
    assert result_of(os.getsid, 0) != os.getsid(0)


@pytest.mark.parametrize("value", [None, False, 0, ""])
def test_an_empty_result_is_a_result(value: object) -> None:
    """An empty value differs from a missing result."""
    assert result_of(next, iter([value])) is value


def test_a_large_result_comes_back_whole() -> None:
    """Megabytes in both directions do not block a pipe."""
    large = os.urandom(3_000_000)

    assert result_of(bytes.__add__, large, large) == large + large


def test_workers_run_at_the_same_time(tmp_path: Path) -> None:
    """Each of two workers ends only after it has seen the file of the other."""

    async def main() -> list[bool]:
        workers = [
            await Worker.start(MEMORY_MIB, wait_for_other, tmp_path, own, other)
            for own, other in (("a", "b"), ("b", "a"))
        ]
        results: list[bool] = await asyncio.gather(*(worker.result() for worker in workers))
        return results

    assert asyncio.run(main()) == [True, True]


@pytest.mark.parametrize(
    "error",
    [
        SourceBusy("another run holds 'corp'"),
        StoreUnavailable("the database does not answer"),
        InvalidParameter("no"),
        SettingsError(["a: first", "b: second"]),
        MissingPrivilege("the user may not create roles", "CREATE ROLE x;\nGRANT y;"),
    ],
)
def test_our_own_errors_are_raised_as_themselves(error: SyncdError) -> None:
    """Class, message and attributes of an error are equal in both processes."""
    with pytest.raises(type(error)) as caught:
        result_of(raise_error, error)

    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_an_error_of_our_own_code_in_the_child(tmp_path: Path) -> None:
    """An error that our code raises in the child, not in the test."""
    with pytest.raises(SettingsError, match="cannot be read: No such file") as caught:
        result_of(load, tmp_path / "syncd.toml")

    assert len(caught.value.problems) == 1


def test_every_error_can_be_sent() -> None:
    """A new error class can be pickled, or is listed here."""
    classes = [
        class_ for class_ in vars(errors).values() if isinstance(class_, type) and issubclass(class_, SyncdError)
    ]
    assert len(classes) > 10
    for class_ in classes:
        arguments: dict[type[SyncdError], tuple[Any, ...]] = {
            SettingsError: (["x: y"],), MissingPrivilege: ("x", "y"), PlanOutdated: ("x", ["y"]),
            errors.Throttled: (1.5,), errors.RetryLater: ("x", 7), errors.TooStale: ("x", 7),
        }  # fmt: skip
        keywords: dict[type[SyncdError], dict[str, Any]] = {errors.WrongPassword: {"known": True}}
        error = class_(*arguments.get(class_, ("x",)), **keywords.get(class_, {}))
        copy = pickle.loads(pickle.dumps(error))

        assert (type(copy), str(copy), vars(copy)) == (class_, str(error), vars(error))


def test_an_unexpected_exception_has_its_traceback() -> None:
    """A defect ends its run, and its position is in the traceback; its text may quote data of people."""
    with pytest.raises(WorkerFailed, match=r"^failed: KeyError$") as caught:
        result_of(raise_error, KeyError("Ada Lovelace"))

    assert caught.value.traceback.startswith("Traceback (most recent call last)")
    assert "in raise_error" in caught.value.traceback
    assert caught.value.traceback.endswith("\nKeyError\n")


def test_a_result_that_cannot_be_pickled_is_an_error() -> None:
    """The defect is reported with its traceback."""
    with pytest.raises(WorkerFailed) as caught:
        result_of(unpicklable)

    assert "pickle.dumps" in caught.value.traceback


def test_arguments_that_cannot_be_pickled_start_no_process() -> None:
    """The caller gets the error, and no process is left waiting."""
    before = children()

    with pytest.raises((AttributeError, TypeError), match="pickle"):
        result_of(print, (number for number in range(3)))

    assert children() <= before


def children() -> set[str]:
    """Return the process ids of our children."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_printed_output_is_not_part_of_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    """Output of a library cannot corrupt the result; it goes to stderr."""
    assert result_of(print_and_return) == "result"
    assert "a library prints" in capfd.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 3])
def test_an_end_without_a_result_is_an_error(status: int) -> None:
    """Also an exit with status 0."""
    with pytest.raises(WorkerFailed, match=f"^ended with status {status} and without a result$"):
        result_of(os._exit, status)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_process_is_reported_with_its_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Out of memory, an operator's kill, a crash in a C library: the message names the signal."""
    with pytest.raises(WorkerFailed, match=f"^was killed by {number.name}$"):
        run_and_act(tmp_path, lambda _worker, _task, pid: os.kill(pid, number))

    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="signals without a name exist on Linux only")
def test_a_signal_without_a_name_is_reported_by_its_number(tmp_path: Path) -> None:
    """Real-time signals have no name."""
    with pytest.raises(WorkerFailed, match=r"^was killed by signal 40$"):
        run_and_act(tmp_path, lambda _worker, _task, pid: os.kill(pid, 40))


def test_kill_ends_the_process(tmp_path: Path) -> None:
    """The wait for the result ends with an error."""
    with pytest.raises(WorkerFailed, match=r"^was killed by SIGKILL$"):
        run_and_act(tmp_path, lambda worker, _task, _pid: worker.kill())

    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_kill_after_the_end_has_no_effect() -> None:
    """The process may end between the decision and the kill."""

    async def main() -> str:
        worker = await Worker.start(MEMORY_MIB, str, 5)
        result = await worker.result()
        worker.kill()
        return str(result)

    assert asyncio.run(main()) == "5"


def test_a_cancelled_wait_ends_the_process(tmp_path: Path) -> None:
    """No orphan continues to write."""
    with pytest.raises(asyncio.CancelledError):
        run_and_act(tmp_path, lambda _worker, task, _pid: task.cancel())

    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_process_is_killed_at_its_time_limit(tmp_path: Path) -> None:
    """The wait ends with an error, and no process is left."""

    async def main() -> None:
        worker = await Worker.start(MEMORY_MIB, sleep_with_pid_file, tmp_path)
        with pytest.raises(WorkerFailed, match="did not end within 5 s and was killed"):
            await worker.result(5)

    asyncio.run(main())

    assert not (tmp_path / "pid").exists() or not is_alive(int((tmp_path / "pid").read_text()))


def allocate(mebibytes: int) -> int:
    """Return the bytes that could be allocated, in pieces as a parser would."""
    return sum(map(len, [bytes(2**20) for _ in range(mebibytes)]))


def test_memory_is_limited() -> None:
    """A process that needs more ends with a sentence; another one is not affected."""
    with pytest.raises(WorkerFailed, match=f"^needed more memory than {MEMORY_MIB} MiB; raise worker.memory_mib$"):
        result_of(allocate, MEMORY_MIB)

    assert result_of(allocate, MEMORY_MIB // 4) == MEMORY_MIB // 4 * 2**20


def read_oom_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def test_the_kernel_kills_a_worker_before_the_daemon() -> None:
    """When the memory of the machine or of the service ends (proc(5))."""
    assert result_of(read_oom_score) > read_oom_score()


def log_of_library(name: str) -> None:
    logging.getLogger("some.library").warning("ignored %s", ValueError(name))


def test_warnings_of_libraries_are_events_without_data(capfd: pytest.CaptureFixture[str]) -> None:
    """The log of a worker has the form of the daemon's."""
    result_of(log_of_library, "Ada Lovelace")

    assert json.loads(capfd.readouterr().err)["message"] == "ignored ValueError"
