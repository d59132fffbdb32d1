"""The command line: what each command prints and the status it ends with. The only home of click and rich."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from syncd import __version__, log
from syncd.app import compose
from syncd.app.daemon import run_daemon
from syncd.app.reporting import report_failure, report_run, warn_of_clear_text
from syncd.core.health import Expected, health
from syncd.core.plan import Change, Outcome, Report
from syncd.errors import MissingPrivilege, SettingsError, SourceBusy, SyncdError
from syncd.settings import Settings, load
from syncd.store import migrate as migrations
from syncd.store import runs, tokens
from syncd.store.database import Role, engine, translated
from syncd.sync import Meter

EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_HELD = 3
EXIT_BUSY = 75  # EX_TEMPFAIL of sysexits.h
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h

_EXITS = {Outcome.COMPLETED: 0, Outcome.HELD: EXIT_HELD, Outcome.INCOMPLETE: EXIT_HELD}
_SEVERITY = (0, EXIT_BUSY, EXIT_HELD, EXIT_FAILED)  # of several sources the worst counts

P = ParamSpec("P")
R = TypeVar("R")


def _with_config(command: Callable[P, R]) -> Callable[P, R]:
    """Accept --config after the command as well as before it."""

    def remember(context: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is not None:
            context.find_root().obj = path

    return click.option(
        "--config", type=click.Path(path_type=Path), expose_value=False, callback=remember,
        help="Settings file; default $SYNCD_CONFIG, else /etc/syncd/syncd.toml.",
    )(command)  # fmt: skip


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Load the settings and send the log to stderr before a command runs."""

    @_with_config
    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *arguments: Any, **options: Any) -> None:
        settings = load(context.find_root().obj)
        log.configure(settings.log, sys.stderr)
        command(settings, *arguments, **options)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
@_with_config
def syncd() -> None:
    """Keep a contact center's directory in step with its sources, and serve it."""


@syncd.command()
@_with_settings
def run(settings: Settings) -> None:
    """Run the daemon until SIGTERM."""
    log.configure(settings.log, sys.stdout)
    run_daemon(settings)


@syncd.command()
@click.argument("sources", nargs=-1)
@_with_settings
def sync(settings: Settings, sources: tuple[str, ...]) -> None:
    """Run the sources (default: all) once, now."""
    warn_of_clear_text(settings)
    statuses = [_sync_one(settings, name) for name in _names(settings, sources)]
    sys.exit(max(statuses, key=_SEVERITY.index, default=0))


def _sync_one(settings: Settings, name: str) -> int:
    try:
        with _progress(name) as meter:
            report = compose.run_source(settings, name, meter)
    except SourceBusy as busy:
        log.emit(log.SYNC_SKIPPED, source=name, why=str(busy))
        return EXIT_BUSY
    except SyncdError as error:
        report_failure(name, str(error))
        return EXIT_FAILED
    report_run(report)
    click.echo(_summary(report))
    return _EXITS.get(report.outcome, EXIT_FAILED)


