"""`python -m tests.benchmarks.price COMMIT`: what a run costs now, next to what it cost at an earlier commit.

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

from tests.benchmarks.rig import Rig, rig

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("first load", "nothing changed", "1 % changed")

# the interpreter's start and the imports are not the run's
RUN = """
import sys, time
from pathlib import Path
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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.price", description=__doc__)
    parser.add_argument("commit", help="what to compare the working tree with")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with before(arguments.commit) as old, rig(arguments.entries) as running:
        show(measured(running, {"before": old, "now": ROOT}, arguments.rounds), arguments.commit)


@contextmanager
def before(commit: str) -> Iterator[Path]:
    """The earlier commit's files in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="syncd-before-") as folder:
        archive = subprocess.run(["git", "archive", commit, "syncd"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def measured(running: Rig, trees: dict[str, Path], rounds: int) -> dict[tuple[str, str], list[float]]:
    """(kind of run, which tree) -> seconds of each round."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        names = sorted(trees, reverse=bool(number % 2))
        for kind in KINDS:
            if kind == "1 % changed":
                running.modify(range(0, running.count, 100), str(number))
            for name in names:
                if kind == "first load":
                    fresh(running, name, trees[name])
                took = float(python(trees[name], "-c", RUN, str(settings(running, name)), str(running.count)))
                seconds.setdefault((kind, name), []).append(took)
    return seconds


def settings(running: Rig, name: str) -> Path:
    """The rig's settings with a database of this tree's own."""
    path = running.folder / f"{name}.toml"
    path.write_text(running.settings.read_text().replace(running.postgres.url("bench"), running.postgres.url(name)))
    return path


def fresh(running: Rig, name: str, tree: Path) -> None:
    """An empty database, migrated by this tree."""
    with psycopg.connect(running.postgres.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    python(tree, "-m", "syncd", "--config", str(settings(running, name)), "migrate")


def python(tree: Path, *arguments: str) -> str:
    """Run this interpreter on that tree; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} in {tree} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def show(seconds: dict[tuple[str, str], list[float]], commit: str) -> None:
    """A row for each kind: the medians, and the median of the rounds' ratios."""
    table = Table("", f"at {commit}", "now", "ratio", title="whole run, seconds")
    for kind in KINDS:
        old, new = seconds[kind, "before"], seconds[kind, "now"]
        ratio = median(after / first for first, after in zip(old, new, strict=True))
        table.add_row(kind, f"{median(old):.2f}", f"{median(new):.2f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
