"""The demonstration, started the way README says and used the way it says itself."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.demo.bootstrap import CHECKOUT
from syncd.demo.people import people
from tests.scripted_ldap import wait_until

LAST_LINE = re.compile(r"Ctrl-C stops everything and removes (\S+)\.")


class Demo:
    """The running demonstration and all that it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def await_line(self, pattern: re.Pattern[str], seconds: float = 120) -> re.Match[str]:
        """The first line from now on in which the pattern is found."""
        limit = time.monotonic() + seconds
        while True:
            line = self._lines.get(timeout=max(limit - time.monotonic(), 0.01))
            assert line is not None, "it ended:\n" + "".join(self.said)
            self.said.append(line)
            found = pattern.search(line)
            if found:
                return found

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self._ear.join(60)

    def curl_lines(self) -> list[str]:
        return [line.strip() for line in self.said if line.startswith("  curl ")]


@contextmanager
def started(*arguments: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd.demo", *arguments], cwd=CHECKOUT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    demo = Demo(process)
    try:
        yield demo
    finally:
        demo.stop()


def descendants(ancestor: int) -> set[int]:
    """Every living process below this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(folder.name)] = int(parent)
    found: set[int] = set()
    below = {ancestor}
    while below:
        below = {pid for pid, parent in parents.items() if parent in below}
        found |= below
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def shell(line: str) -> Any:
    """The answer to a line that the reader is told to paste."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def eventually(line: str, wanted: Any, seconds: float = 60) -> Any:
    """The answer as soon as it is as wanted."""
    limit = time.monotonic() + seconds
    while not wanted(answer := shell(line)):
        assert time.monotonic() < limit, answer
        time.sleep(0.2)
    return answer


@pytest.mark.timeout(600)
def test_the_demonstration_keeps_its_word() -> None:
    """Every printed line does what it says; an edit arrives; Ctrl-C leaves no process and no folder."""
    with started() as demo:
        folder = Path(demo.await_line(LAST_LINE)[1])
        three, zoe, queues, create, refused, health = demo.curl_lines()

        assert shell(three)["totalCount"] == len(people()) + 4 + 1
        assert len(shell(three)["contacts"]) == 3
        assert {contact["firstName"] for contact in shell(zoe)["contacts"]} == {"Zoë"}
        assert [contact["name"] for contact in shell(queues)["contacts"]] == [
            "Kundendienst München", "Sales East", "Sales West", "Web Chat",
        ]  # fmt: skip
        assert shell(create)["statusCode"] == 0
        assert shell(refused)["statusCode"] == 3
        assert shell(health)["status"] == "ok"
        (plan,) = [line for line in demo.said if line.endswith(" plan\n")]
        subprocess.run(["bash", "-c", plan], cwd="/", capture_output=True, check=True, timeout=120)

        file = folder / "queues.toml"
        assert str(file) in "".join(demo.said)
        text = file.read_text("utf-8")
        file.write_text(text.replace("Sales West", "Sales North"), "utf-8")
        eventually(queues, lambda answer: "Sales North" in {contact["name"] for contact in answer["contacts"]})
        file.write_text(text.replace('"Web Chat"', '"Web Chat'), "utf-8")
        demo.await_line(re.compile(r"sync\.incomplete"))
        assert shell(queues)["totalCount"] >= 4
        assert shell(three)["totalCount"] >= len(people()) + 4 + 2

        everything = descendants(demo.process.pid)
        assert len(everything) > 3
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(120) == 0

    assert not folder.exists()
    wait_until(lambda: not any(alive(pid) for pid in everything))


@pytest.mark.timeout(400)
def test_a_part_that_fails_is_told(server_folder: Path) -> None:
    """With its own words, a status that is not 0, and nothing left behind."""
    folder = server_folder / "demo-that-fails"
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "syncd.demo", "--port", str(taken.getsockname()[1])], cwd=CHECKOUT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=240, check=False,
            env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip

    assert done.returncode == 1
    assert "the daemon ended by itself with status" in done.stdout
    assert "Traceback" not in done.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.timeout(400)
def test_ctrl_c_works_where_a_shell_has_switched_it_off() -> None:
    """A background job of a script begins with SIGINT ignored; the demonstration listens to it all the same."""
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with started() as demo:
            folder = Path(demo.await_line(LAST_LINE)[1])
            demo.process.send_signal(signal.SIGINT)
            assert demo.process.wait(120) == 0
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert not folder.exists()
