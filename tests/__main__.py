"""`python3 -m tests`: every check, from a fresh checkout, the same for developers and for CI.

With arguments, only pytest runs with these: `python3 -m tests tests/unit -k guard`.
"""

import subprocess
import sys
from pathlib import Path

from syncd.demo.bootstrap import CHECKOUT, BootstrapError, create_environment, prepare
from tests.lowest_versions import read_constraints

PACKAGES = {
    "slapd": "slapd",
    "ldap-utils": "ldapsearch",
    "postgresql": "postgres",
    "pgbouncer": "pgbouncer",
    "groff-base": "groff",
    "mandoc": "mandoc",
    "openssl": "openssl",
    "curl": "curl",
    "systemd": "systemd-analyze",
    "prometheus": "promtool",
    "debhelper": "dh",
    "make": "make",
    "python3": "/usr/bin/python3",
}
"""Debian package -> its program that the tests start; the built Debian package requires Debian's own Python."""


def checks(python: Path, lowest: Path) -> dict[str, list[str]]:
    """Return title -> command, cheapest first; `lowest` is the Python with the lowest allowed dependencies."""
    module = [str(python), "-m"]
    # three on two processors, because many tests wait; worksteal keeps neighbours together, for their fixtures
    parallel = ["pytest", "-n", "3", "--dist", "worksteal"]
    return {
        "format": [*module, "ruff", "format", "--check"],
        "lint": [*module, "ruff", "check"],
        "types": [*module, "mypy"],
        "imports": [str(python.with_name("lint-imports"))],
        "tests": [*module, *parallel],
        "tests with the lowest dependencies": [str(lowest), "-m", *parallel, "tests/unit", "tests/integration"],
    }


def main(arguments: list[str]) -> int:
    """Run all checks; return the exit status of the first that fails, else 0."""
    try:
        python = prepare("demo,test", PACKAGES)
        if arguments:
            return subprocess.call([str(python), "-m", "pytest", *arguments], cwd=CHECKOUT)
        lowest = create_environment(CHECKOUT / ".venv-lowest", "demo,test", read_constraints())
    except BootstrapError as reason:
        print(reason, file=sys.stderr)
        return 1
    for title, command in checks(python, lowest).items():
        print(f"\n== {title}: {' '.join(command[2:]) or 'lint-imports'}", flush=True)
        status = subprocess.call(command, cwd=CHECKOUT)
        if status:
            print(f"\n{title} failed, see above", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
