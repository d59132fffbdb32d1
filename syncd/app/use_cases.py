"""From settings to working parts: which source, which mapper, which limits, and one run made of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from syncd.app.fingerprint import source_fingerprint
from syncd.app.password_cache import SignIns
from syncd.core.sync.explain import Explanation
from syncd.core.sync.explain import answers as answers_of
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Change, Report
from syncd.core.sync.record import Source
from syncd.jobs import purge, undo
from syncd.jobs.sync import Job, Meter, apply_planned, rehearse, synchronize
from syncd.settings import AnySource, LdapSource, Settings
from syncd.sources.file import RecordFile
from syncd.sources.ldap import LdapDirectory
from syncd.sources.ldap.authentication import Passwords
from syncd.store.admin.explain import known as known_contacts
from syncd.store.connection.engine import Role, open_engine, translated
from syncd.store.run.undo import source_of
from syncd.store.run.writer import Writer, open_writer


def job(settings: AnySource, meter: Meter | None = None) -> Job:
    """One source as a run needs it."""
    mapper = Mapper(settings.type, settings.rules())
    source: Source = (
        LdapDirectory(settings, mapper.attributes)
        if isinstance(settings, LdapSource)
        else RecordFile(settings, mapper.attributes)
    )
    return Job(
        name=settings.name,
        source=source,
        mapper=mapper,
        limits=settings.guard.limits(),
        lifecycle=settings.lifecycle.terms(),
        sentinels=tuple(watchman.sentinel() for watchman in settings.guard.sentinel),
        scope=settings.scope_of_reads(),
        seal=source_fingerprint(settings),
        meter=meter or Meter(),
    )


def sign_ins(settings: Settings) -> SignIns | None:
    """Names and passwords as the settings have them checked; None when there are only tokens."""
    terms = settings.sign_in
    source = terms and settings.named(terms.source)
    if terms is None or not isinstance(source, LdapSource):  # the settings allow no other kind
        return None
    passwords = Passwords(source, terms)
    return SignIns(passwords.check, terms.remember.total_seconds(), terms.outage.total_seconds())


def run_source(settings: Settings, name: str, meter: Meter | None = None) -> Report:
    """One run of one source, from reading to writing. Raises SourceBusy, StoreUnavailable, SchemaMismatch."""
    source = settings.named(name)
    with open_writer(
        open_engine(settings.database, Role.SYNC), name, source.type, region=source.default_region
    ) as writer:
        return synchronize(job(source, meter), writer)


def apply_plan(settings: Settings, name: str, planned: Iterable[Change], meter: Meter | None = None) -> Report:
    """The same run, written only if it makes exactly the planned changes."""
    source = settings.named(name)
    with open_writer(
        open_engine(settings.database, Role.SYNC), name, source.type, region=source.default_region
    ) as writer:
        return apply_planned(job(source, meter), writer, planned)


def undo_run(settings: Settings, number: int) -> Report:
    """Take a run back. Raises NothingToUndo, SourceBusy, StoreUnavailable."""
    with _undoer(settings, number) as (source, writer):
        return undo.undo(source.name, number, source.guard.limits(), writer)


def apply_undo(settings: Settings, number: int, planned: Iterable[Change]) -> Report:
    """Take a run back, provided that it makes exactly the planned changes."""
    with _undoer(settings, number) as (source, writer):
        return undo.undo_planned(source.name, number, source.guard.limits(), writer, planned)


def plan_undo(settings: Settings, number: int, show: Callable[[Report, Iterator[Change]], None]) -> Report:
    """What taking a run back would do, shown instead of written."""
    with _undoer(settings, number) as (source, writer):
        return undo.rehearse_undo(source.name, number, source.guard.limits(), writer, show)


@contextmanager
def _undoer(settings: Settings, number: int) -> Iterator[tuple[AnySource, Writer]]:
    database = open_engine(settings.database, Role.SYNC)
    with translated(), database.connect() as connection:
        source = settings.named(source_of(connection, number))
    with open_writer(database, source.name, source.type, "undo", source.default_region) as writer:
        yield source, writer


def explain(settings: Settings, asked: str) -> Explanation:
    """Why a contact is as it is, or is not there: what each source says of it now, and what the directory knows.

    The sources are asked directly. Raises StoreUnavailable; a source that does not answer is part of the answer.
    """
    terms = {source.name: source.lifecycle.terms() for source in settings.source}
    database = open_engine(settings.database, Role.API)
    with translated(), database.connect() as connection:
        known = known_contacts(connection, asked, (), terms)
    jobs = [job(source) for source in settings.source]
    keys = {job.name: [c.key for c in known if c.source == job.name and c.key] for job in jobs}
    found = {job.name: job.source.search(asked, keys[job.name]) for job in jobs}
    named = [item.item.key for search in found.values() for item in search.found if item.item.key]
    with translated(), database.connect() as connection:
        known = known_contacts(connection, asked, named, terms)
    answers = [answer for job in jobs for answer in answers_of(job.name, job.mapper, found[job.name], known)]
    return Explanation(asked, known, answers)


def purge_source(settings: Settings, name: str) -> Report:
    """Forget the contacts of a source that were removed long ago, and the history that is too old to be kept."""
    source = settings.named(name)
    with open_writer(open_engine(settings.database, Role.SYNC), name, source.type, "purge") as writer:
        report = purge.purge(name, source.lifecycle.retention, source.guard.limits(), writer)
        writer.prune(settings.history.keep)
        return report


def plan_source(
    settings: Settings, name: str, show: Callable[[Report, Iterator[Change]], None], meter: Meter | None = None
) -> Report:
    """The same run, shown instead of written."""
    source = settings.named(name)
    with open_writer(
        open_engine(settings.database, Role.SYNC), name, source.type, region=source.default_region
    ) as writer:
        return rehearse(job(source, meter), writer, show)
