"""Phone numbers: parsing, and equality of the fast path with the library."""

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.core.contacts import phone_number as numbers
from syncd.core.contacts.phone_number import REGIONS, SUFFIX_LENGTH, ParsedNumber, lookup_keys, parse_number
from syncd.core.contacts.text import normalize_dialled

SPELLINGS = [
    # Germany
    ("+49 89 5550103", "", "+49895550103"),
    ("+49 89 5550-103", "", "+49895550103"),
    ("+49-89-5550103", "", "+49895550103"),
    ("+49 (89) 5550103", "", "+49895550103"),
    ("+49 (0)89 5550103", "", "+49895550103"),
    ("+49(0)89/5550103", "", "+49895550103"),
    ("+49 089 5550103", "", "+49895550103"),
    ("+49.89.5550103", "", "+49895550103"),
    ("+4989 555 01 03", "", "+49895550103"),
    ("0049 89 5550103", "DE", "+49895550103"),
    ("0049 89 5550103", "", "+49895550103"),
    ("0049 (0)89 5550103", "DE", "+49895550103"),
    ("(0049) 89 5550103", "", "+49895550103"),
    ("089 5550103", "DE", "+49895550103"),
    ("089/5550103", "DE", "+49895550103"),
    ("(089) 5550103", "DE", "+49895550103"),
    ("089-5550103", "DE", "+49895550103"),
    ("0 89 / 555 01 03", "DE", "+49895550103"),
    ("tel: 089 5550103", "DE", "+49895550103"),
    ("+49 89 5550103 ext. 30", "", "+49895550103;ext=30"),
    ("+49 89 5550103 ext 30", "", "+49895550103;ext=30"),
    ("+49 89 5550103 x30", "", "+49895550103;ext=30"),
    ("089 5550103 x30", "DE", "+49895550103;ext=30"),
    ("0049 89 5550103 x30", "", "+49895550103;ext=30"),
    ("+49 89 5550103;ext=30", "", "+49895550103;ext=30"),
    ("0151 23456789", "DE", "+4915123456789"),
    ("+49 151 23456789", "", "+4915123456789"),
    ("0800 3301000", "DE", "+498003301000"),
    ("089 5550103", "", None),
    ("+49", "", None),
    ("+49 8", "", None),
    # internal numbers and codes
    ("4001", "DE", None),
    ("4001", "", None),
    ("110", "DE", None),
    ("*97", "DE", None),
    ("*97", "", None),
    ("#31#0895550103", "DE", None),
    ("**61*0895550103#", "DE", None),
    ("+49895550103#", "", None),
    ("ext. 30", "DE", None),
    ("555010", "DE", None),
    ("xxx-xxx-xxxx", "US", None),
    ("", "DE", None),
    ("-", "DE", None),
    # North America
    ("+1 570 555 0101", "", "+15705550101"),
    ("(570) 555-0101", "US", "+15705550101"),
    ("570.555.0101", "US", "+15705550101"),
    ("1-570-555-0101", "US", "+15705550101"),
    ("011 49 89 5550103", "US", "+49895550103"),
    ("(570) 555-0101 ext. 12", "US", "+15705550101;ext=12"),
    ("+1 800 FLOWERS", "", "+18003569377"),
    # elsewhere
    ("+44 20 7946 0018", "", "+442079460018"),
    ("+44 (0)20 7946 0018", "", "+442079460018"),
    ("020 7946 0018", "GB", "+442079460018"),
    ("+39 06 6982", "", "+39066982"),
    ("06 698 82000", "IT", "+390669882000"),
    ("01 40 20 50 50", "FR", "+33140205050"),
    ("+33 1 40 20 50 50", "", "+33140205050"),
    ("8 (495) 123-45-67", "RU", "+74951234567"),
    ("+7 495 123-45-67", "", "+74951234567"),
    ("+43 1 5550103", "", "+4315550103"),
    ("01 5550103", "AT", "+4315550103"),
    ("044 668 18 00", "CH", "+41446681800"),
    ("+999 12345678", "", None),
    ("+0 89 5550103", "", None),
]


