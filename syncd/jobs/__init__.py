"""Kinds of runs: sync, undo and purge."""
