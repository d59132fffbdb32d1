"""`syncd explain`: the sources' answers, stored state and history of a contact."""

import json
import sys
from collections.abc import Iterator

import click

from syncd.app import use_cases
from syncd.cli.exit_codes import EXIT_FAILED
from syncd.cli.formatting import print_json
from syncd.cli.options import with_json, with_settings
from syncd.core.sync.explain import Explanation, KnownContact, SourceAnswer
from syncd.core.sync.history import PastChange, rfc3339
from syncd.settings import Settings

_MAX_HISTORY_LINES = 10
"""Changes of a contact in the text; `--json` has all."""


@click.command()
@click.argument("text")
@with_json
@with_settings
def explain(settings: Settings, text: str, *, as_json: bool) -> None:
    """Explain the state of a contact, or its absence.

    TEXT is a name, a user name, a number, a key or an id. Every source is searched directly. Exits with 1 if neither a
    source nor the directory has such a contact.
    """
    explanation = use_cases.explain(settings, text)
    if as_json:
        print_json(explanation.to_json())
    else:
        for line in _format_explanation(explanation):
            click.echo(line)
    has_match = explanation.contacts or any(answer.key for answer in explanation.answers)
    sys.exit(0 if has_match else EXIT_FAILED)


def _format_explanation(explanation: Explanation) -> Iterator[str]:
    for answer in explanation.answers:
        yield f"{answer.source}: {answer.code}: {answer.sentence}"
        yield from _format_origins(answer)
    for contact in explanation.contacts:
        yield from _format_contact(contact)
    if not explanation.contacts:
        yield f"the directory knows no {explanation.text!r}"


def _format_origins(answer: SourceAnswer) -> Iterator[str]:
    """Yield the location of an entry, and the rule and attributes that each member comes from."""
    if answer.location:
        server = "" if answer.server in answer.location else f" ({answer.server})"
        yield f"  {answer.location}{server}"
    for member, origins in answer.origins.items():
        for origin in origins:
            raw = ", ".join(
                f"{name} {json.dumps(list(values), ensure_ascii=False)}" for name, values in origin.raw.items()
            )
            yield f"  {member} = {', '.join(origin.values)}   by rule {origin.rule!r} from {raw}"


def _format_contact(contact: KnownContact) -> Iterator[str]:
    origin = "entered manually" if contact.source is None else f"{contact.source} {contact.key}"
    state = f"{contact.state}, {'served' if contact.served else 'not served'}, since {rfc3339(contact.since)}"
    yield f"{contact.members.get('name')}: {contact.type} {contact.id}, {origin}; {state}"
    for change in contact.history[:_MAX_HISTORY_LINES]:
        yield f"  {_format_change(change)}"
    if len(contact.history) > _MAX_HISTORY_LINES:
        yield "  … (--json has more)"


def _format_change(change: PastChange) -> str:
    actor = f"run {change.run}" if change.caller is None else change.caller
    reason = f" ({change.reason})" if change.reason else ""
    old, new = change.old, change.new
    members = {**old, **new} if change.kind == "change" else {}
    difference = "; ".join(f"{m} {_format_value(old.get(m))} -> {_format_value(new.get(m))}" for m in members)
    return f"{rfc3339(change.at)} revision {change.revision}, {actor}: {change.kind}{reason} {difference}".rstrip()


def _format_value(value: object) -> str:
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