@pytest.mark.parametrize(("written", "region", "e164"), SPELLINGS)
def test_spellings(written: str, region: str, e164: str | None) -> None:
    """E.164 form of each spelling; `dialled` is as written."""
    parsed = parse_number(written, region)

    assert parsed.e164 == e164
    assert parsed.dialled == normalize_dialled(written)


@pytest.mark.parametrize("internal", ["4001", "*97", "110", "#31#"])
def test_a_short_number_or_code_is_found_by_its_digits_alone(internal: str) -> None:
    """It has no E.164 form in any region."""
    assert parse_number(internal, "DE").keys == (normalize_dialled(internal),)
    assert parse_number(internal, "DE").words == (normalize_dialled(internal),)
    assert lookup_keys(internal, ["DE"]).e164 == ()
    assert lookup_keys(internal, ["DE"]).digits == ""


def test_words_of_a_number() -> None:
    """As written, international, with the trunk prefix of its country, and the extension."""
    assert set(parse_number("+49 89 5550103 x30").words) == {"49895550103x30", "49895550103", "0895550103", "30"}
    assert set(parse_number("(570) 555-0101", "US").words) == {"5705550101", "15705550101", ""}


WRITTEN = st.builds(
    "{}{}".format,
    st.sampled_from(
        ["", "+", "00", "0", "011", "1", "8", "+1", "+49", "+44 (0)", "+39 0", "+7", "+54 9", "+800", "+3780549", "(0"]
    ),
    st.text("0123456789" * 3 + " -()./", max_size=16),
)


@settings(max_examples=2000)
@example("+390", "")
@example("+80000000000", "")
@example("0049 (0)89 555010", "DE")
@given(WRITTEN, st.sampled_from(["", *sorted(REGIONS)]))
def test_the_fast_path_equals_the_library(written: str, region: str) -> None:
    """For every region: the same E.164 form, national number and trunk prefix."""
    parsed = parse_number(written, region)
    if parsed.country or len(normalize_dialled(written)) >= SUFFIX_LENGTH or written.startswith("+"):
        assert (parsed.e164, parsed.significant) == by_library(written, region)


def by_library(written: str, region: str) -> tuple[str | None, str]:
    """E.164 form and national number by the public functions of the library."""
    bare = written.lstrip(" (")
    if not region and bare.startswith("00"):
        written = "+" + bare[2:]
    try:
        parsed = phonenumbers.parse(written, region or None)
    except phonenumbers.NumberParseException:
        return None, ""
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None, ""
    e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return e164, phonenumbers.national_significant_number(parsed)


@given(st.text(max_size=30), st.sampled_from(["", "DE", "US"]))
def test_any_text_can_be_parsed(written: str, region: str) -> None:
    """No text raises an error, and every number is found by its digits."""
    parsed = parse_number(written, region)

    assert parsed.keys[0] == normalize_dialled(written)
    assert lookup_keys(written, [region]).exact_keys[0] == normalize_dialled(written)


@given(st.sampled_from([spelling for spelling in SPELLINGS if spelling[2] == "+49895550103"]))
def test_all_spellings_of_a_number_share_a_key(spelling: tuple[str, str, str]) -> None:
    """And a suffix."""
    written, region, _ = spelling
    stored = parse_number(written, region)
    for other, other_region, e164 in SPELLINGS:
        if e164 == stored.e164:
            keys = lookup_keys(other, [other_region] if other_region else [])
            assert set(keys.exact_keys) & set(stored.keys), other
            assert set(keys.suffixes) & set(stored.suffixes), other


def test_lookup_keys_of_several_regions() -> None:
    """A national number may be of any of them; one with a country code is unambiguous."""
    assert lookup_keys("030 1234567", ["DE", "AT"]).e164 == ("+49301234567", "+43301234567")
    assert lookup_keys("+49 30 1234567", ["DE", "AT"]).e164 == ("+49301234567",)
    assert lookup_keys("030 1234567", ["DE"]).digits == "301234567"
    assert lookup_keys("+49 30 1234567").digits == "49301234567"


def test_an_unknown_region_is_a_defect() -> None:
    """Regions are validated by the settings."""
    with pytest.raises(LookupError):
        numbers._compile_plan(None)


def test_parsed_numbers_are_values() -> None:
    """The same number gives an equal result."""
    assert parse_number("+49 89 5550103") == ParsedNumber("49895550103", "49", "895550103", "0")
