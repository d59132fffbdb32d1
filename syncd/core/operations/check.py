"""Findings of `syncd check`: results of dependent steps, and verdicts on certificates and sample entries."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from syncd.core.operations.health import CERTIFICATE_WARNING
from syncd.core.sync.mapping import Mapper
from syncd.core.sync.record import Record, Reject


class Result(StrEnum):
    """Result of a step."""

    OK = "ok"
    WARNING = "warning"
    """It works, but should be corrected."""
    FAILED = "failed"
    UNREACHED = "not reached"
    """A step that it depends on has failed."""


class Finding(NamedTuple):
    """Finding of one step."""

    of: str
    """Name of a source or of a table of the settings."""
    where: str
    """Server or file; empty if there is only one."""
    step: str
    result: Result
    what: str
    """Observation, in one line."""
    remedy: str = ""
    """Next step; empty if there is none."""

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return {**self._asdict(), "result": str(self.result)}


class Verdict(NamedTuple):
    """Finding without its step."""

    result: Result
    what: str
    remedy: str = ""


class Chain:
    """Steps at one server or file; each depends on the one before it."""

    def __init__(self, of: str, where: str, steps: Sequence[str]) -> None:
        self._of = of
        self._where = where
        self._steps = steps
        self._reported = 0

    def report(self, step: str, verdict: Verdict) -> Finding:
        """Return a finding of a step. A step can have several findings, but none after one of a later step."""
        self._reported = self._steps.index(step) + 1
        return Finding(self._of, self._where, step, *verdict)

    def ok(self, step: str, what: str) -> Finding:
        """Return the finding of a step without problems."""
        return self.report(step, Verdict(Result.OK, what))

    def fail(self, what: str, remedy: str) -> Iterator[Finding]:
        """Yield FAILED for the first step without a finding, and UNREACHED for those after it."""
        step, *rest = self._steps[self._reported :]
        yield self.report(step, Verdict(Result.FAILED, what, remedy))
        for unreached in rest:
            yield self.report(unreached, Verdict(Result.UNREACHED, f"needs the step {step}"))


def worst_result(findings: Iterable[Finding]) -> Result:
    """Return the worst result of all findings."""
    results = {finding.result for finding in findings}
    return next((result for result in (Result.FAILED, Result.WARNING) if result in results), Result.OK)


def split_remedy(sentence: str) -> tuple[str, str]:
    """Split the message of a SyncdError at its last semicolon into event and next step."""
    what, _, remedy = sentence.rpartition("; ")
    return what or remedy, remedy


class Certificate(NamedTuple):
    """Certificate of a server's chain."""

    subject: str
    ends: datetime


_EXPIRES_SOON = timedelta(days=30)


def check_certificates(chain: Sequence[Certificate], protocol: str, now: datetime) -> Verdict:
    """Judge a verified chain: it is valid until the first of its certificates expires."""
    ends, subject = min((certificate.ends, certificate.subject) for certificate in chain)
    signed = "".join(f", signed by {certificate.subject}" for certificate in chain[1:])
    what = f"{protocol}; {chain[0].subject}{signed}; good until {ends:%Y-%m-%d}"
    remaining = ends - now
    if remaining > _EXPIRES_SOON:
        return Verdict(Result.OK, what)
    days = -(-remaining // timedelta(days=1))
    urgent = "urgent: " if remaining < CERTIFICATE_WARNING else ""
    return Verdict(
        Result.WARNING,
        f"{urgent}the certificate of {subject} ends in {days} {'day' if days == 1 else 'days'}, on {ends:%Y-%m-%d}",
        "have it renewed before that day; from then on nothing can be read",
    )


class Sample(NamedTuple):
    """Sample of the entries of a source."""

    items: Sequence[Record | Reject]
    present: Collection[str]
    """Attributes that occur in the sample, mapped or not, in the spelling of the source."""
    is_complete: bool
    """Whether the source has no other entries."""


def check_count(sample: Sample, subject: str) -> Verdict:
    """Judge the number of entries. `subject` begins the sentence, such as `the filter (uid=*) matches`."""
    if not sample.items:
        return Verdict(
            Result.WARNING, f"{subject} 0 entries", "correct base and filter, unless there are no entries yet: an empty"
            " read is held, so that it cannot empty the directory",
        )  # fmt: skip
    return Verdict(Result.OK, f"{subject} {len(sample.items)} entries{'' if sample.is_complete else ' or more'}")


def check_attributes(sample: Sample, mapper: Mapper, required: Collection[str]) -> Iterator[Verdict]:
    """Judge whether the sample can be mapped, and in how many entries each required attribute (lower case) occurs."""
    size = len(sample.items)
    if not size:
        yield Verdict(Result.UNREACHED, "there is no entry to look at")
        return
    counts = Counter(name for item in sample.items for name, values in item.values.items() if any(values))
    yield _check_mapping(sample, mapper, ", ".join(f"{name} {counts[name]}" for name in sorted(required)))
    for name in sorted(required):
        if not counts[name]:
            yield Verdict(Result.WARNING, f"{name}: in 0 of {size} entries", _suggest_name(name, sample.present))


def _check_mapping(sample: Sample, mapper: Mapper, attribute_counts: str) -> Verdict:
    """Judge whether the entries can be mapped."""
    size = len(sample.items)
    contacts = (mapper.to_contact(item) if isinstance(item, Record) else item for item in sample.items)
    rejected = [contact for contact in contacts if isinstance(contact, Reject)]
    what = f"of {size} entries have: {attribute_counts}" if attribute_counts else f"{size} entries"
    if not rejected:
        return Verdict(Result.OK, what)
    what = (
        f"{len(rejected)} of {size} entries cannot be mapped, the first: {rejected[0].location}: {rejected[0].reason}"
    )
    result = Result.FAILED if len(rejected) == size else Result.WARNING
    return Verdict(result, what, "correct [source.map] or key, or these entries at their source")


def _suggest_name(name: str, present: Collection[str]) -> str:
    spellings = {attribute.lower(): attribute for attribute in present}
    near = difflib.get_close_matches(name, spellings.keys() - {name}, n=1, cutoff=0.75)
    if near:
        return f"did you mean {spellings[near[0]]}? Correct [source.map]"
    return "correct [source.map], let the bind DN read it, or leave it out if no entry has it"
