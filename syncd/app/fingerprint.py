"""Fingerprint of a source: a hash of everything that determines how an entry becomes a stored row."""

import hashlib
import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from syncd.settings import AnySource

COVERED = ("core", "sources", "jobs/sync.py", "store/run/staging.py")
"""Packages (with all sub-packages) and modules of `syncd` whose code turns received data into a row."""


def source_fingerprint(settings: AnySource) -> bytes:
    """Hash the settings and the code that determine a row of this source: 16 bytes (BLAKE2b).

    A row digest is valid only for the fingerprint it was computed under; see `core.sync.record.KnownDigests`.
    """
    shape = json.dumps([settings.type, settings.key, settings.default_region, sorted(settings.rules().items())])
    return hashlib.blake2b(shape.encode() + _installed_code(), digest_size=16).digest()


def code_fingerprint(package: Traversable) -> bytes:
    """Hash the covered Python modules below `package` (the folder of `syncd`), names included: 64 bytes."""
    digest = hashlib.blake2b()
    for name in COVERED:
        _add(digest, name, package.joinpath(name))
    return digest.digest()


def _add(digest: "hashlib.blake2b", name: str, node: Traversable) -> None:
    if node.is_dir():
        for child in sorted(node.iterdir(), key=lambda entry: entry.name):
            _add(digest, f"{name}/{child.name}", child)
    elif name.endswith(".py"):
        content = node.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)


@cache
def _installed_code() -> bytes:
    return code_fingerprint(resources.files("syncd"))
