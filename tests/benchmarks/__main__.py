"""`python -m tests.benchmarks [--entries N] [--rounds N] [--large N]`: reading and whole runs, side by side.

Every table has medians of rounds in which all contestants take turns, so that a slower machine is slower for all.
Ratios are to `ldapsearch` in the same rounds, which reads the same entries and attributes in the same pages and writes
them to a file: the lower bound for a client that stores its results.
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

from tests.benchmarks.rig import Rig, start_rig

FLOOR = "ldapsearch"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=500_000, help="entries of the second memory measurement; 0: none")
    parser.add_argument("--stock-rounds", type=int, default=2, help="rounds of ldap3's own slow reader")
    arguments = parser.parse_args()
    with start_rig(arguments.entries) as rig:
        rig.create_database()
        measure_reading(rig, arguments.rounds, arguments.stock_rounds)
        small = measure_runs(rig, arguments.rounds)
    if arguments.large:
        measure_memory(arguments.entries, small, arguments.large)


def measure_reading(rig: Rig, rounds: int, stock_rounds: int) -> None:
    """Measure reading alone: our reader, with and without known digests, and other clients."""
    names = ["ours, recognising", "ours, decoding"]
    if importlib.util.find_spec("ldap") is not None:
        names.append("python-ldap")
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        append(seconds, FLOOR, time_ldapsearch(rig))
        for name in [*names, *(["ldap3 paged_search"] if number < stock_rounds else [])]:
            append(seconds, name, run_contestant(rig, name)["seconds"])
    print_table("reading, seconds", seconds)
    ours = median(seconds["ours, decoding"])
    for name in ("ldap3 paged_search", "python-ldap"):
        if name in seconds:
            print(f"{name} takes {median(seconds[name]) / ours:.2f} times as long as ours, decoding")
        else:
            print(f"{name}: not installed, not measured (pip install python-ldap needs its C headers)")


def measure_runs(rig: Rig, rounds: int) -> dict[str, float]:
    """Measure whole runs, from opening connections to the commit; return the peak memory of each kind."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    every_hundredth = range(0, rig.count, 100)
    kinds: dict[str, Callable[[int], object]] = {
        "first load": lambda _: rig.create_database(),
        "nothing changed": lambda _: None,
        "1 % changed": lambda number: rig.modify(every_hundredth, str(number)),
    }
    for number in range(rounds):
        for kind, prepare in kinds.items():
            prepare(number)
            append(seconds, FLOOR, time_ldapsearch(rig))
            figures = run_contestant(rig, "whole run")
            append(seconds, kind, figures["seconds"])
            peaks[kind] = max(peaks.get(kind, 0), figures["peak"])
        append(seconds, "nothing changed, as a command", measure_seconds(lambda: rig.syncd("sync", "corp")))
    print_table(f"whole run of {rig.count:,} entries, seconds", seconds)
    print_peaks(rig.count, peaks)
    return peaks


def measure_memory(small_count: int, small: dict[str, float], count: int) -> None:
    """Measure the peak memory of a worker at another size; print the cost of each further entry."""
    peaks: dict[str, float] = {}
    with start_rig(count) as rig:
        rig.create_database()
        for kind in ("first load", "nothing changed"):
            peaks[kind] = run_contestant(rig, "whole run")["peak"]
    print_peaks(count, peaks)
    for kind, peak in peaks.items():
        print(f"{kind}: {(peak - small[kind]) / (count - small_count):.0f} bytes for each further entry")


def time_ldapsearch(rig: Rig) -> float:
    """Return the seconds of ldapsearch."""
    with (rig.folder / "ldapsearch.out").open("wb") as out:
        return measure_seconds(lambda: subprocess.run(rig.ldapsearch(), stdout=out, check=True))


def run_contestant(rig: Rig, name: str) -> dict[str, float]:
    """Run one contestant in a process of its own; return its seconds and peak memory."""
    command = [sys.executable, "-m", "tests.benchmarks.contestants", name, str(rig.settings)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout)
    if figures["entries"] != rig.count:
        raise RuntimeError(f"{name} read {figures['entries']} entries instead of {rig.count}")
    return figures


def measure_seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def append(seconds: dict[str, list[float]], name: str, value: float) -> None:
    seconds.setdefault(name, []).append(value)


def print_table(title: str, seconds: dict[str, list[float]]) -> None:
    """Print a row for each contestant: median, minimum, maximum, and the ratio to the floor."""
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
