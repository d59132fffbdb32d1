"""The demonstration, started as README says, and the commands that it prints."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.demo.bootstrap import CHECKOUT
from syncd.demo.people import people
from tests.waiting import wait_until

LAST_LINE = re.compile(r"Ctrl-C stops everything and removes (\S+)\.")


class Demo:
    """The process of the demonstration and its output so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for_line(self, pattern: re.Pattern[str], seconds: float = 120) -> re.Match[str]:
        """Wait for the next line that contains the pattern."""
        limit = time.monotonic() + seconds
        while True:
            line = self._lines.get(timeout=max(limit - time.monotonic(), 0.01))
            assert line is not None, "it ended:\n" + "".join(self.output)
            self.output.append(line)
            match = pattern.search(line)
            if match:
                return match

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self._reader.join(60)

    def curl_commands(self) -> list[str]:
        return [line.strip() for line in self.output if line.startswith("  curl ")]


@contextmanager
def run_demo(*arguments: str) -> Iterator[Demo]:
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
    """Return the ids of all living descendants of a process."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(folder.name)] = int(parent)
    pids: set[int] = set()
    generation = {ancestor}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        pids |= generation
    return pids


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_in_shell(command: str) -> Any:
    """Run a printed command; return its parsed JSON output."""
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(result.stdout)


def wait_for_output(command: str, condition: Callable[[Any], bool], seconds: float = 60) -> None:
    """Run a printed command until its output meets the condition."""
    limit = time.monotonic() + seconds
    while not condition(output := run_in_shell(command)):
        assert time.monotonic() < limit, output
        time.sleep(0.2)


@pytest.mark.timeout(600)
def test_printed_commands_work() -> None:
    """Every printed command works; an edited queue is served; Ctrl-C leaves no process and no folder."""
    with run_demo() as demo:
        folder = Path(demo.wait_for_line(LAST_LINE)[1])
        three, zoe, queues, create, rejected, health = demo.curl_commands()

        assert run_in_shell(three)["totalCount"] == len(people()) + 4 + 1
        assert len(run_in_shell(three)["contacts"]) == 3
        assert {contact["firstName"] for contact in run_in_shell(zoe)["contacts"]} == {"Zoë"}
        assert [contact["name"] for contact in run_in_shell(queues)["contacts"]] == [
            "Kundendienst München", "Sales East", "Sales West", "Web Chat",
        ]  # fmt: skip
        assert run_in_shell(create)["statusCode"] == 0
        assert run_in_shell(rejected)["statusCode"] == 3
        assert run_in_shell(health)["status"] == "ok"
        (plan,) = [line for line in demo.output if line.endswith(" plan\n")]
        subprocess.run(["bash", "-c", plan], cwd="/", capture_output=True, check=True, timeout=120)

        file = folder / "queues.toml"
        assert str(file) in "".join(demo.output)
        text = file.read_text("utf-8")
        file.write_text(text.replace("Sales West", "Sales North"), "utf-8")
        wait_for_output(queues, lambda answer: "Sales North" in {contact["name"] for contact in answer["contacts"]})
        file.write_text(text.replace('"Web Chat"', '"Web Chat'), "utf-8")
        demo.wait_for_line(re.compile(r"sync\.incomplete"))
        assert run_in_shell(queues)["totalCount"] >= 4
        assert run_in_shell(three)["totalCount"] >= len(people()) + 4 + 2

        pids = descendants(demo.process.pid)
        assert len(pids) > 3
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(120) == 0

    assert not folder.exists()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.timeout(400)
def test_failed_start_is_reported(server_folder: Path) -> None:
    """With the log of the daemon and exit status 1; nothing is left behind."""
    folder = server_folder / "demo-that-fails"
    folder.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        result = subprocess.run(
            [sys.executable, "-m", "syncd.demo", "--port", str(listener.getsockname()[1])], cwd=CHECKOUT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=240, check=False,
            env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip

    assert result.returncode == 1
    assert "the daemon ended by itself with status" in result.stdout
    assert "Traceback" not in result.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.timeout(400)
def test_ctrl_c_ends_a_background_job() -> None:
    """A background job of a script starts with SIGINT ignored; the demonstration handles the signal all the same."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with run_demo() as demo:
            folder = Path(demo.wait_for_line(LAST_LINE)[1])
            demo.process.send_signal(signal.SIGINT)
            assert demo.process.wait(120) == 0
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not folder.exists()
