"""Phone numbers: parsing to E.164, and the keys that different spellings of one number share (phonenumbers).

A number is stored as its owner wrote it; the parsed form only serves to find it. Most numbers of a directory are digits
and punctuation, with a country code or a trunk zero. Those are parsed with the metadata of the library alone, because
its parser takes ten times as long; a property test compares both ways.
"""

import re
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, ValidationResult

from syncd.core.contacts.text import normalize_dialled

REGIONS: Collection[str] = phonenumbers.SUPPORTED_REGIONS
"""Possible default regions (ISO 3166 alpha-2)."""

SUFFIX_LENGTH = 7
"""Number of last digits that two numbers must share to match; a shorter number is internal."""


class ParsedNumber(NamedTuple):
    """Parts of a phone number."""

    dialled: str
    """Letters and digits as written."""
    country: str = ""
    """Country code; empty, as all following fields, for a number without E.164 form."""
    significant: str = ""
    """National (significant) number, without trunk prefix."""
    trunk: str = ""
    """Trunk prefix (national prefix) of the country."""
    extension: str = ""

    @property
    def e164(self) -> str | None:
        """E.164 form, with an extension as in RFC 3966, 5.3: `+498955501030;ext=7`."""
        if not self.country:
            return None
        return f"+{self.country}{self.significant}" + self._extension_suffix

    @property
    def _extension_suffix(self) -> str:
        return f";ext={self.extension}" if self.extension else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the column `dialled`: the digits as written, then E.164.

        Without E.164 the second key is a minus and the digits without leading zeros, if there are enough of them.
        """
        if self.country:
            return (self.dialled, f"+{self.country}{self.significant}" + self._extension_suffix)
        digits = self.dialled.lstrip("0")
        return (self.dialled, f"-{digits}") if _is_comparable(digits) else (self.dialled,)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Last SUFFIX_LENGTH characters as written and of the significant number."""
        return (self.dialled[-SUFFIX_LENGTH:], self.significant[-SUFFIX_LENGTH:])

    @property
    def words(self) -> tuple[str, ...]:
        """Digit strings for prefix search: as written, international, national, extension."""
        if not self.country:
            return (self.dialled,)
        return (self.dialled, self.country + self.significant, self.trunk + self.significant, self.extension)


def parse_number(number: str, region: str = "") -> ParsedNumber:
    """Parse one number. `region` is the default region of numbers without country code; empty for none.

    A number with `*` or `#` is a service code, and one of fewer than 7 digits without international prefix is internal:
    both have no E.164 form. Without a region, 00 is the international prefix (ITU-T E.123).
    """
    is_plain = _PLAIN.fullmatch(number) is not None
    digits = number.translate(_DIGITS_ONLY) if is_plain else normalize_dialled(number)
    is_international = number[:1] == "+"
    if not is_international:
        if not region and number.lstrip(" (")[:2] == "00":
            number, is_international = "+" + number.lstrip(" (")[2:], True
        elif (len(digits) if is_plain else sum(map(str.isdigit, digits))) < SUFFIX_LENGTH:
            return ParsedNumber(digits)
    if not is_plain:
        return _parse_with_library(digits, number, region)
    if is_international:
        parts = _split_international(number.translate(_DIGITS_ONLY))
    else:
        parts = _split_national(digits, region)
    return _parse_with_library(digits, number, region) if parts is None else ParsedNumber(digits, *parts)


class LookupKeys(NamedTuple):
    """Keys to find the contacts of a number."""

    dialled: str
    e164: tuple[str, ...]
    """E.164 form for each possible region."""
    digits: str
    """All digits without leading zeros, with the country code if there is one; empty for an internal number."""
    suffixes: tuple[str, ...]
    """Every candidate has one of these suffixes."""

    @property
    def exact_keys(self) -> list[str]:
        """All `ParsedNumber.keys` of exactly this number."""
        return [self.dialled, *self.e164]


