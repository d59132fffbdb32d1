"""Use cases: runs, dry runs, undo, purge and explanations, built from the settings."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from syncd.app.fingerprint import source_fingerprint
from syncd.app.password_cache import PasswordChecker
from syncd.core.sync.explain import Explanation
from syncd.core.sync.explain import explain_source as answers_of
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.plan import Change, JobKind, Report
from syncd.core.sync.record import Source
from syncd.jobs import purge, undo
from syncd.jobs.run import ShowPlan
from syncd.jobs.sync import Job, ReadProgress, dry_run, synchronize
from syncd.settings import AnySource, LdapSource, Settings
from syncd.sources.file import RecordFile
from syncd.sources.ldap import LdapDirectory
from syncd.sources.ldap.authentication import LdapAuthenticator
from syncd.store.admin.explain import find_contacts as known_contacts
from syncd.store.connection.engine import Role, mapped_errors, open_engine
from syncd.store.run import runs
from syncd.store.run.undo import load_source
from syncd.store.run.writer import Writer, open_writer


def build_job(settings: AnySource, progress: ReadProgress | None = None) -> Job:
    """Build what a sync needs of one source: connector, mapper, limits and fingerprint."""
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
        limits=settings.guard.to_limits(),
        lifecycle=settings.lifecycle.to_lifecycle(),
        sentinels=tuple(sentinel.to_sentinel() for sentinel in settings.guard.sentinel),
        scope=settings.read_scope(),
        fingerprint=source_fingerprint(settings),
        progress=progress or ReadProgress(),
    )


def build_password_checker(settings: Settings) -> PasswordChecker | None:
    """Build the password check by LDAP bind; None when the settings allow only tokens."""
    authentication = settings.authentication
    source = authentication and settings.find_source(authentication.source)
    if authentication is None or not isinstance(source, LdapSource):  # the settings allow no other kind
        return None
    authenticator = LdapAuthenticator(source, authentication)
    cache_ttl, offline_ttl = authentication.cache_ttl.total_seconds(), authentication.offline_ttl.total_seconds()
    return PasswordChecker(authenticator.authenticate, cache_ttl, offline_ttl)


def run_source(settings: Settings, name: str, progress: ReadProgress | None = None) -> Report:
    """Sync one source. Raises SourceBusy, StoreUnavailable, SchemaMismatch."""
    source = settings.find_source(name)
    with _open_store(settings, source) as store:
        return synchronize(build_job(source, progress), store)


def record_crash(settings: Settings, name: str, pid: int, reason: str) -> None:
    """Close the run of a source whose process on this host has ended without closing it. Raises StoreError."""
    with mapped_errors(), open_engine(settings.database, Role.SYNC).begin() as connection:
        runs.mark_crashed(connection, name, pid, reason)


def plan_source(settings: Settings, name: str, show: ShowPlan, progress: ReadProgress | None = None) -> Report:
    """Pass report and changes of a sync to `show`; write nothing. Raises KeyChanged, StoreUnavailable."""
    source = settings.find_source(name)
    with _open_store(settings, source) as store:
        return dry_run(build_job(source, progress), store, show)


def apply_plan(
    settings: Settings, name: str, changes: Sequence[Change], progress: ReadProgress | None = None
) -> Report:
    """Sync one source, and write only if it makes exactly these changes. Raises as `run_source`."""
    source = settings.find_source(name)
    with _open_store(settings, source) as store:
        return synchronize(build_job(source, progress), store, changes)


def purge_source(settings: Settings, name: str) -> Report:
    """Delete contacts of a source past their retention, and history past `history.retention`.

    Raises SourceBusy, StoreUnavailable.
    """
    source = settings.find_source(name)
    with _open_store(settings, source, "purge") as store:
        report = purge.purge(name, source.lifecycle.retention, source.guard.to_limits(), store)
        store.prune(settings.history.retention)
        return report


def load_source_of(settings: Settings, number: int) -> AnySource:
    """Return the settings of the source of a run.

    Raises NothingToUndo when there is no such run, SettingsError when its source is no longer configured, and
    StoreUnavailable.
    """
    with mapped_errors(), open_engine(settings.database, Role.SYNC).connect() as connection:
        return settings.find_source(load_source(connection, number))


def undo_run(settings: Settings, number: int) -> Report:
    """Reverse a run. Raises NothingToUndo when the run is unknown, SourceBusy, StoreUnavailable."""
    with _open_undo(settings, number) as (source, store):
        return undo.undo(source.name, number, source.guard.to_limits(), store)


def plan_undo(settings: Settings, number: int, show: ShowPlan) -> Report:
    """Pass report and changes of an undo to `show`; write nothing. Raises NothingToUndo, StoreUnavailable."""
    with _open_undo(settings, number) as (source, store):
        return undo.dry_run_undo(source.name, number, source.guard.to_limits(), store, show)


def apply_undo(settings: Settings, number: int, changes: Sequence[Change]) -> Report:
    """Reverse a run, and write only if that makes exactly these changes. Raises as `undo_run`."""
    with _open_undo(settings, number) as (source, store):
        return undo.undo(source.name, number, source.guard.to_limits(), store, changes)


@contextmanager
def _open_undo(settings: Settings, number: int) -> Iterator[tuple[AnySource, Writer]]:
    """Find the source of a run and open a store for its undo. Raises NothingToUndo, StoreUnavailable."""
    source = load_source_of(settings, number)
    with _open_store(settings, source, "undo") as store:
        yield source, store


def _open_store(settings: Settings, source: AnySource, job: JobKind = "sync") -> AbstractContextManager[Writer]:
    engine = open_engine(settings.database, Role.SYNC)
    return open_writer(engine, source.name, source.type, job, source.default_region)


def explain(settings: Settings, text: str) -> Explanation:
    """Explain why the contacts that match a text are as they are, or are absent.

    `text` is a name, a user name, a number, an e-mail address, a key or an id. Each source is searched directly; a
    source that does not answer is part of the explanation. Raises StoreUnavailable.
    """
    lifecycles = {source.name: source.lifecycle.to_lifecycle() for source in settings.source}
    database = open_engine(settings.database, Role.API)
    with mapped_errors(), database.connect() as connection:
        contacts = known_contacts(connection, text, (), lifecycles)
    jobs = [build_job(source) for source in settings.source]
    stored_keys = {job.name: [c.key for c in contacts if c.source == job.name and c.key] for job in jobs}
    searches = {job.name: job.source.search(text, stored_keys[job.name]) for job in jobs}
    source_keys = [match.item.key for search in searches.values() for match in search.matches if match.item.key]
    with mapped_errors(), database.connect() as connection:
        contacts = known_contacts(connection, text, source_keys, lifecycles)
    answers = [answer for job in jobs for answer in answers_of(job.name, job.mapper, searches[job.name], contacts)]
    return Explanation(text, contacts, answers)
