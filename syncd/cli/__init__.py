"""The command line: commands, their output and exit statuses. The only package that imports click and rich."""

from syncd.cli.exit_codes import EXIT_BUSY, EXIT_CHANGES, EXIT_FAILED, EXIT_HELD, EXIT_SETTINGS
from syncd.cli.main import main, syncd

__all__ = ["EXIT_BUSY", "EXIT_CHANGES", "EXIT_FAILED", "EXIT_HELD", "EXIT_SETTINGS", "main", "syncd"]
