"""The resident memory of a daemon, sampled."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.daemon_process import DaemonProcess


def memory_growth(daemon: DaemonProcess, work: Callable[[], None]) -> float:
    """Return the highest growth of the daemon's memory while a function runs, in MB."""
    before = daemon.resident_kib()
    peaks = [before]
    with sampling(daemon, peaks):
        work()
        peaks.append(daemon.resident_kib())
    return (max(peaks) - before) / 1024


@contextmanager
def sampling(daemon: DaemonProcess, peaks: list[int]) -> Iterator[None]:
    """Append the daemon's memory, in KiB, every ten milliseconds."""
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(0.01):
            peaks.append(daemon.resident_kib())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
