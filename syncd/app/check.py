"""A check of everything that the settings name: each server of each source, files, the database, sign-in, notices."""

from collections.abc import Iterator

from syncd.core.operations.check import Chain, Finding, Result, Sample, amount, attributes, parted
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Evidence, Recognition, Record, Reject
from syncd.settings import FileSource, LdapSource, Settings
from syncd.sources.file import RecordFile
from syncd.sources.ldap.check import walk
from syncd.store.schema.check import examine
from syncd.system import alert_delivery


def examine_all(settings: Settings) -> Iterator[Finding]:
    """What each step finds, in the order in which they are worth mending. Nothing is written."""
    names = ", ".join(source.name for source in settings.source)
    yield Finding("settings", "", "settings", Result.OK, f"sources: {names}" if names else "no sources")
    yield from examine(settings.database)
    for source in settings.source:
        mapper = Mapper(source.type, source.rules())
        if isinstance(source, FileSource):
            yield from _file(source, mapper)
        else:
            yield from _servers(settings, source, mapper)
    yield from alert_delivery.examine(settings.notice)


def _servers(settings: Settings, source: LdapSource, mapper: Mapper) -> Iterator[Finding]:
    """All of them: a source that reads from the first one does so until the day when that one is away."""
    terms = settings.sign_in
    for url in source.urls:
        yield from walk(source, mapper, terms if terms and terms.source == source.name else None, url)


_ABOUT_RECORDS = {"duplicate"}


def _file(source: FileSource, mapper: Mapper) -> Iterator[Finding]:
    chain = Chain(source.name, str(source.path), ("file", "records", "attributes"))
    items, evidence = _read(source, mapper)
    broken = evidence.shortfalls[0] if evidence.shortfalls else None
    if broken is None or broken.code in _ABOUT_RECORDS:
        yield chain.fine("file", "can be read and understood")
    if broken is not None:
        yield from chain.broken(*parted(broken.sentence))
        return
    # members by their own names need not be there, and a mistyped one is a reject of its own
    wanted = mapper.attributes if source.map else frozenset()
    sample = Sample(items, {name for item in items for name in item.values}, whole=True)
    yield chain.tell("records", amount(sample, "it holds"))
    yield from (chain.tell("attributes", verdict) for verdict in attributes(sample, mapper, wanted))


def _read(source: FileSource, mapper: Mapper) -> tuple[list[Record | Reject], Evidence]:
    """Everything that a run would get of the file."""
    items: list[Record | Reject] = []
    stream = next(RecordFile(source, mapper.attributes).attempts()).read(Recognition(b"", set()))
    while True:
        try:
            items.append(next(stream))
        except StopIteration as end:
            return items, end.value
