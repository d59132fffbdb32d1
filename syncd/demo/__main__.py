"""`python3 -m syncd.demo`: from a fresh checkout to the running demonstration, with nothing but Python installed."""

import os
import sys

from syncd.demo.bootstrap import NotReady, prepare


def main() -> None:
    """Make the machine ready, then become `syncd demo`."""
    try:
        python = prepare("demo", {"slapd": "slapd"})
    except NotReady as reason:
        sys.exit(str(reason))
    os.execv(python, [str(python), "-m", "syncd", "demo", *sys.argv[1:]])  # noqa: S606 - no shell is what we want


if __name__ == "__main__":
    main()
