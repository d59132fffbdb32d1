"""Text normalization: idempotence, folding, dialled digits and control characters."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.text import clean, fold, has_control, normalize_dialled, replace_controls

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]
CASED = [char for char in EVERY_CHARACTER if not char.upper() == char.lower() == char]
DECOMPOSED = [char for char in EVERY_CHARACTER if not unicodedata.is_normalized("NFKD", char)]

spaced = st.text(st.one_of(st.characters(), st.sampled_from(" \t\n\r\x0b\x1c\x85\xa0\u2003\u3000e\u0301\u030a")))


@given(spaced)
def test_clean_is_idempotent(text: str) -> None:
    """So that a stored value that is read again is no change."""
    once = clean(text)

    assert clean(once) == once


@given(spaced)
def test_a_cleaned_text_is_composed_and_trimmed(text: str) -> None:
    """NFC, single spaces only, none at the ends."""
    cleaned = clean(text)

    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned.split() == [word for word in cleaned.split(" ") if word]
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned


@given(spaced)
def test_clean_keeps_every_word(text: str) -> None:
    """Only white space and normalization form change."""
    assert clean(text).split() == unicodedata.normalize("NFC", text).split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Anna \t Maria\n", "Anna Maria"),
        ("Zoe\u0308", "Zoë"),
        ("\u212b", "Å"),  # the sign for the unit is the letter
        ("\u00a0\u2003\u3000", ""),
        ("", ""),
    ],
)
def test_clean_examples(text: str, expected: str) -> None:
    """White space is collapsed and stripped, accents are composed."""
    assert clean(text) == expected


def test_fold_ignores_case_of_every_letter() -> None:
    """Upper, lower, title and swapped case of each letter of Unicode fold alike; dotless i is the exception."""
    odd = {
        char
        for char in CASED
        if {fold(form) for form in (char.upper(), char.lower(), char.title(), char.swapcase())} != {fold(char)}
    }

    assert odd == {"ı"}


def test_fold_is_idempotent_for_every_character() -> None:
    """And independent of the normalization form, for each character of Unicode."""
    for char in {*CASED, *DECOMPOSED}:
        folded = fold(char)

        assert fold(folded) == folded, hex(ord(char))
        assert fold(unicodedata.normalize("NFC", char)) == folded, hex(ord(char))
        assert fold(unicodedata.normalize("NFD", char)) == folded, hex(ord(char))


@given(st.text())
def test_fold_is_idempotent_for_texts(text: str) -> None:
    """And ignores accents and case."""
    folded = fold(text)

    assert fold(folded) == folded
    assert fold(unicodedata.normalize("NFD", text)) == folded
    assert fold("".join(char + "\u0301" for char in text)) == folded
    assert fold(text.upper()).replace("ı", "i") == folded.replace("ı", "i")


@given(st.text(st.characters(max_codepoint=127)))
def test_the_ascii_path_of_fold_equals_the_general_one(text: str) -> None:
    """Compared by a text with an additional other letter."""
    assert fold(text + "ж") == fold(text) + "ж"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MÜLLER", "muller"),
        ("Straße", "strasse"),
        ("Ångström", "angstrom"),
        ("Łukasz", "łukasz"),
        ("Øystein", "øystein"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("ﬁne", "fine"),
        ("Đặng", "đang"),
    ],
)
def test_fold_examples(text: str, expected: str) -> None:
    """Marks are dropped, letters kept, ligatures and ß expanded."""
    assert fold(text) == expected


@given(st.text())
def test_normalize_dialled_keeps_letters_and_digits_only(text: str) -> None:
    """Punctuation does not matter, and a second pass changes nothing."""
    digits = normalize_dialled(text)

    assert all(char.isalnum() for char in digits)
    assert normalize_dialled(f"({text}) - /.") == digits
    assert normalize_dialled(digits) == normalize_dialled(normalize_dialled(digits))


@given(st.text(st.characters(max_codepoint=127)))
def test_the_ascii_path_of_normalize_dialled_equals_the_general_one(text: str) -> None:
    """Compared by a number with an additional other letter."""
    assert normalize_dialled(text + "ж") == normalize_dialled(text) + "ж"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+1 (555) 010-2000", "15550102000"),
        ("0711/12 34-56", "0711123456"),
        ("1-800-FLOWERS", "1800flowers"),
        ("*62#", "62"),
        ("x_104", "x104"),
        ("", ""),
    ],
)
def test_dialled_examples(text: str, expected: str) -> None:
    """Numbers without their punctuation."""
    assert normalize_dialled(text) == expected


def test_control_characters_are_exactly_the_forbidden_categories() -> None:
    """By category; NUL and lone surrogates are among them, which PostgreSQL cannot store."""
    forbidden = {char for char in EVERY_CHARACTER[:0x10000] if has_control(char)}

    assert forbidden == {char for char in EVERY_CHARACTER if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}}
    assert {"\0", "\n", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"} <= forbidden
    assert not forbidden & {" ", "\u00a0", "\u200d", "\u202e", "\U0001f600", "\ufffd"}


@given(st.text(st.characters(exclude_categories=())))
def test_a_text_without_controls_can_be_stored(text: str) -> None:
    """It encodes as UTF-8 without NUL and keeps its length."""
    result = replace_controls(text)

    assert not has_control(result)
    assert b"\0" not in result.encode("utf-8")
    assert len(result) == len(text)
    assert result == text or has_control(text)
    assert replace_controls(result) == result


@given(st.text(st.characters(exclude_categories=())))
def test_normalization_makes_no_control_characters(text: str) -> None:
    """So that every form of a checked text can be stored."""
    result = replace_controls(text)

    assert not has_control(clean(result))
    assert not has_control(fold(clean(result)))
    assert not has_control(normalize_dialled(clean(result)))
