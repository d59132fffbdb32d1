"""`python -m tests.benchmarks [--entries N] [--rounds N] [--large N]`: reading and whole runs, side by side.

Every table is the median of rounds in which all contestants take their turn, so that a machine that is slower for a
minute is slower for all of them. Ratios are to `ldapsearch` in the same rounds, which reads the same entries and
attributes in the same pages and writes them to a file: the floor of what a client can do that keeps what it reads.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.rig import Rig, rig

FLOOR = "ldapsearch"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=500_000, help="entries of the second memory measurement; 0: none")
    parser.add_argument("--stock-rounds", type=int, default=2, help="rounds of ldap3's own slow reader")
    arguments = parser.parse_args()
    with rig(arguments.entries) as running:
        running.fresh_database()
        reading(running, arguments.rounds, arguments.stock_rounds)
        small = runs(running, arguments.rounds)
    if arguments.large:
        memory(arguments.entries, small, arguments.large)


def reading(running: Rig, rounds: int, stock_rounds: int) -> None:
    """Reading alone: our reader, with and without known digests, against other clients."""
    names = ["ours, recognising", "ours, decoding"]
    if importlib.util.find_spec("ldap") is not None:
        names.append("python-ldap")
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        note(seconds, FLOOR, floor(running))
        for name in [*names, *(["ldap3 paged_search"] if number < stock_rounds else [])]:
            note(seconds, name, contest(running, name)["seconds"])
    show("reading, seconds", seconds)
    ours = median(seconds["ours, decoding"])
    for name in ("ldap3 paged_search", "python-ldap"):
        if name in seconds:
            print(f"{name} takes {median(seconds[name]) / ours:.2f} times as long as ours, decoding")
        else:
            print(f"{name}: not installed, not measured (pip install python-ldap needs its C headers)")


def runs(running: Rig, rounds: int) -> dict[str, float]:
    """Whole runs, from opening connections to the commit; return the peak memory of each kind."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    every_hundredth = range(0, running.count, 100)
    kinds: dict[str, Callable[[int], object]] = {
        "first load": lambda _: running.fresh_database(),
        "nothing changed": lambda _: None,
        "1 % changed": lambda number: running.modify(every_hundredth, str(number)),
    }
    for number in range(rounds):
        for kind, prepare in kinds.items():
            prepare(number)
            note(seconds, FLOOR, floor(running))
            found = contest(running, "whole run")
            note(seconds, kind, found["seconds"])
            peaks[kind] = max(peaks.get(kind, 0), found["peak"])
        note(seconds, "nothing changed, as a command", timed(lambda: running.syncd("sync", "corp")))
    show(f"whole run of {running.count:,} entries, seconds", seconds)
    print_peaks(running.count, peaks)
    return peaks


def memory(small_count: int, small: dict[str, float], count: int) -> None:
    """Peak memory of a worker at another size, and what each further entry costs."""
    peaks: dict[str, float] = {}
    with rig(count) as running:
        running.fresh_database()
        for kind in ("first load", "nothing changed"):
            peaks[kind] = contest(running, "whole run")["peak"]
    print_peaks(count, peaks)
    for kind, peak in peaks.items():
        print(f"{kind}: {(peak - small[kind]) / (count - small_count):.0f} bytes for each further entry")


def floor(running: Rig) -> float:
    """Seconds of ldapsearch."""
    with (running.folder / "ldapsearch.out").open("wb") as out:
        return timed(lambda: subprocess.run(running.ldapsearch(), stdout=out, check=True))


def contest(running: Rig, name: str) -> dict[str, float]:
    """Seconds and peak memory of one contestant in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.contestants", name, str(running.settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    if found["entries"] != running.count:
        raise RuntimeError(f"{name} read {found['entries']} entries instead of {running.count}")
    return found


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def note(seconds: dict[str, list[float]], name: str, value: float) -> None:
    seconds.setdefault(name, []).append(value)


def show(title: str, seconds: dict[str, list[float]]) -> None:
    """A row for each contestant: median, least and most, and the ratio to the floor."""
    table = Table("", "median", "min", "max", f"x {FLOOR}", title=title)
    base = median(seconds[FLOOR])
    for name, values in seconds.items():
        cells: Iterable[float] = (median(values), min(values), max(values), median(values) / base)
        table.add_row(name, *(f"{value:.2f}" for value in cells))
    Console().print(table)


def print_peaks(count: int, peaks: dict[str, float]) -> None:
    for kind, peak in peaks.items():
        print(f"worker's peak memory, {count:,} entries, {kind}: {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
