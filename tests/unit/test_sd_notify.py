"""Notifications to the service manager, received at a real socket; without one nothing fails."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.system.sd_notify import Notifier


@pytest.fixture(autouse=True)
def _without_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the service manager of the test run from the environment."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A datagram socket like that of systemd, by path and in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@syncd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        server.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


def receive(manager: socket.socket) -> str:
    return manager.recv(65536).decode()


def test_each_state_has_its_message(manager: socket.socket) -> None:
    """Ready, status, watchdog, reloading and stopping are one datagram each, in the form of sd_notify(3)."""
    notifier = Notifier()

    notifier.ready("7 contacts; corp completed")
    notifier.status("8 contacts")
    notifier.ping_watchdog()
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping()

    assert receive(manager) == "READY=1\nSTATUS=7 contacts; corp completed"
    assert receive(manager) == "STATUS=8 contacts"
    assert receive(manager) == "WATCHDOG=1"
    reloading, moment = receive(manager).split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(moment) <= time.monotonic_ns() // 1000
    assert receive(manager) == "STOPPING=1\nSTATUS=stopping"


def test_a_status_is_one_line(manager: socket.socket) -> None:
    """An error text of several lines adds no assignments, and invalid text is replaced."""
    Notifier().status("database lost: no answer\n  READY=1\n\tis it running? é \udc80")

    assert receive(manager) == "STATUS=database lost: no answer READY=1 is it running? é ?"


def test_without_a_manager_nothing_happens() -> None:
    """Started from a shell, the notifier sends nothing."""
    notifier = Notifier()

    notifier.ready("fine")
    notifier.stopping()

    assert notifier.watchdog_interval is None


def test_an_unreachable_manager_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing socket nor a message too large for a datagram raises an error."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "missing"))

    Notifier().ready("fine")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "missing"))
        Notifier().status("x" * 10_000_000)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(10)


def test_the_address_is_read_once(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the environment does not redirect the messages."""
    notifier = Notifier()
    monkeypatch.delenv("NOTIFY_SOCKET")

    notifier.ping_watchdog()

    assert receive(manager) == "WATCHDOG=1"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),  # meant for another process
        ("1000000", None, 0.5),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
        ("²", None, None),
    ],
)
def test_the_watchdog_interval_is_half_its_timeout(
    usec: str, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is None if the watchdog is for another process."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)

    assert Notifier().watchdog_interval == expected
