"""The faults, grouped by the part that they affect."""
