"""`syncd explain`: why a contact is as it is, or is not there."""

import json
import sys
from collections.abc import Iterator

import click

from syncd.app import use_cases
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.options import with_json, with_settings
from syncd.cli.output import print_json
from syncd.core.sync.explain import Answer, Explanation, Known
from syncd.core.sync.history import PastChange, moment
from syncd.settings import Settings

_LINES = 10


@click.command()
@click.argument("text")
@with_json
@with_settings
def explain(settings: Settings, text: str, *, as_json: bool) -> None:
    """Tell why a contact is as it is, or is not there; TEXT is a name, a user name, a number, a key or an id.

    Asks each source directly. Exits with 1 when neither a source nor the directory knows of it.
    """
    found = use_cases.explain(settings, text)
    if as_json:
        print_json(found.facts())
    else:
        for line in _lines(found):
            click.echo(line)
    sys.exit(0 if found.contacts or any(answer.key for answer in found.answers) else EXIT_FAILED)


def _lines(found: Explanation) -> Iterator[str]:
    for answer in found.answers:
        yield f"{answer.source}: {answer.code}: {answer.sentence}"
        yield from _origins(answer)
    for contact in found.contacts:
        yield from _contact(contact)
    if not found.contacts:
        yield f"the directory knows no {found.asked!r}"


def _origins(answer: Answer) -> Iterator[str]:
    """What each member comes from, below its answer."""
    if answer.place:
        yield f"  {answer.place} ({answer.server})" if answer.server not in answer.place else f"  {answer.place}"
    for member, origins in answer.origins.items():
        for origin in origins:
            raw = ", ".join(
                f"{name} {json.dumps(list(values), ensure_ascii=False)}" for name, values in origin.raw.items()
            )
            yield f"  {member} = {', '.join(origin.values)}   by rule {origin.rule!r} from {raw}"


def _contact(contact: Known) -> Iterator[str]:
    of = "kept by hand" if contact.source is None else f"{contact.source} {contact.key}"
    state = f"{contact.state}, {'served' if contact.served else 'not served'}, since {moment(contact.since)}"
    yield f"{contact.members.get('name')}: {contact.type} {contact.id}, {of}; {state}"
    for line in contact.history[:_LINES]:
        yield f"  {_change(line)}"
    if len(contact.history) > _LINES:
        yield "  … (--json has more)"


def _change(line: PastChange) -> str:
    actor = f"run {line.run}" if line.caller is None else line.caller
    reason = f" ({line.reason})" if line.reason else ""
    members = [m for m in {**line.old, **line.new} if line.kind == "change"]
    what = "; ".join(f"{m} {_shown(line.old.get(m))} -> {_shown(line.new.get(m))}" for m in members)
    return f"{moment(line.at)} revision {line.revision}, {actor}: {line.kind}{reason} {what}".rstrip()


def _shown(value: object) -> str:
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
