"""Work in a process of its own: what comes back from it, and that none is left behind."""

import asyncio
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
    PlanMoved,
    SettingsError,
    SourceBusy,
    StoreUnavailable,
    SyncdError,
)
from syncd.settings import load
from syncd.system.worker import WorkDied, Worker

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child finds the functions of this file, wherever the tests were started."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def throw(error: Exception) -> None:
    raise error


def shout() -> str:
    print("a library prints", flush=True)
    os.write(1, b"a C library prints")
    return "result"


def forbidden() -> object:
    return lambda: None  # cannot be pickled


def meet(folder: Path, mine: str, other: str) -> bool:
    """Leave a mark, then wait for the other's."""
    (folder / mine).touch()
    for _ in range(2000):
        if (folder / other).exists():
            return True
        time.sleep(0.05)
    return False


def marked(folder: Path) -> None:
    """Leave the process id, then take for ever."""
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    time.sleep(600)


def result_of(function: Callable[..., Any], *arguments: object) -> Any:
    async def scene() -> Any:
        return await (await Worker.start(function, *arguments)).result()

    return asyncio.run(scene())


def during(folder: Path, act: Callable[[Worker, "asyncio.Task[Any]", int], object]) -> int:
    """Do something to a worker that is at work, wait for its end, and return the process id it had."""

    async def scene() -> int:
        worker = await Worker.start(marked, folder)
        waiting = asyncio.create_task(worker.result())
        async with asyncio.timeout(120):
            while not (folder / "pid").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
            pid = int((folder / "pid").read_text())
            act(worker, waiting, pid)
            await waiting
        return pid

    return asyncio.run(scene())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_result_comes_back() -> None:
    """Arguments go in, the value comes out, and it was another process in a session of its own."""
    assert result_of(divmod, 17, 5) == (3, 2)
    assert result_of(os.getsid, 0) != os.getsid(0)


@pytest.mark.parametrize("value", [None, False, 0, ""])
def test_an_empty_result_is_a_result(value: object) -> None:
    """Nothing is not the same as no answer."""
    assert result_of(next, iter([value])) is value


def test_a_large_result_comes_back_whole() -> None:
    """Megabytes both ways do not stall a pipe."""
    large = os.urandom(3_000_000)

    assert result_of(bytes.__add__, large, large) == large + large


def test_workers_run_beside_each_other(tmp_path: Path) -> None:
    """Two sources sync at the same time: each of these ends only when it has met the other."""

    async def scene() -> list[bool]:
        workers = [await Worker.start(meet, tmp_path, mine, other) for mine, other in (("a", "b"), ("b", "a"))]
        return await asyncio.gather(*(worker.result() for worker in workers))

    assert asyncio.run(scene()) == [True, True]


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
    """Class, sentence and everything an error carries survive the way between processes."""
    with pytest.raises(type(error)) as caught:
        result_of(throw, error)

    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_an_error_of_our_own_code_in_the_child(tmp_path: Path) -> None:
    """Not only errors that were made by hand."""
    with pytest.raises(SettingsError, match="cannot be read: No such file") as caught:
        result_of(load, tmp_path / "syncd.toml")

    assert len(caught.value.problems) == 1


def test_every_error_can_be_sent() -> None:
    """An error class added tomorrow is sent too, or named here."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SyncdError)]
    assert len(classes) > 10
    for one in classes:
        special = {
            SettingsError: (["x: y"],), MissingPrivilege: ("x", "y"), PlanMoved: ("x", ["y"]),
            errors.TooManyFailures: (1.5,), errors.NotNow: ("x", 7),
        }  # fmt: skip
        named = {errors.WrongPassword: {"known": True}}
        made = one(*special.get(one, ("x",)), **named.get(one, {}))
        sent = pickle.loads(pickle.dumps(made))

        assert (type(sent), str(sent), vars(sent)) == (one, str(made), vars(made))


def test_an_unexpected_exception_is_told_with_its_traceback() -> None:
    """A defect in one run ends that run, and says where it is."""
    with pytest.raises(WorkDied) as caught:
        result_of(throw, KeyError("entryUUID"))

    assert "Traceback (most recent call last)" in str(caught.value)
    assert "in throw" in str(caught.value)
    assert "KeyError: 'entryUUID'" in str(caught.value)


def test_a_result_that_cannot_be_sent_is_told() -> None:
    """The defect is reported with its traceback, not as an unexplained end."""
    with pytest.raises(WorkDied, match="pickle"):
        result_of(forbidden)


def test_arguments_that_cannot_be_sent_start_nothing() -> None:
    """The mistake is the caller's, and no process is left waiting for it."""
    before = children()

    with pytest.raises((AttributeError, TypeError), match="pickle"):
        result_of(print, (number for number in range(3)))

    assert children() <= before


def children() -> set[str]:
    """The process ids of our children."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_what_the_work_prints_is_no_part_of_its_result(capfd: pytest.CaptureFixture[str]) -> None:
    """A chatty library cannot corrupt the answer; its words go to stderr."""
    assert result_of(shout) == "result"
    assert "a library prints" in capfd.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 3])
def test_an_end_without_a_result_is_told(status: int) -> None:
    """A process that ends itself, even with status 0, has done nothing that we know of."""
    with pytest.raises(WorkDied, match=f"^ended with status {status} and without a result$"):
        result_of(os._exit, status)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_process_is_told_with_its_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Out of memory, an operator's kill, a crash in a C library: the run is lost, the signal is named."""
    with pytest.raises(WorkDied, match=f"^killed by {number.name}$"):
        during(tmp_path, lambda _worker, _waiting, pid: os.kill(pid, number))

    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="signals without a name are Linux's")
def test_a_signal_without_a_name_is_told_by_its_number(tmp_path: Path) -> None:
    """There are more signals than names."""
    with pytest.raises(WorkDied, match=r"^killed by signal 40$"):
        during(tmp_path, lambda _worker, _waiting, pid: os.kill(pid, 40))


def test_stop_ends_the_process(tmp_path: Path) -> None:
    """Whoever waits for the result learns it, and the process is gone."""
    with pytest.raises(WorkDied, match=r"^killed by SIGKILL$"):
        during(tmp_path, lambda worker, _waiting, _pid: worker.stop())

    assert not alive(int((tmp_path / "pid").read_text()))


def test_stop_after_the_end_is_nothing() -> None:
    """The end may come between the decision to stop and the stop."""

    async def scene() -> str:
        worker = await Worker.start(str, 5)
        made = await worker.result()
        worker.stop()
        return str(made)

    assert asyncio.run(scene()) == "5"


def test_a_cancelled_wait_ends_the_process(tmp_path: Path) -> None:
    """No orphan goes on writing for a daemon that no longer waits for it."""
    with pytest.raises(asyncio.CancelledError):
        during(tmp_path, lambda _worker, waiting, _pid: waiting.cancel())

    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_process_whose_time_is_over_is_ended(tmp_path: Path) -> None:
    """A run that hangs does not hang for ever: it is told, and no process is left."""

    async def scene() -> None:
        worker = await Worker.start(marked, tmp_path)
        with pytest.raises(WorkDied, match="has not come to an end within 5 s and was ended"):
            await worker.result(5)

    asyncio.run(scene())

    assert not (tmp_path / "pid").exists() or not alive(int((tmp_path / "pid").read_text()))
