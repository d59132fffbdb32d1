"""The command line: what each command prints and the status it ends with. The only home of click and rich."""

from syncd.cli.exit_codes import EXIT_BUSY, EXIT_CHANGES, EXIT_FAILED, EXIT_HELD, EXIT_SETTINGS
from syncd.cli.main import main, syncd

__all__ = ["EXIT_BUSY", "EXIT_CHANGES", "EXIT_FAILED", "EXIT_HELD", "EXIT_SETTINGS", "main", "syncd"]
