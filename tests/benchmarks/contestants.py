"""One measured piece of work in a process of its own: `python -m tests.benchmarks.contestants NAME SETTINGS`.

Prints one JSON object: seconds of the work itself (without the interpreter's start), entries, peak memory in bytes.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from syncd.app.use_cases import run_source
from syncd.settings import LdapSource, load, read_secret
from tests.benchmarks.rig import ATTRIBUTES

WANTED = [*ATTRIBUTES, "entryUUID"]


def ours_decoding(source: LdapSource) -> int:
    """Our reader, no entry known: everything is decoded."""
    return _ours(source, set())[0]


def ours_recognising(source: LdapSource) -> int:
    """Our reader, every entry known by its digest. Knowing them is prepared by `main` and not measured."""
    return _ours(source, KNOWN.copy())[0]


KNOWN: set[bytes] = set()


def _ours(source: LdapSource, known: set[bytes]) -> tuple[int, set[bytes]]:
    from syncd.core.sync.mapping import Mapper
    from syncd.core.sync.record import Evidence, KnownDigests, Record
    from syncd.sources.ldap import LdapDirectory

    directory = LdapDirectory(source, Mapper(source.type, source.rules()).attributes)
    digests: set[bytes] = set()
    stream = next(directory.attempts()).read(KnownDigests(bytes(16), known))
    while True:
        try:
            item = next(stream)
        except StopIteration as end:
            evidence: Evidence = end.value
            break
        if isinstance(item, Record):
            digests.add(item.digest)
    assert evidence.complete, evidence.reason
    return evidence.entries, digests


def ldap3_paged(source: LdapSource) -> int:
    """What ldap3 offers for the same: paged_search as a generator."""
    import ldap3

    connection = ldap3.Connection(
        ldap3.Server(source.urls[0], get_info=ldap3.NONE), source.bind_dn, password(source), auto_bind=True
    )
    match = connection.extend.standard.paged_search(
        source.base, source.filter, attributes=WANTED, paged_size=source.page_size, generator=True
    )
    return sum(1 for entry in match if entry["type"] == "searchResEntry")


def python_ldap(source: LdapSource) -> int:
    """OpenLDAP's C library under Python, with the paging loop of its manual."""
    import ldap
    from ldap.controls import SimplePagedResultsControl

    connection = ldap.initialize(source.urls[0])
    connection.simple_bind_s(source.bind_dn, password(source))
    control = SimplePagedResultsControl(True, size=source.page_size, cookie="")
    entries = 0
    while True:
        number = connection.search_ext(source.base, ldap.SCOPE_SUBTREE, source.filter, WANTED, serverctrls=[control])
        _, page, _, controls = connection.result3(number)
        entries += len(page)
        control.cookie = controls[0].cookie
        if not control.cookie:
            return entries


def whole_run(_source: LdapSource) -> int:
    """One run as the worker process does it."""
    report = run_source(load(Path(sys.argv[2])), "corp")
    assert report.evidence is not None
    assert report.outcome == "completed", report.reason
    return report.evidence.entries


def password(source: LdapSource) -> str:
    assert source.bind_password_file is not None
    return read_secret(source.bind_password_file)


CONTESTANTS: dict[str, Callable[[LdapSource], int]] = {
    "ours, decoding": ours_decoding,
    "ours, recognising": ours_recognising,
    "ldap3 paged_search": ldap3_paged,
    "python-ldap": python_ldap,
    "whole run": whole_run,
}


def main() -> None:
    name, settings = sys.argv[1], load(Path(sys.argv[2]))
    source = settings.find_source("corp")
    assert isinstance(source, LdapSource)
    if name == "ours, recognising":
        KNOWN.update(_ours(source, set())[1])
    started = time.perf_counter()
    entries = CONTESTANTS[name](source)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "entries": entries, "peak": peak()}))


def peak() -> int:
    """Our peak memory in bytes. Not getrusage's: that begins with the memory of the process that started us."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


if __name__ == "__main__":
    main()
