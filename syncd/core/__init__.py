"""Pure functions and values: no input or output, no log, and the time is an argument."""
