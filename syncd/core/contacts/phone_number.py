"""Phone numbers: what is dialled, E.164, extension, and what two spellings of one number share (phonenumbers).

A number keeps the spelling that its owner gave it; what is read out of it here is for finding it. Most numbers of a
directory are digits and punctuation, with a country code or a trunk zero. Those are read by the library's own tables
without its parser, which takes ten times as long; a test holds both ways to the same answer.
"""

import re
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, ValidationResult

from syncd.core.contacts.text import dialled

REGIONS: Collection[str] = phonenumbers.SUPPORTED_REGIONS
"""The regions (ISO 3166 alpha-2) that can be a default."""

SUFFIX = 7
"""Digits, counted from the right, that two numbers must share to be taken for one; a shorter number is internal."""


class Reading(NamedTuple):
    """What a number as written says."""

    dialled: str
    """Letters and digits as written."""
    country: str = ""
    """Its country code; empty, as all that follows, when the number has no E.164 form."""
    significant: str = ""
    """The national number without what is dialled before it within its country."""
    trunk: str = ""
    """What is dialled before it within its country."""
    extension: str = ""

    @property
    def e164(self) -> str | None:
        """International, with an extension as RFC 3966, 5.3 writes it: `+498955501030;ext=7`."""
        if not self.country:
            return None
        return f"+{self.country}{self.significant}" + self._suffixed

    @property
    def _suffixed(self) -> str:
        return f";ext={self.extension}" if self.extension else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """What tells it from other numbers: as dialled; then E.164, or without that its digits after a minus.

        These digits are without leading zeros, and only there for a number that is long enough.
        """
        if self.country:
            return (self.dialled, f"+{self.country}{self.significant}" + self._suffixed)
        bare = self.dialled.lstrip("0")
        return (self.dialled, f"-{bare}") if _comparable(bare) else (self.dialled,)

    @property
    def tails(self) -> tuple[str, ...]:
        """The last characters, which all spellings of the number share."""
        return (self.dialled[-SUFFIX:], self.significant[-SUFFIX:])

    @property
    def words(self) -> tuple[str, ...]:
        """The digits that somebody may begin to type: as written, international, national, the extension."""
        if not self.country:
            return (self.dialled,)
        return (self.dialled, self.country + self.significant, self.trunk + self.significant, self.extension)


def read(number: str, region: str = "") -> Reading:
    """The reading of one number. `region` is where a number without country code belongs, empty for nowhere.

    A number with `*` or `#` is a code, and one of fewer than 7 digits without international prefix is internal: they
    stay as they are, without E.164. Where there is no region, 00 is the international prefix (ITU-T E.123).
    """
    plain = _PLAIN.fullmatch(number) is not None
    digits = number.translate(_DIGITS_ONLY) if plain else dialled(number)
    international = number[:1] == "+"
    if not international:
        if not region and number.lstrip(" (")[:2] == "00":
            number, international = "+" + number.lstrip(" (")[2:], True
        elif (len(digits) if plain else sum(map(str.isdigit, digits))) < SUFFIX:
            return Reading(digits)
    if not plain:
        return _parsed(digits, number, region)
    found = _abroad(number.translate(_DIGITS_ONLY)) if international else _at_home(digits, region)
    return _parsed(digits, number, region) if found is None else Reading(digits, *found)


class Asked(NamedTuple):
    """What a number that somebody asks for may be found by."""

    dialled: str
    e164: tuple[str, ...]
    """E.164, under each region that it may have been written in."""
    digits: str
    """All its digits without leading zeros, with the country code if it was given; empty when it is internal."""
    tails: tuple[str, ...]
    """One of these has every contact that comes into question."""

    @property
    def spellings(self) -> list[str]:
        """Every key (`Reading.keys`) of the very number."""
        return [self.dialled, *self.e164]


