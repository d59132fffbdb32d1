"""Check of everything that the settings name: database, servers and files of sources, authentication, alert hosts."""

from collections.abc import Iterator

from syncd.core.operations.check import Chain, Finding, Result, Sample, check_attributes, check_count, split_remedy
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Evidence, KnownDigests, Record, Reject
from syncd.settings import FileSource, LdapSource, Settings
from syncd.sources.file import RecordFile
from syncd.sources.ldap.check import check_server
from syncd.store.schema.check import check_database, check_pooler
from syncd.system import alert_delivery


def check_all(settings: Settings) -> Iterator[Finding]:
    """Check every component and yield the findings in the order in which to correct them. Read-only."""
    names = ", ".join(source.name for source in settings.source)
    yield Finding("settings", "", "settings", Result.OK, f"sources: {names}" if names else "no sources")
    yield from check_database(settings.database)
    yield from check_pooler(settings.database)
    for source in settings.source:
        mapper = Mapper(source.type, source.rules())
        if isinstance(source, FileSource):
            yield from _check_file(source, mapper)
        else:
            yield from _check_servers(settings, source, mapper)
    yield from alert_delivery.check_hosts(settings.alerts)


def _check_servers(settings: Settings, source: LdapSource, mapper: Mapper) -> Iterator[Finding]:
    """Check all servers of a source, because a fault of a fallback server shows only when it is needed."""
    authentication = settings.authentication
    if authentication and authentication.source != source.name:
        authentication = None
    for url in source.urls:
        yield from check_server(source, mapper, authentication, url)


_RECORD_CODES = {"duplicate"}
"""Codes of reasons that concern records of a readable file."""


def _check_file(source: FileSource, mapper: Mapper) -> Iterator[Finding]:
    chain = Chain(source.name, str(source.path), ("file", "records", "attributes"))
    items, evidence = _read_file(source, mapper)
    reason = evidence.incomplete_reasons[0] if evidence.incomplete_reasons else None
    if reason is None or reason.code in _RECORD_CODES:
        yield chain.ok("file", "can be read and understood")
    if reason is not None:
        yield from chain.fail(*split_remedy(reason.sentence))
        return
    # without a map every member is optional, and an unknown one makes its record a reject
    required = mapper.attributes if source.map else frozenset()
    sample = Sample(items, {name for item in items for name in item.values}, is_complete=True)
    yield chain.report("records", check_count(sample, "it holds"))
    yield from (chain.report("attributes", verdict) for verdict in check_attributes(sample, mapper, required))


def _read_file(source: FileSource, mapper: Mapper) -> tuple[list[Record | Reject], Evidence]:
    """Return the items and the evidence that a run would get from the file."""
    items: list[Record | Reject] = []
    stream = next(RecordFile(source, mapper.attributes).attempts()).read(KnownDigests(b"", set()))
    while True:
        try:
            items.append(next(stream))
        except StopIteration as end:
            return items, end.value
