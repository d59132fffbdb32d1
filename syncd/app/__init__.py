"""Composition root: the only package that combines sources, store and web, for use cases and the daemon."""