def asked(number: str, regions: Collection[str] = ()) -> Asked:
    """A number as somebody asks for it, who may be in any of these regions or abroad."""
    readings = [read(number, region) for region in ("", *regions)]
    first, known = readings[0], [reading for reading in readings if reading.country]
    digits = first.country + first.significant if first.country else first.dialled.lstrip("0")
    return Asked(
        first.dialled,
        tuple(dict.fromkeys(reading.e164 for reading in known if reading.e164)),
        digits if _comparable(digits) else "",
        tuple(dict.fromkeys(tail for reading in readings for tail in reading.tails if tail)),
    )


def _comparable(digits: str) -> bool:
    return len(digits) >= SUFFIX and digits.isascii() and digits.isdigit()


_Found = tuple[str, str, str]
"""Country code, significant number and trunk prefix; the first two empty for a number without E.164."""

_NOTHING: _Found = ("", "", "")


def _parsed(digits: str, number: str, region: str) -> Reading:
    """By the library's parser, which understands everything that people write."""
    if "*" in number or "#" in number:
        return Reading(digits)
    try:
        found = phonenumbers.parse(number, region or None)
    except phonenumbers.NumberParseException:
        return Reading(digits)
    if phonenumbers.is_possible_number_with_reason(found) != ValidationResult.IS_POSSIBLE:
        return Reading(digits)
    code = str(found.country_code)
    significant = phonenumbers.national_significant_number(found)
    return Reading(digits, code, significant, _of_code(code).trunk, found.extension or "")


class _Plan(NamedTuple):
    """What the library knows of a country's numbers."""

    code: str
    lengths: frozenset[int]
    """Of a significant number."""
    form: re.Pattern[str]
    prefix: re.Pattern[str]
    """What may stand before it; matches nothing where nothing may."""
    abroad: re.Pattern[str]
    """The international prefix."""
    zero: bool
    """Whether the prefix is a zero and nothing else."""
    trunk: str


def _plan(metadata: PhoneMetadata | None) -> _Plan:
    if metadata is None or metadata.general_desc is None:
        raise LookupError("the library knows no numbers of this region")
    desc, prefix = metadata.general_desc, metadata.national_prefix_for_parsing
    ruled = any(form.national_prefix_formatting_rule for form in metadata.number_format)
    return _Plan(
        str(metadata.country_code),
        frozenset(desc.possible_length),
        re.compile(desc.national_number_pattern or _NEVER),
        re.compile(prefix or _NEVER),
        re.compile(metadata.international_prefix or _NEVER),
        prefix == "0" and not metadata.national_prefix_transform_rule,
        metadata.national_prefix or "" if ruled else "",
    )


@cache
def _of_code(code: str) -> _Plan:
    """The plan of the country that a code is first of all for."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]
    return _plan(PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0]))


@cache
def _of_region(region: str) -> _Plan:
    return _plan(PhoneMetadata.metadata_for_region(region))


def _abroad(digits: str) -> _Found | None:
    """An international number of these digits; None when only the parser can tell."""
    for length in (1, 2, 3):
        code = digits[:length]
        if code in _CODES:
            plan = _of_code(code)
            rest = digits[length:]
            if plan.prefix.match(rest):
                return None
            return (code, rest, plan.trunk) if len(rest) in plan.lengths else _NOTHING
    return None


def _at_home(digits: str, region: str) -> _Found | None:
    """A national number of these digits; None when only the parser can tell."""
    if not region:
        return _NOTHING
    plan = _of_region(region)
    if plan.abroad.match(digits) or digits.startswith(plan.code):
        return None
    if plan.prefix.match(digits):
        rest = digits[1:]
        if not plan.zero or len(rest) not in plan.lengths or not plan.form.fullmatch(rest):
            return None
        digits = rest
    home = _of_code(plan.code)
    return (plan.code, digits, home.trunk) if len(digits) in home.lengths else _NOTHING


_NEVER = r"(?!)"
_PLAIN = re.compile(r"\+?[0-9 ().\-/]*[0-9][0-9 ().\-/]*")
_DIGITS_ONLY = {ord(char): None for char in "+ ().-/"}
_CODES = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
