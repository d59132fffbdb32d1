"""syncd: keeps a contact center's directory in step with its sources and serves it over HTTP."""

__version__ = "0.1.0"
