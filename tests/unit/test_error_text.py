"""Text of exceptions for the log: what helps to find a defect, and no data of people."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.operations.error_text import describe_error, format_traceback, hide_quoted
from syncd.errors import StoreUnavailable
from syncd.sources.ldap.errors import LdapFault

NAME = "Zacharias Quillfeather"


def raise_chain(name: str) -> None:
    try:
        try:
            {"": ""}[name]
        except KeyError as error:
            raise ValueError(f"bad value {name}") from error
    except ValueError:
        raise RuntimeError(f"row of {name}")  # noqa: B904 - the context is tested


def caught(name: str) -> Exception:
    try:
        raise_chain(name)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError


def test_a_traceback_has_frames_and_classes_but_no_texts() -> None:
    """As the interpreter writes it, with cause and context; the texts quote a person."""
    error = caught(NAME)
    error.add_note(NAME)
    text = format_traceback(error)

    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("\nRuntimeError\n")
    assert text.count("in raise_chain") == 3
    for part in ("\nKeyError\n", "direct cause of the following", "\nValueError\n", "During handling of the above"):
        assert part in text
    assert NAME not in text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            StoreUnavailable("the database does not answer"),
            "syncd.errors.StoreUnavailable: the database does not answer",
        ),
        (TypeError("'int' object is not iterable"), "TypeError: 'int' object is not iterable"),
        (FileNotFoundError(2, "No such file or directory", NAME), "FileNotFoundError: No such file or directory"),
        (OSError(NAME), "OSError"),
        (UnicodeEncodeError("ascii", NAME, 0, 1, "x"), "UnicodeEncodeError"),
        (AssertionError(NAME), "AssertionError"),
        (LdapFault("cut", NAME, NAME), "syncd.sources.ldap.errors.LdapFault"),
        (psycopg.errors.UniqueViolation(NAME), "psycopg.errors.UniqueViolation: SQLSTATE 23505"),
        (psycopg.OperationalError(NAME), "psycopg.OperationalError"),
    ],
)
def test_a_description_names_the_class_and_what_is_no_data(error: Exception, text: str) -> None:
    assert describe_error(error) == text


def test_every_exception_of_a_group_is_there() -> None:
    """The daemon's tasks end in a group."""
    group = ExceptionGroup(NAME, [caught(NAME), StoreUnavailable("no answer")])
    text = format_traceback(group)

    assert "ExceptionGroup\n" in text
    assert "Exception 1 of the group:" in text
    assert "RuntimeError\n" in text
    assert text.endswith("Exception 2 of the group:\n\nsyncd.errors.StoreUnavailable: no answer\n")
    assert NAME not in text


def test_a_circle_of_causes_ends() -> None:
    """Two exceptions can be each other's context."""
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first

    assert format_traceback(first).count("Error") == 2


@given(st.text())
def test_only_quoted_texts_are_hidden(text: str) -> None:
    """Single characters stay, because a parser names the one that it does not expect."""
    assert NAME not in hide_quoted(f"found undefined alias {NAME!r} at {text}")
    assert hide_quoted("expected ':' but found '\\t'") == "expected ':' but found '\\t'"