@syncd.command()
@click.argument("sources", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes.")
@_with_settings
def plan(settings: Settings, sources: tuple[str, ...], *, as_json: bool, detailed_exitcode: bool) -> None:
    """Show what a sync would do; write nothing."""
    plans: list[dict[str, Any]] = []

    def collect(report: Report, changes: Iterator[Change]) -> None:
        plans.append(_facts(report) | {"changes": [change._asdict() for change in changes]})

    show = collect if as_json else _print_plan
    reports = []
    for name in _names(settings, sources):
        with _progress(name) as meter:
            reports.append(compose.plan_source(settings, name, show, meter))
    if as_json:
        click.echo(json.dumps({"plans": plans}, ensure_ascii=False, indent=2))
    status = max((_EXITS.get(report.outcome, EXIT_FAILED) for report in reports), key=_SEVERITY.index, default=0)
    changed = any(r.counts.added + r.counts.changed + r.counts.removed for r in reports)
    sys.exit(EXIT_CHANGES if detailed_exitcode and changed and status == 0 else status)


@syncd.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@_with_settings
def status(settings: Settings, *, as_json: bool) -> None:
    """Show each source's last run and the age of its contacts; 1 when one is stale."""
    with translated(), engine(settings.database, Role.API).connect() as connection:
        state = runs.state(connection)
    expected = [Expected(source.name, source.type, source.stale_age) for source in settings.source]
    found = health(expected, state, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        Console().print(_table(found))
    sys.exit(EXIT_FAILED if any(source["stale"] for source in found["sources"]) else 0)


@syncd.command()
@_with_settings
def migrate(settings: Settings) -> None:
    """Bring the database's schema up to date."""
    done = migrations.migrate(engine(settings.database, None))
    click.echo(f"migrated: {', '.join(done)}" if done else "the schema is up to date")


@syncd.group()
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command()
@click.option("--role", type=click.Choice(["admin", "agent"]), required=True)
@click.option("--name", required=True, help="Who or what uses it; shown in the log.")
@_with_settings
def create(settings: Settings, role: str, name: str) -> None:
    """Make a token and print it; it is not stored and cannot be shown again."""
    secret = tokens.create(engine(settings.database, Role.API), name, role)
    click.echo(f"token {name!r} of role {role}; keep it, it is not shown again:", err=True)
    click.echo(secret)


@token.command(name="list")
@_with_settings
def list_(settings: Settings) -> None:
    """List the tokens, without their secrets."""
    table = Table("name", "role", "created", "revoked")
    for row in tokens.listing(engine(settings.database, Role.API)):
        revoked = "" if row.revoked_at is None else f"{row.revoked_at:%Y-%m-%d %H:%M}"
        table.add_row(row.name, row.role, f"{row.created_at:%Y-%m-%d %H:%M}", revoked)
    Console().print(table)


@token.command()
@click.argument("name")
@_with_settings
def revoke(settings: Settings, name: str) -> None:
    """Make a token worthless from the next request on."""
    if not tokens.revoke(engine(settings.database, Role.API), name):
        raise SyncdError(f"there is no valid token {name!r}; `syncd token list` shows them")
    click.echo(f"token {name!r} is revoked")


@syncd.command()
@click.option("--port", type=int, default=0, help="Port of the demonstration's endpoint; default: a free one.")
def demo(port: int) -> None:
    """Show the whole of it on private servers with sample data."""
    from syncd.demo import tour  # noqa: PLC0415 - nothing of it is needed by a service

    sys.exit(tour.run(port))


def main() -> None:
    """Run a command; turn our errors into a sentence on stderr and an exit status."""
    try:
        syncd(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"syncd: {problem}", err=True)
        sys.exit(EXIT_SETTINGS)
    except MissingPrivilege as error:
        click.echo(f"syncd: {error}", err=True)
        click.echo(error.sql)
        sys.exit(EXIT_FAILED)
    except SyncdError as error:
        click.echo(f"syncd: {error}", err=True)
        sys.exit(EXIT_BUSY if isinstance(error, SourceBusy) else EXIT_FAILED)
    except BrokenPipeError:  # `syncd plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)


def _names(settings: Settings, wanted: tuple[str, ...]) -> list[str]:
    if not settings.source:
        raise SyncdError("there is no source to read; add a [[source]] to the settings")
    return [settings.named(name).name for name in wanted] if wanted else [source.name for source in settings.source]


class _Entries(ProgressColumn):
    """How many entries a read has met; looked up whenever the bar is drawn."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the signature is rich's
        return Text(f"{self._meter.entries():,} entries")


@contextmanager
def _progress(name: str) -> Iterator[Meter]:
    """A progress bar on stderr while a source is read; nothing when stderr is no terminal."""
    meter = Meter()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), _Entries(meter), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(name, total=None)
        yield meter


def _summary(report: Report) -> str:
    done = report.applied
    text = (
        f"{report.source}: {report.outcome}: {report.entries} entries; {done.added} added, {done.changed} changed, "
        f"{done.removed} removed, {report.held} held, {done.rejected} rejected "
        f"in {report.seconds:.1f} s"
    )
    return f"{text}\n  {report.why}" if report.why else text


def _print_plan(report: Report, changes: Iterator[Change]) -> None:
    """The changes, one line each (`+` added, `~` changed, `-` removed), then the sum."""
    for change in changes:
        name = (change.new or change.old)["name"]
        if change.kind == "change":
            click.echo(f"~ {name}: {_difference(change)}")
        else:
            click.echo(f"{'+' if change.kind == 'add' else '-'} {name} ({change.key})")
    click.echo(_summary(report))


def _difference(change: Change) -> str:
    members = [m for m in {**change.old, **change.new} if change.old.get(m) != change.new.get(m)]
    return "; ".join(f"{m} {_value(change.old.get(m))} -> {_value(change.new.get(m))}" for m in members)


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(v["phoneNumber"] if isinstance(v, dict) else str(v) for v in value)
    return repr(value)


def _facts(report: Report) -> dict[str, Any]:
    counts = report.counts
    return {
        "source": report.source,
        "outcome": report.outcome,
        "why": report.why,
        "population": counts.population,
        "added": counts.added,
        "changed": counts.changed,
        "removed": counts.removed,
        "held": report.held,
        "rejected": counts.rejected,
        "evidence": None if report.evidence is None else report.evidence.facts(),
    }


def _table(found: dict[str, Any]) -> Table:
    table = Table("source", "type", "last run", "age", "stale", "held", "rejected", "why", title=f"{found['status']}")
    for source in found["sources"]:
        age = "never" if source["ageSeconds"] is None else f"{source['ageSeconds']} s"
        table.add_row(
            source["name"], source["type"], source["outcome"] or "-", age, "yes" if source["stale"] else "no",
            str(source["held"]), str(source["rejected"]), source["why"],
        )  # fmt: skip
    return table
