"""Messages to the service manager: what arrives at a real socket, and that nothing fails without one."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.system.sd_notify import Notifier


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests is not told anything."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A datagram socket as systemd has one, by path and in the abstract name space."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@syncd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def received(manager: socket.socket) -> str:
    return manager.recv(65536).decode()


def test_each_moment_has_its_message(manager: socket.socket) -> None:
    """Ready, status, alive, reloading and stopping arrive as sd_notify(3) writes them, one datagram each."""
    notifier = Notifier()

    notifier.ready("7 contacts; corp completed")
    notifier.status("8 contacts")
    notifier.alive()
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping()

    assert received(manager) == "READY=1\nSTATUS=7 contacts; corp completed"
    assert received(manager) == "STATUS=8 contacts"
    assert received(manager) == "WATCHDOG=1"
    reloading, moment = received(manager).split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000
    assert received(manager) == "STOPPING=1\nSTATUS=stopping"


def test_a_status_is_one_line(manager: socket.socket) -> None:
    """An error text of several lines is not taken for further assignments, and odd text does not fail."""
    Notifier().status("database lost: no answer\n  READY=1\n\tis it running? é \udc80")

    assert received(manager) == "STATUS=database lost: no answer READY=1 is it running? é ?"


def test_without_a_manager_nothing_happens() -> None:
    """Started from a shell, there is nobody to tell."""
    notifier = Notifier()

    notifier.ready("fine")
    notifier.stopping()

    assert notifier.watchdog is None


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon serves on, whoever restarts the manager; so does it when the message is too large for a datagram."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    Notifier().ready("fine")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "nobody"))
        Notifier().status("x" * 10_000_000)
        deaf.setblocking(False)
        with pytest.raises(BlockingIOError):
            deaf.recv(10)


def test_the_address_is_that_of_the_start(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the environment are read once; a later change does not redirect the messages."""
    notifier = Notifier()
    monkeypatch.delenv("NOTIFY_SOCKET")

    notifier.alive()

    assert received(manager) == "WATCHDOG=1"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 15.0),
        ("30000000", "mine", 15.0),
        ("30000000", "1", None),  # meant for another process
        ("1000000", None, 0.5),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
        ("²", None, None),
    ],
)
def test_the_watchdog_is_pinged_twice_in_its_time(
    usec: str, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the time that the manager grants, if it is us whom it watches."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)

    assert Notifier().watchdog == expected
