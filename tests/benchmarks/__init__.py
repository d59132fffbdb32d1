"""Benchmarks: `python3 -m tests.benchmarks` prints tables of ratios, measured side by side in one run."""
