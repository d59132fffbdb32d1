"""`python -m tests.benchmarks.run_cost COMMIT`: the time of a run now, and at an earlier commit.

Both read the same slapd into databases of the same PostgreSQL, each made by its own migrations, and take turns in every
round, each in a fresh process; the first of a round changes from round to round.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psycopg
from rich.console import Console
from rich.table import Table

from tests.benchmarks.rig import Rig, start_rig

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("first load", "nothing changed", "1 % changed")

# the start of the interpreter and the imports are not measured
RUN = """
import sys, time
from pathlib import Path
try:
    from syncd.app.use_cases import run_source
except ImportError:  # the module's name in earlier commits
    from syncd.app.compose import run_source
from syncd.settings import load
settings = load(Path(sys.argv[1]))
started = time.perf_counter()
report = run_source(settings, "corp")
seconds = time.perf_counter() - started
assert report.outcome == "completed" and report.entries == int(sys.argv[2]), report
print(seconds)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run_cost", description=__doc__)
    parser.add_argument("commit", help="what to compare the working tree with")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with earlier_tree(arguments.commit) as old, start_rig(arguments.entries) as rig:
        print_table(measure(rig, {"before": old, "now": ROOT}, arguments.rounds), arguments.commit)


@contextmanager
def earlier_tree(commit: str) -> Iterator[Path]:
    """Extract the files of an earlier commit; yield the folder."""
    with tempfile.TemporaryDirectory(prefix="syncd-before-") as folder:
        archive = subprocess.run(["git", "archive", commit, "syncd"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def measure(rig: Rig, trees: dict[str, Path], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return (kind of run, tree) -> seconds of each round."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        names = sorted(trees, reverse=bool(number % 2))
        for kind in KINDS:
            if kind == "1 % changed":
                rig.modify(range(0, rig.count, 100), str(number))
            for name in names:
                if kind == "first load":
                    create_database(rig, name, trees[name])
                took = float(run_python(trees[name], "-c", RUN, str(write_settings(rig, name)), str(rig.count)))
                seconds.setdefault((kind, name), []).append(took)
    return seconds


def write_settings(rig: Rig, name: str) -> Path:
    """Write the settings of the rig with a database for this tree; return the file."""
    path = rig.folder / f"{name}.toml"
    path.write_text(rig.settings.read_text().replace(rig.postgres.url("bench"), rig.postgres.url(name)))
    return path


def create_database(rig: Rig, name: str, tree: Path) -> None:
    """Create an empty database, migrated by this tree."""
    with psycopg.connect(rig.postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    run_python(tree, "-m", "syncd", "--config", str(write_settings(rig, name)), "migrate")


def run_python(tree: Path, *arguments: str) -> str:
    """Run this interpreter on a tree; return its stdout."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{command} in {tree} ended with {result.returncode}: {result.stderr}")
    return result.stdout


def print_table(seconds: dict[tuple[str, str], list[float]], commit: str) -> None:
    """Print a row for each kind: the medians, and the median of the ratios of each round."""
    table = Table("", f"at {commit}", "now", "ratio", title="whole run, seconds")
    for kind in KINDS:
        old, new = seconds[kind, "before"], seconds[kind, "now"]
        ratio = median(after / first for first, after in zip(old, new, strict=True))
        table.add_row(kind, f"{median(old):.2f}", f"{median(new):.2f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
