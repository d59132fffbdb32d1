"""A check of everything that syncd stands on: what steps find, verdicts, and what one broken step leaves unasked."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from syncd.core.operations.health import CERTIFICATE_NEAR_END
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Record, Reject


class Result(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, and should not stay as it is."""
    FAILED = "failed"
    UNREACHED = "not reached"
    """A step that it needs is broken."""


class Finding(NamedTuple):
    """What one step found."""

    of: str
    """A source, or the table of the settings that the step is about."""
    where: str
    """The server or file; empty where there is only one."""
    step: str
    result: Result
    what: str
    """What was seen, in one line."""
    remedy: str = ""
    """What to do about it; empty when nothing is."""

    def facts(self) -> dict[str, str]:
        """The same as plain JSON values."""
        return {**self._asdict(), "result": str(self.result)}


class Verdict(NamedTuple):
    """What something that was seen means."""

    result: Result
    what: str
    remedy: str = ""


class Chain:
    """Steps at one place, in the order in which each needs the one before it."""

    def __init__(self, of: str, where: str, steps: Sequence[str]) -> None:
        self._of = of
        self._where = where
        self._steps = steps
        self._told = 0

    def tell(self, step: str, verdict: Verdict) -> Finding:
        """What a step found. A step may have several findings, but none once a later step was told of."""
        self._told = self._steps.index(step) + 1
        return Finding(self._of, self._where, step, *verdict)

    def fine(self, step: str, what: str) -> Finding:
        """A step with which nothing is wrong."""
        return self.tell(step, Verdict(Result.OK, what))

    def broken(self, what: str, remedy: str) -> Iterator[Finding]:
        """The end of the chain: the first step that was not told of is broken, those behind it are not reached."""
        step, *rest = self._steps[self._told :]
        yield self.tell(step, Verdict(Result.FAILED, what, remedy))
        for unasked in rest:
            yield self.tell(unasked, Verdict(Result.UNREACHED, f"needs the step {step}"))


def worst(findings: Iterable[Finding]) -> Result:
    """The worst result of all."""
    found = {finding.result for finding in findings}
    return next((result for result in (Result.FAILED, Result.WARNING) if result in found), Result.OK)


def parted(sentence: str) -> tuple[str, str]:
    """What happened, and the next step: our errors end with it, behind their last semicolon."""
    what, _, remedy = sentence.rpartition("; ")
    return what or remedy, remedy


class Certificate(NamedTuple):
    """A certificate of a server's chain."""

    subject: str
    ends: datetime


_SOON = timedelta(days=30)


def certificates(chain: Sequence[Certificate], protocol: str, now: datetime) -> Verdict:
    """What a chain means that was accepted: it is good until the first of its certificates ends."""
    ends, subject = min((certificate.ends, certificate.subject) for certificate in chain)
    signed = "".join(f", signed by {certificate.subject}" for certificate in chain[1:])
    what = f"{protocol}; {chain[0].subject}{signed}; good until {ends:%Y-%m-%d}"
    left = ends - now
    if left > _SOON:
        return Verdict(Result.OK, what)
    days = -(-left // timedelta(days=1))
    urgent = "urgent: " if left < CERTIFICATE_NEAR_END else ""
    return Verdict(
        Result.WARNING,
        f"{urgent}the certificate of {subject} ends in {days} {'day' if days == 1 else 'days'}, on {ends:%Y-%m-%d}",
        "have it renewed before that day; from then on nothing can be read",
    )


class Sample(NamedTuple):
    """Entries of a source that were read to look at them."""

    items: Sequence[Record | Reject]
    present: Collection[str]
    """Names of attributes that some of them have, mapped or not, as the source spells them."""
    whole: bool
    """True when there are no more."""


def amount(sample: Sample, of_all: str) -> Verdict:
    """How many there are. `of_all` names what was looked through, such as `the filter (uid=*) matches`."""
    if not sample.items:
        return Verdict(
            Result.WARNING, f"{of_all} 0 entries", "correct base and filter, unless there is nobody yet: an empty read"
            " is held, so that it cannot empty the directory",
        )  # fmt: skip
    return Verdict(Result.OK, f"{of_all} {len(sample.items)} entries{'' if sample.whole else ' or more'}")


def attributes(sample: Sample, mapper: Mapper, wanted: Collection[str]) -> Iterator[Verdict]:
    """What the wanted attributes mean (names in lower case): in how many of the entries each is, and what is mapped."""
    size = len(sample.items)
    if not size:
        yield Verdict(Result.UNREACHED, "there is no entry to look at")
        return
    counts = Counter(name for item in sample.items for name, values in item.values.items() if any(values))
    yield _mapped(sample, mapper, ", ".join(f"{name} {counts[name]}" for name in sorted(wanted)))
    for name in sorted(wanted):
        if not counts[name]:
            yield Verdict(Result.WARNING, f"{name}: in 0 of {size} entries", _nearest(name, sample.present))


def _mapped(sample: Sample, mapper: Mapper, counted: str) -> Verdict:
    """Whether these entries become contacts."""
    size = len(sample.items)
    made = (mapper.contact(item) if isinstance(item, Record) else item for item in sample.items)
    rejected = [contact for contact in made if isinstance(contact, Reject)]
    what = f"of {size} entries have: {counted}" if counted else f"{size} entries"
    if not rejected:
        return Verdict(Result.OK, what)
    what = f"{len(rejected)} of {size} entries cannot be mapped, the first: {rejected[0].place}: {rejected[0].reason}"
    result = Result.FAILED if len(rejected) == size else Result.WARNING
    return Verdict(result, what, "correct [source.map] or key, or these entries at their source")


def _nearest(name: str, present: Collection[str]) -> str:
    spelled = {there.lower(): there for there in present}
    near = difflib.get_close_matches(name, spelled.keys() - {name}, n=1, cutoff=0.75)
    if near:
        return f"did you mean {spelled[near[0]]}? Correct [source.map]"
    return "correct [source.map], let the bind DN read it, or leave it out if nobody has it"