def lookup_keys(number: str, regions: Collection[str] = ()) -> LookupKeys:
    """Return the keys of a number that was written in one of these regions, or internationally."""
    readings = [parse_number(number, region) for region in ("", *regions)]
    first, e164_forms = readings[0], [reading.e164 for reading in readings]
    digits = first.country + first.significant if first.country else first.dialled.lstrip("0")
    return LookupKeys(
        first.dialled,
        tuple(dict.fromkeys(filter(None, e164_forms))),
        digits if _is_comparable(digits) else "",
        tuple(dict.fromkeys(suffix for reading in readings for suffix in reading.suffixes if suffix)),
    )


def _is_comparable(digits: str) -> bool:
    return len(digits) >= SUFFIX_LENGTH and digits.isascii() and digits.isdigit()


_Parts = tuple[str, str, str]
"""(country code, significant number, trunk prefix); all empty for a number without E.164 form."""

_NO_PARTS: _Parts = ("", "", "")


def _parse_with_library(digits: str, number: str, region: str) -> ParsedNumber:
    """Parse with the library's parser, which accepts all spellings. `digits` is the result's `dialled`."""
    if "*" in number or "#" in number:
        return ParsedNumber(digits)
    try:
        parsed = phonenumbers.parse(number, region or None)
    except phonenumbers.NumberParseException:
        return ParsedNumber(digits)
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return ParsedNumber(digits)
    code = str(parsed.country_code)
    significant = phonenumbers.national_significant_number(parsed)
    return ParsedNumber(digits, code, significant, _plan_of_code(code).trunk, parsed.extension or "")


class _NumberingPlan(NamedTuple):
    """Numbering plan of a region, compiled from the library's metadata."""

    code: str
    lengths: frozenset[int]
    """Possible lengths of a significant number."""
    form: re.Pattern[str]
    prefix: re.Pattern[str]
    """National prefix for parsing; matches nothing for a region without one."""
    international_prefix: re.Pattern[str]
    """International prefix."""
    zero: bool
    """Whether the national prefix is a plain zero."""
    trunk: str


def _compile_plan(metadata: PhoneMetadata | None) -> _NumberingPlan:
    if metadata is None or metadata.general_desc is None:
        raise LookupError("the library knows no numbers of this region")
    desc, prefix = metadata.general_desc, metadata.national_prefix_for_parsing
    ruled = any(form.national_prefix_formatting_rule for form in metadata.number_format)
    return _NumberingPlan(
        str(metadata.country_code),
        frozenset(desc.possible_length),
        re.compile(desc.national_number_pattern or _NEVER),
        re.compile(prefix or _NEVER),
        re.compile(metadata.international_prefix or _NEVER),
        prefix == "0" and not metadata.national_prefix_transform_rule,
        metadata.national_prefix or "" if ruled else "",
    )


@cache
def _plan_of_code(code: str) -> _NumberingPlan:
    """Return the plan of the main region of a country code."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]
    return _compile_plan(PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0]))


@cache
def _plan_of_region(region: str) -> _NumberingPlan:
    return _compile_plan(PhoneMetadata.metadata_for_region(region))


def _split_international(digits: str) -> _Parts | None:
    """Split the digits of an international number; None when the library's parser is needed."""
    for length in (1, 2, 3):
        code = digits[:length]
        if code in _CODES:
            plan = _plan_of_code(code)
            rest = digits[length:]
            if plan.prefix.match(rest):
                return None
            return (code, rest, plan.trunk) if len(rest) in plan.lengths else _NO_PARTS
    return None


def _split_national(digits: str, region: str) -> _Parts | None:
    """Split the digits of a national number; None when the library's parser is needed."""
    if not region:
        return _NO_PARTS
    plan = _plan_of_region(region)
    if plan.international_prefix.match(digits) or digits.startswith(plan.code):
        return None
    if plan.prefix.match(digits):
        rest = digits[1:]
        if not plan.zero or len(rest) not in plan.lengths or not plan.form.fullmatch(rest):
            return None
        digits = rest
    main_plan = _plan_of_code(plan.code)
    return (plan.code, digits, main_plan.trunk) if len(digits) in main_plan.lengths else _NO_PARTS


_NEVER = r"(?!)"
_PLAIN = re.compile(r"\+?[ ().\-/]*+[0-9][0-9 ().\-/]*+")
_DIGITS_ONLY = {ord(char): None for char in "+ ().-/"}
_CODES = frozenset(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
